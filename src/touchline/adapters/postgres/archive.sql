-- name: shards
-- Where the next fact of each shard of accounts stands.
SELECT shard, next_seq FROM shards WHERE shard > 0 ORDER BY shard;

-- name: row_of_facts
-- How many facts a shard has, and the first and the last place.
SELECT count(*) AS facts, min(seq) AS first_seq, max(seq) AS last_seq FROM facts WHERE shard = $1;

-- name: facts_by_player
-- A shard's facts, player by player.
SELECT * FROM facts WHERE shard = $1 AND player_id IS NOT NULL ORDER BY player_id COLLATE "C", seq;

-- name: facts_since
-- A shard's next facts from a place on.
SELECT * FROM facts WHERE shard = $1 AND seq >= $2 ORDER BY seq LIMIT $3;

-- name: facts_of_bets
-- The facts about some bets that stand before a place.
SELECT * FROM facts WHERE shard = $1 AND seq < $2 AND bet_id = ANY($3::uuid[]) ORDER BY seq;

-- name: wallets
-- A shard's wallets.
SELECT * FROM wallets WHERE 1 + crc32(convert_to(user_id, 'UTF8')) % $2::bigint = $1::bigint
ORDER BY user_id COLLATE "C";

-- name: bets
-- The bets of a shard's players.
SELECT * FROM bets WHERE 1 + crc32(convert_to(user_id, 'UTF8')) % $2::bigint = $1::bigint
ORDER BY user_id COLLATE "C", bet_id;

-- name: open_bets
-- The open bets of a shard's players.
SELECT * FROM bets WHERE status = 'PLACED' AND 1 + crc32(convert_to(user_id, 'UTF8')) % $2::bigint = $1::bigint
ORDER BY user_id COLLATE "C", bet_id;

-- name: moves
-- The deposits and withdrawals of a shard's players.
SELECT * FROM funds_moves WHERE 1 + crc32(convert_to(user_id, 'UTF8')) % $2::bigint = $1::bigint
ORDER BY user_id COLLATE "C", move_id;

-- name: transfers
-- The transfers that a shard's players caused, those between the book's own accounts too.
SELECT * FROM (
    SELECT t.transfer_id, t.kind, t.debit_account, t.credit_account, t.amount_minor, t.currency, t.bet_id,
        t.recorded_at, coalesce(t.user_id, b.user_id) AS user_id
    FROM transfers t LEFT JOIN bets b ON t.user_id IS NULL AND b.bet_id = t.bet_id
) caused
WHERE 1 + crc32(convert_to(user_id, 'UTF8')) % $2::bigint = $1::bigint
ORDER BY user_id COLLATE "C", transfer_id;

-- name: exposures
-- The exposures that are not nothing.
SELECT * FROM exposures WHERE bets <> 0 OR stakes_minor <> 0 OR liability_minor <> 0;

-- name: snapshot_at
-- Where a shard's newest snapshot ends.
SELECT max(next_seq) FROM snapshots WHERE shard = $1;

-- name: newest_snapshot
-- A shard's newest snapshot.
SELECT next_seq, state FROM snapshots WHERE shard = $1 ORDER BY next_seq DESC LIMIT 1;

-- name: keep_snapshot
-- Keep a snapshot, and none older.
WITH older AS (DELETE FROM snapshots WHERE shard = $1 AND next_seq < $2)
INSERT INTO snapshots (shard, next_seq, taken_at, state) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: to_carry_over
-- Whether there are accounts, and not one fact of any.
SELECT EXISTS (SELECT 1 FROM wallets) AND NOT EXISTS (SELECT 1 FROM facts WHERE shard > 0);

-- name: keep_writers_out
-- Let nobody else write what facts tell of, until the transaction ends.
LOCK TABLE wallets, bets, funds_moves, transfers, exposures IN SHARE MODE;

-- name: record
-- Facts in the next places of a shard, told to whoever listens.
WITH place AS (
    UPDATE shards SET next_seq = next_seq + cardinality($3::uuid[]) WHERE shard = $1
    RETURNING next_seq - cardinality($3::uuid[]) AS first_seq, epoch, pg_notify('facts', $1::text)
)
INSERT INTO facts (shard, seq, epoch, recorded_at, fact_id, kind, player_id, event_id, bet_id, body)
SELECT $1, place.first_seq + f.n - 1, place.epoch, $2, f.fact_id, f.kind, f.player_id, f.event_id, f.bet_id, f.body
FROM place CROSS JOIN unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::bytea[])
    WITH ORDINALITY AS f (fact_id, kind, player_id, event_id, bet_id, body, n);

-- name: fence
-- Let no writer that is at work write any more.
UPDATE shards SET epoch = epoch + 1 WHERE shard = $1;

-- name: rewrite_wallets
-- Wallets as facts say, where they are otherwise.
UPDATE wallets SET balance_minor = f.balance_minor, debt_minor = f.debt_minor, version = f.version
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS f (user_id, balance_minor, debt_minor, version)
WHERE wallets.user_id = f.user_id AND (wallets.balance_minor, wallets.debt_minor, wallets.version)
    IS DISTINCT FROM (f.balance_minor, f.debt_minor, f.version);

-- name: rewrite_bets
-- Bets as facts say, where they are otherwise, or not there.
INSERT INTO bets (bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version, stake_minor,
    currency, idempotency_key, requested_odds_milli, requested_odds_version, requested_accept,
    requested_valid_until, created_at, status, result, payout_minor, settled_at, settlement_id)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[],
    $8::bigint[], $9::text[], $10::text[], $11::int[], $12::int[], $13::text[], $14::timestamptz[],
    $15::timestamptz[], $16::text[], $17::text[], $18::bigint[], $19::timestamptz[], $20::bigint[])
ON CONFLICT (bet_id) DO UPDATE SET user_id = excluded.user_id, event_id = excluded.event_id,
    market_id = excluded.market_id, selection_id = excluded.selection_id, odds_milli = excluded.odds_milli,
    odds_version = excluded.odds_version, stake_minor = excluded.stake_minor, currency = excluded.currency,
    idempotency_key = excluded.idempotency_key, requested_odds_milli = excluded.requested_odds_milli,
    requested_odds_version = excluded.requested_odds_version, requested_accept = excluded.requested_accept,
    requested_valid_until = excluded.requested_valid_until, created_at = excluded.created_at,
    status = excluded.status, result = excluded.result, payout_minor = excluded.payout_minor,
    settled_at = excluded.settled_at, settlement_id = excluded.settlement_id
WHERE (bets.*) IS DISTINCT FROM (excluded.*);

-- name: rewrite_moves
-- Deposits and withdrawals as facts say, where they are not there or otherwise.
INSERT INTO funds_moves (move_id, user_id, kind, amount_minor, currency, balance_minor, idempotency_key, recorded_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::text[],
    $8::timestamptz[])
ON CONFLICT (move_id) DO UPDATE SET user_id = excluded.user_id, kind = excluded.kind,
    amount_minor = excluded.amount_minor, currency = excluded.currency, balance_minor = excluded.balance_minor,
    idempotency_key = excluded.idempotency_key, recorded_at = excluded.recorded_at
WHERE (funds_moves.*) IS DISTINCT FROM (excluded.*);

-- name: rewrite_exposures
-- Exposures as facts say, where they are otherwise or not there; those that no fact tells of are nothing.
WITH folded AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS f (market_id, selection_id, bets, stakes_minor, liability_minor)
), emptied AS (
    UPDATE exposures e SET bets = 0, stakes_minor = 0, liability_minor = 0
    WHERE (e.bets, e.stakes_minor, e.liability_minor) IS DISTINCT FROM (0, 0, 0) AND NOT EXISTS (
        SELECT 1 FROM folded f WHERE f.market_id = e.market_id AND f.selection_id = e.selection_id)
    RETURNING 1
), written AS (
    INSERT INTO exposures (market_id, selection_id, bets, stakes_minor, liability_minor) SELECT * FROM folded
    ON CONFLICT (market_id, selection_id) DO UPDATE SET bets = excluded.bets,
        stakes_minor = excluded.stakes_minor, liability_minor = excluded.liability_minor
    WHERE (exposures.*) IS DISTINCT FROM (excluded.*)
    RETURNING 1
)
SELECT (SELECT count(*) FROM emptied) + (SELECT count(*) FROM written);
