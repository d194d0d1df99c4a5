-- name: bury
-- Keep a fact that a consumer could not work; once more the same, it counts the attempts.
INSERT INTO dead_letters (consumer, shard, seq, fact_id, why, failed_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (consumer, fact_id) DO UPDATE SET shard = excluded.shard, seq = excluded.seq, why = excluded.why,
    failed_at = excluded.failed_at, attempts = dead_letters.attempts + 1, resolved_at = NULL;

-- name: resolve
-- Put on record that a fact is worked now.
UPDATE dead_letters SET resolved_at = $3 WHERE consumer = $1 AND fact_id = $2 AND resolved_at IS NULL;

-- name: waiting
-- The letters that are not resolved, with the bodies of their facts.
SELECT l.*, f.kind, f.body FROM dead_letters l JOIN facts f USING (shard, seq)
WHERE l.resolved_at IS NULL ORDER BY l.shard, l.seq LIMIT $1;

-- name: replay
-- Tell of a decision in the markets' shard once more: the same fact in a new place.
WITH letter AS (
    SELECT f.* FROM dead_letters l JOIN facts f USING (shard, seq)
    WHERE l.letter_id = $1 AND l.shard = 0 AND l.resolved_at IS NULL
), place AS (
    UPDATE shards SET next_seq = next_seq + 1 WHERE shard = 0 AND EXISTS (SELECT 1 FROM letter)
    RETURNING next_seq - 1 AS seq, epoch, pg_notify('facts', '0')
)
INSERT INTO facts (shard, seq, epoch, recorded_at, fact_id, kind, player_id, event_id, bet_id, body)
SELECT 0, place.seq, place.epoch, $2, letter.fact_id, letter.kind, letter.player_id, letter.event_id, letter.bet_id,
    letter.body
FROM place CROSS JOIN letter RETURNING true;
