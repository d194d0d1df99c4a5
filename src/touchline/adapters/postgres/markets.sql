-- name: poll
-- One market as clients poll it: one row by its key.
SELECT market_id, event_id, name, market_type, status, odds_version, selections, bet_delay_ms, updated_at
FROM odds WHERE market_id = $1;

-- name: market
-- One market.
SELECT * FROM odds WHERE market_id = $1;

-- name: lock_market
-- One market, locked until the transaction ends.
SELECT * FROM odds WHERE market_id = $1 FOR UPDATE;

-- name: hold_name
-- Be the only one to make a market or an event of this id, until the transaction ends.
SELECT pg_advisory_xact_lock(6231003, hashtext($1));

-- name: events
-- The newest events, or the newest of one status, by start.
SELECT * FROM (
    SELECT * FROM events WHERE $1::text IS NULL OR status = $1 ORDER BY created_at DESC, event_id LIMIT $2
) newest ORDER BY start_time NULLS LAST, event_id;

-- name: event
-- One event.
SELECT * FROM events WHERE event_id = $1;

-- name: lock_event
-- One event, locked until the transaction ends.
SELECT * FROM events WHERE event_id = $1 FOR UPDATE;

-- name: markets_of
-- The markets of some events.
SELECT * FROM odds WHERE event_id = ANY($1::text[]) ORDER BY event_id, market_type, market_id;

-- name: oldest_running
-- The oldest transaction still running, and whose books these are: where a reader goes on from.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin, epoch FROM platform;

-- name: changed_since
-- Markets written by transactions from one on, oldest first.
SELECT *, changed_xid::text AS xid FROM odds WHERE changed_xid >= $1::text::xid8 ORDER BY odds.changed_xid LIMIT $2;

-- name: undecided
-- Markets that can still be bet on or decided.
SELECT *, changed_xid::text AS xid FROM odds WHERE status IN ('active', 'suspended', 'closed')
ORDER BY odds.changed_xid DESC LIMIT $1;

-- name: is_applied
-- Whether a feed message is on record.
SELECT EXISTS (SELECT 1 FROM feed_messages WHERE message_id = $1);

-- name: record_message
-- Put a feed message on record; no row where it was already.
INSERT INTO feed_messages (message_id, recorded_at) VALUES ($1, $2)
ON CONFLICT DO NOTHING RETURNING true;

-- name: forget_messages
-- Forget feed messages recorded before an instant, at most so many.
WITH forgotten AS (
    DELETE FROM feed_messages WHERE message_id IN (
        SELECT message_id FROM feed_messages WHERE recorded_at < $1 LIMIT $2
    ) RETURNING 1
)
SELECT count(*) FROM forgotten;

-- name: ensure_event
-- An event of which only its id is known.
INSERT INTO events (event_id, name, sport, competition, status)
VALUES ($1, $1, 'unknown', 'unknown', 'scheduled') ON CONFLICT DO NOTHING;

-- name: write_event
-- Write an event, and when it ended first.
WITH ended AS (
    INSERT INTO event_ends (event_id, ended_at) SELECT $1, $9 WHERE $5 = 'ended' ON CONFLICT DO NOTHING
), on_again AS (
    DELETE FROM event_ends WHERE event_id = $1 AND $5 <> 'ended'
)
INSERT INTO events (event_id, name, sport, competition, status, start_time, score, clock)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (event_id) DO UPDATE SET name = excluded.name, sport = excluded.sport,
    competition = excluded.competition, status = excluded.status, start_time = excluded.start_time,
    score = excluded.score, clock = excluded.clock;

-- name: insert_market
-- Write a new market and the first version of its history.
WITH market AS (
    INSERT INTO odds (market_id, event_id, name, market_type, selections, odds_version, status, bet_delay_ms,
        priced_at, updated_at)
    VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10)
)
INSERT INTO odds_history (market_id, odds_version, selections, status, occurred_at, recorded_at)
VALUES ($1, $6, $5::text::jsonb, $7, $9, $10);

-- name: update_market
-- Write a changed market, and its history where the version rose.
WITH market AS (
    UPDATE odds SET event_id = $2, name = $3, market_type = $4, selections = $5::text::jsonb, odds_version = $6,
        status = $7, bet_delay_ms = $8, priced_at = $9, updated_at = $10, changed_xid = pg_current_xact_id()
    WHERE market_id = $1
)
INSERT INTO odds_history (market_id, odds_version, selections, status, occurred_at, recorded_at)
SELECT $1, $6, $5::text::jsonb, $7, $9, $10
WHERE NOT EXISTS (SELECT 1 FROM odds_history WHERE market_id = $1 AND odds_version = $6);
