-- name: hold
-- Be a shard's one writer until the connection ends; false where another is.
SELECT pg_try_advisory_lock(6231020, $1);

-- name: begin
-- The shards' rows where there are none yet.
INSERT INTO shards (shard) SELECT generate_series(0, $1) WHERE NOT EXISTS (SELECT 1 FROM shards WHERE shard > 0)
ON CONFLICT DO NOTHING;

-- name: take
-- A new epoch for a shard's new writer, once what the one before was at is committed or undone.
UPDATE shards SET epoch = epoch + 1, address = coalesce($2, address) WHERE shard = $1
RETURNING epoch, (SELECT max(shard) FROM shards) AS shards;

-- name: trust
-- Check no foreign key of what this connection inserts: no trigger of it is fired at all.
SET session_replication_role = replica;

-- name: beat
-- Show that the writer is alive.
SELECT 1;

-- name: look_up
-- What the decisions on some requests depend on, all of one instant: a row for each player and key; in the first
-- row where the shard's next fact stands, and the exposures of some selections, in their order.
SELECT p.user_id, w.currency, w.balance_minor, w.debt_minor, w.version, p.locked_until, p.excluded_until, p.limits,
    b.bet_id,
    CASE WHEN r.n = 1 THEN (SELECT next_seq FROM shards WHERE shard = $5) END AS next_seq,
    CASE WHEN r.n = 1 THEN (
        SELECT array_agg(coalesce(e.liability_minor, 0) ORDER BY s.n)
        FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS s (market_id, selection_id, n)
        LEFT JOIN exposures e ON e.market_id = s.market_id AND e.selection_id = s.selection_id
    ) END AS exposures
FROM unnest(string_to_array($1, E'\x1f'), string_to_array($2, E'\x1f', E'\x1e'))
    WITH ORDINALITY AS r (user_id, key, n)
LEFT JOIN players p ON p.user_id = r.user_id
LEFT JOIN wallets w ON w.user_id = r.user_id
LEFT JOIN bets b ON b.user_id = r.user_id AND b.idempotency_key = r.key
ORDER BY r.n;

-- name: bets_by_id
-- Some bets.
SELECT * FROM bets WHERE bet_id = ANY($1::uuid[]);

-- name: moves_by_key
-- The deposits and withdrawals under some players' keys.
SELECT m.* FROM unnest($1::text[], $2::text[]) AS r (user_id, key)
JOIN funds_moves m ON m.user_id = r.user_id AND m.idempotency_key = r.key;

-- name: past_versions
-- What some versions of markets that have passed offered.
SELECT h.market_id, h.odds_version, h.status, h.selections
FROM unnest($1::text[], $2::int[]) AS r (market_id, odds_version)
JOIN odds_history h ON h.market_id = r.market_id AND h.odds_version = r.odds_version;

-- name: ensure_market
-- A market that bets refer to, as its authority shows it, where the books do not hold it yet.
WITH event AS (
    INSERT INTO events (event_id, name, sport, competition, status)
    VALUES ($2, $2, 'unknown', 'unknown', 'scheduled') ON CONFLICT DO NOTHING
)
INSERT INTO odds (market_id, event_id, name, market_type, selections, odds_version, status, bet_delay_ms, priced_at,
    updated_at)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING;

-- name: fence
-- The shard's next places, told to whoever listens for facts; no row where this writer has been replaced.
UPDATE shards SET next_seq = next_seq + $4 WHERE shard = $1 AND epoch = $2 AND next_seq = coalesce($3, next_seq)
RETURNING next_seq - $4 AS first_seq, pg_notify('facts', $1::text);

-- name: record_batch
-- A batch in one statement, which is one transaction: the shard's next places, told to whoever listens for facts,
-- then facts, bets, movements, transfers, wallets and exposures. Nothing is written, and no row comes back, where this
-- writer has been replaced. It refuses itself where somebody else has written a wallet, or an exposure of another
-- shard's bets has come too near its bound. Texts come joined: that is the cheapest way in.
WITH ours AS (
    UPDATE shards SET next_seq = next_seq + $4 WHERE shard = $1 AND epoch = $2 AND next_seq = $3
    RETURNING pg_notify('facts', $1::text)
), fact AS (
    INSERT INTO facts (shard, seq, epoch, recorded_at, fact_id, kind, player_id, event_id, bet_id, body)
    SELECT $1, $3 + f.n - 1, $2, $5, f.fact_id, f.kind, f.player_id, f.event_id, f.bet_id,
        convert_to(f.body, 'UTF8')
    FROM ours CROSS JOIN unnest($6::uuid[], string_to_array($7, E'\x1f'), string_to_array($8, E'\x1f', E'\x1e'),
            string_to_array($9, E'\x1f', E'\x1e'), $10::uuid[], string_to_array($11, E'\x1f'))
        WITH ORDINALITY AS f (fact_id, kind, player_id, event_id, bet_id, body, n)
), bet AS (
    INSERT INTO bets (created_at, bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version,
        stake_minor, currency, idempotency_key, requested_odds_milli, requested_odds_version, requested_accept,
        requested_valid_until)
    SELECT $5, b.* FROM ours CROSS JOIN unnest($12::uuid[], string_to_array($13, E'\x1f'),
        string_to_array($14, E'\x1f'), string_to_array($15, E'\x1f'), string_to_array($16, E'\x1f'), $17::int[],
        $18::int[], $19::bigint[], string_to_array($20, E'\x1f'), string_to_array($21, E'\x1f', E'\x1e'),
        $22::int[], $23::int[], string_to_array($24, E'\x1f', E'\x1e'), $25::timestamptz[]) AS b
), moved AS (
    INSERT INTO funds_moves (recorded_at, move_id, user_id, kind, amount_minor, currency, balance_minor,
        idempotency_key)
    SELECT $5, m.* FROM ours CROSS JOIN unnest($26::uuid[], $27::text[], $28::text[], $29::bigint[], $30::text[],
        $31::bigint[], $32::text[]) AS m
), transfer AS (
    INSERT INTO transfers (recorded_at, transfer_id, kind, debit_account, credit_account, amount_minor, currency,
        bet_id, user_id)
    SELECT $5, t.* FROM ours CROSS JOIN unnest($33::uuid[], string_to_array($34, E'\x1f'),
        string_to_array($35, E'\x1f'), string_to_array($36, E'\x1f'), $37::bigint[],
        string_to_array($38, E'\x1f'), $39::uuid[], string_to_array($40, E'\x1f', E'\x1e')) AS t
), wallet AS (
    UPDATE wallets SET balance_minor = w.balance_minor, debt_minor = w.debt_minor, version = w.version,
        updated_at = $5
    FROM ours CROSS JOIN unnest(string_to_array($41, E'\x1f'), $42::bigint[], $43::bigint[], $44::bigint[],
        $45::bigint[]) AS w (user_id, balance_minor, debt_minor, version, found)
    WHERE wallets.user_id = w.user_id AND wallets.version = w.found RETURNING 1
), exposure AS (
    INSERT INTO exposures (market_id, selection_id, bets, stakes_minor, liability_minor)
    SELECT e.* FROM ours CROSS JOIN unnest($46::text[], $47::text[], $48::bigint[], $49::bigint[], $50::bigint[]) AS e
    ON CONFLICT (market_id, selection_id) DO UPDATE SET bets = exposures.bets + excluded.bets,
        stakes_minor = exposures.stakes_minor + excluded.stakes_minor,
        liability_minor = exposures.liability_minor + excluded.liability_minor
    WHERE exposures.liability_minor + excluded.liability_minor <= $51
    RETURNING 1
)
SELECT CASE WHEN (SELECT count(*) FROM wallet) < cardinality($42::bigint[]) THEN refuse('wallet')
    WHEN (SELECT count(*) FROM exposure) < cardinality($46::text[]) THEN refuse('exposure')
    ELSE true END
FROM ours;

-- name: write_wallets
-- Wallets as a batch leaves them; only those that nobody else has written meanwhile.
UPDATE wallets SET balance_minor = m.balance_minor, debt_minor = m.debt_minor, version = m.version, updated_at = $1
FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS m (user_id, balance_minor, debt_minor, version, found)
WHERE wallets.user_id = m.user_id AND wallets.version = m.found;

-- name: move_exposures
-- By how much open bets grew or shrank, in the order of selections; where they grew none beyond a bound, if any.
INSERT INTO exposures (market_id, selection_id, bets, stakes_minor, liability_minor)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
ON CONFLICT (market_id, selection_id) DO UPDATE SET bets = exposures.bets + excluded.bets,
    stakes_minor = exposures.stakes_minor + excluded.stakes_minor,
    liability_minor = exposures.liability_minor + excluded.liability_minor
WHERE exposures.liability_minor + excluded.liability_minor <= coalesce($6, 9223372036854775807);

-- name: username
-- What a player is called.
SELECT username FROM players WHERE user_id = $1;

-- name: count_placed
-- How many open bets of a shard a settlement or void has to work: none once a rollback takes it back.
SELECT count(*) FROM bets WHERE market_id = $1 AND status = 'PLACED'
    AND ($2::timestamptz IS NULL OR created_at >= $2) AND ($3::timestamptz IS NULL OR created_at < $3)
    AND NOT EXISTS (SELECT 1 FROM settlements WHERE settlement_id = $4 AND undone_by IS NOT NULL)
    AND 1 + crc32(convert_to(user_id, 'UTF8')) % $5::bigint = $6::bigint;

-- name: count_decided
-- How many bets of a shard a rollback has to work.
SELECT count(*) FROM bets WHERE market_id = $1 AND status IN ('SETTLED', 'VOID') AND settlement_id = $2
    AND 1 + crc32(convert_to(user_id, 'UTF8')) % $3::bigint = $4::bigint;

-- name: open_placed
-- Open bets of a shard that a settlement or void has to work, with their wallets: none once it is taken back.
SELECT b.*, w.balance_minor, w.debt_minor, w.version FROM bets b JOIN wallets w ON w.user_id = b.user_id
WHERE b.market_id = $1 AND b.status = 'PLACED'
    AND ($2::timestamptz IS NULL OR b.created_at >= $2) AND ($3::timestamptz IS NULL OR b.created_at < $3)
    AND NOT EXISTS (SELECT 1 FROM settlements WHERE settlement_id = $4 AND undone_by IS NOT NULL)
    AND 1 + crc32(convert_to(b.user_id, 'UTF8')) % $5::bigint = $6::bigint
LIMIT $7;

-- name: open_decided
-- Bets of a shard that a rollback has to work, with their wallets.
SELECT b.*, w.balance_minor, w.debt_minor, w.version FROM bets b JOIN wallets w ON w.user_id = b.user_id
WHERE b.market_id = $1 AND b.status IN ('SETTLED', 'VOID') AND b.settlement_id = $2
    AND 1 + crc32(convert_to(b.user_id, 'UTF8')) % $3::bigint = $4::bigint
LIMIT $5;

-- name: decide_bets
-- Bets as a settlement leaves them.
UPDATE bets SET status = m.status, result = m.result, payout_minor = m.payout_minor, settled_at = $1,
    settlement_id = $2
FROM unnest($3::uuid[], $4::text[], $5::text[], $6::bigint[]) AS m (bet_id, status, result, payout_minor)
WHERE bets.bet_id = m.bet_id;

-- name: progress
-- How many more bets a settlement has worked; no row where a rollback has taken it back meanwhile.
UPDATE settlements SET bets_done = bets_done + $2 WHERE settlement_id = $1 AND undone_by IS NULL RETURNING true;
