-- name: hold_market
-- Be the only one to decide a market, until the transaction ends.
SELECT pg_advisory_xact_lock(6231012, hashtext($1));

-- name: ensure_market
-- A market that settlements refer to, as its authority shows it, where the books do not hold it yet.
WITH event AS (
    INSERT INTO events (event_id, name, sport, competition, status)
    VALUES ($2, $2, 'unknown', 'unknown', 'scheduled') ON CONFLICT DO NOTHING
)
INSERT INTO odds (market_id, event_id, name, market_type, selections, odds_version, status, bet_delay_ms, priced_at,
    updated_at)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING;

-- name: tell
-- Facts in the next places of the markets' shard, told to whoever listens.
WITH place AS (
    INSERT INTO shards (shard, next_seq) VALUES (0, 1 + cardinality($2::uuid[]))
    ON CONFLICT (shard) DO UPDATE SET next_seq = shards.next_seq + cardinality($2::uuid[])
    RETURNING next_seq - cardinality($2::uuid[]) AS first_seq, epoch, pg_notify('facts', '0')
)
INSERT INTO facts (shard, seq, epoch, recorded_at, fact_id, kind, player_id, event_id, bet_id, body)
SELECT 0, place.first_seq + f.n - 1, place.epoch, $1, f.fact_id, f.kind, f.player_id, f.event_id, f.bet_id, f.body
FROM place CROSS JOIN unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::bytea[])
    WITH ORDINALITY AS f (fact_id, kind, player_id, event_id, bet_id, body, n);

-- name: progress
-- A settlement, and the first of its market before it that stands and is not carried out.
SELECT s.*, (
    SELECT min(e.settlement_id) FROM settlements e
    WHERE e.market_id = s.market_id AND e.settlement_id < s.settlement_id AND e.finished_at IS NULL
        AND e.undone_by IS NULL
) AS held_up_by
FROM settlements s WHERE s.settlement_id = $1;

-- name: begin
-- Put on record how many bets there are to work, once.
UPDATE settlements SET bets_total = $2 WHERE settlement_id = $1 AND bets_total IS NULL;

-- name: unfinished
-- Settlements with bets still to work, each with the event of its market.
SELECT s.*, o.event_id FROM settlements s JOIN odds o USING (market_id)
WHERE s.finished_at IS NULL ORDER BY s.settlement_id;

-- name: told
-- Which of some facts the log has.
SELECT fact_id FROM facts WHERE shard = 0 AND fact_id = ANY($1::uuid[]);

-- name: hold_telling
-- Be the only one to look for what was not told, until the transaction ends.
SELECT pg_advisory_xact_lock(6231013);
