-- name: next_entry
-- The first entry that is not on record, held against other recorders until the transaction ends.
INSERT INTO consumers (consumer, shard, next_seq) VALUES ('odds-history', 0, 0)
ON CONFLICT (consumer, shard) DO UPDATE SET next_seq = consumers.next_seq RETURNING next_seq;

-- name: go_on
-- Put on record that all entries before one are.
UPDATE consumers SET next_seq = $1 WHERE consumer = 'odds-history' AND shard = 0;

-- name: record_events
-- Events as their latest changes left them; who is made here was made at his first change.
INSERT INTO events (event_id, name, sport, competition, status, start_time, score, clock, created_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[],
    $8::text[], $9::timestamptz[])
ON CONFLICT (event_id) DO UPDATE SET name = excluded.name, sport = excluded.sport,
    competition = excluded.competition, status = excluded.status, start_time = excluded.start_time,
    score = excluded.score, clock = excluded.clock;

-- name: record_ends
-- When events ended first.
INSERT INTO event_ends (event_id, ended_at)
SELECT e.event_id, e.at FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS e (event_id, status, at)
WHERE e.status = 'ended' ON CONFLICT DO NOTHING;

-- name: forget_ends
-- Events that are on again have not ended.
DELETE FROM event_ends USING unnest($1::text[], $2::text[]) AS e (event_id, status)
WHERE event_ends.event_id = e.event_id AND e.status <> 'ended';

-- name: record_markets
-- Markets as their latest changes left them, unless a newer version is there already.
INSERT INTO odds (market_id, event_id, name, market_type, selections, odds_version, status, bet_delay_ms, priced_at,
    updated_at)
SELECT market_id, event_id, name, market_type, selections::jsonb, odds_version, status, bet_delay_ms, priced_at,
    updated_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::int[],
        $9::timestamptz[], $10::timestamptz[])
    AS m (market_id, event_id, name, market_type, selections, odds_version, status, bet_delay_ms, priced_at,
        updated_at)
ON CONFLICT (market_id) DO UPDATE SET event_id = excluded.event_id, name = excluded.name,
    market_type = excluded.market_type, selections = excluded.selections, odds_version = excluded.odds_version,
    status = excluded.status, bet_delay_ms = excluded.bet_delay_ms, priced_at = excluded.priced_at,
    updated_at = excluded.updated_at, changed_xid = pg_current_xact_id()
WHERE odds.odds_version <= excluded.odds_version;

-- name: record_versions
-- Every version, with the instant by the authority's clock from which it was in force.
INSERT INTO odds_history (market_id, odds_version, selections, status, occurred_at, recorded_at, in_force_from)
SELECT market_id, odds_version, selections::jsonb, status, occurred_at, recorded_at, in_force_from
FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[])
    AS v (market_id, odds_version, selections, status, occurred_at, recorded_at, in_force_from)
ON CONFLICT DO NOTHING;

-- name: hold_restoring
-- Be the only one to look whether the authority is to be rebuilt, and to rebuild it, until the transaction ends.
SELECT pg_advisory_xact_lock(6231004);

-- name: newest_versions
-- The markets that changed last, and their versions.
SELECT market_id, odds_version FROM odds ORDER BY odds.changed_xid DESC LIMIT $1;

-- name: decided_versions
-- The versions of those of some markets that are decided.
SELECT market_id, odds_version FROM odds WHERE market_id = ANY($1::text[]) AND status IN ('settled', 'void');

-- name: events_made
-- Events in the order of their making, after one.
SELECT * FROM events WHERE (created_at, event_id) > ($1, $2) ORDER BY created_at, event_id LIMIT $3;

-- name: markets_known
-- Markets by their ids, after one, those that are undecided with the highest version that is known of them anywhere.
SELECT odds.*, CASE WHEN status IN ('active', 'suspended', 'closed') THEN greatest(
    odds.odds_version,
    (SELECT max(odds_version) FROM odds_history h WHERE h.market_id = odds.market_id),
    (SELECT max(odds_version) FROM bets b WHERE b.market_id = odds.market_id)
) END AS highest
FROM odds WHERE market_id > $1 ORDER BY market_id LIMIT $2;
