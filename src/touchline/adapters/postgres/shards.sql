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

-- name: placed_since
-- Who placed a bet after an instant, and when, of some players.
SELECT user_id, created_at FROM bets WHERE user_id = ANY($1::text[]) AND created_at > $2;

-- name: flag_fast
-- Mark accounts as betting faster than a person can; one that somebody has locked may be marked by its next such bet.
UPDATE players SET velocity_flagged_at = $2 WHERE user_id IN (
    SELECT user_id FROM players WHERE user_id = ANY($1::text[]) FOR NO KEY UPDATE SKIP LOCKED
);

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

-- name: record_batch
-- A batch in one statement, which is one transaction: the shard's next places, told to whoever listens for facts,
-- then facts, bets, movements, transfers and wallets, and last, when all those are written, the exposures that shards
-- share. Nothing is written, and no row comes back, where this writer has been replaced. It refuses itself where
-- somebody else has written a wallet, or other shards' bets have brought an exposure too near its bound. Texts come
-- joined, and a column that another one tells comes as null: that is the cheapest way in.
WITH ours AS (
    UPDATE shards SET next_seq = next_seq + $4 WHERE shard = $1 AND epoch = $2 AND next_seq = $3
    RETURNING pg_notify('facts', $1::text)
), fact AS (
    INSERT INTO facts (shard, seq, epoch, recorded_at, fact_id, kind, player_id, event_id, bet_id, body)
    SELECT $1, $3 + f.n - 1, $2, $5, f.fact_id, f.kind, f.player_id, f.event_id, f.bet_id,
        convert_to(f.body, 'UTF8')
    FROM ours CROSS JOIN unnest($6::uuid[], string_to_array($7, E'\x1f'), string_to_array($8, E'\x1f', E'\x1e'),
            string_to_array($9, E'\x1f', E'\x1e'), coalesce($10::uuid[], $6::uuid[]),
            string_to_array($11, E'\x1f'))
        WITH ORDINALITY AS f (fact_id, kind, player_id, event_id, bet_id, body, n)
    RETURNING 1
), transfer AS (
    INSERT INTO transfers (recorded_at, transfer_id, kind, debit_account, credit_account, amount_minor, currency,
        bet_id, user_id)
    SELECT $5, t.* FROM ours CROSS JOIN unnest($12::uuid[], string_to_array($13, E'\x1f'),
        string_to_array($14, E'\x1f'), string_to_array($15, E'\x1f'), $16::bigint[],
        string_to_array($17, E'\x1f'), coalesce($18::uuid[], $6::uuid[]), string_to_array($19, E'\x1f', E'\x1e')) AS t
    RETURNING 1
), wallet AS (
    UPDATE wallets SET balance_minor = w.balance_minor, debt_minor = w.debt_minor, version = w.version,
        updated_at = $5
    FROM ours CROSS JOIN unnest(string_to_array($20, E'\x1f'), $21::bigint[], $22::bigint[], $23::bigint[],
        $24::bigint[]) AS w (user_id, balance_minor, debt_minor, version, found)
    WHERE wallets.user_id = w.user_id AND wallets.version = w.found RETURNING 1
), bet AS (
    INSERT INTO bets (created_at, bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version,
        stake_minor, currency, idempotency_key, requested_odds_milli, requested_odds_version, requested_accept,
        requested_valid_until)
    SELECT $5, b.* FROM ours CROSS JOIN unnest(coalesce($30::uuid[], $6::uuid[]), string_to_array($31, E'\x1f'),
        string_to_array($32, E'\x1f'), string_to_array($33, E'\x1f'), string_to_array($34, E'\x1f'), $35::int[],
        $36::int[], $37::bigint[], string_to_array($38, E'\x1f'), string_to_array($39, E'\x1f', E'\x1e'),
        coalesce($40::int[], $35::int[]), coalesce($41::int[], $36::int[]),
        string_to_array($42, E'\x1f', E'\x1e'), $43::timestamptz[]) AS b
    RETURNING 1
), moved AS (
    INSERT INTO funds_moves (recorded_at, move_id, user_id, kind, amount_minor, currency, balance_minor,
        idempotency_key)
    SELECT $5, m.* FROM ours CROSS JOIN unnest($44::uuid[], $45::text[], $46::text[], $47::bigint[], $48::text[],
        $49::bigint[], $50::text[]) AS m
), written AS (
    SELECT (SELECT count(*) FROM fact) + (SELECT count(*) FROM transfer) + (SELECT count(*) FROM bet) AS rows,
        (SELECT count(*) FROM wallet) AS wallets
    FROM ours
), exposure AS (
    INSERT INTO exposures (market_id, selection_id, bets, stakes_minor, liability_minor)
    SELECT e.* FROM written CROSS JOIN
        unnest($25::text[], $26::text[], $27::bigint[], $28::bigint[], $29::bigint[]) AS e
    WHERE written.rows >= 0
    ON CONFLICT (market_id, selection_id) DO UPDATE SET bets = exposures.bets + excluded.bets,
        stakes_minor = exposures.stakes_minor + excluded.stakes_minor,
        liability_minor = exposures.liability_minor + excluded.liability_minor
    WHERE exposures.liability_minor + excluded.liability_minor <= $51
    RETURNING 1
)
SELECT CASE WHEN written.wallets < cardinality($21::bigint[]) THEN refuse('wallet')
    WHEN (SELECT count(*) FROM exposure) < cardinality($25::text[]) THEN refuse('exposure')
    ELSE true END
FROM written;

-- name: record_work
-- Some bets as a settlement leaves them, as a batch is recorded, and last how many more it has worked. It refuses
-- itself where a rollback has meanwhile taken the settlement back.
WITH ours AS (
    UPDATE shards SET next_seq = next_seq + $3 WHERE shard = $1 AND epoch = $2
    RETURNING next_seq - $3 AS first_seq, pg_notify('facts', $1::text)
), fact AS (
    INSERT INTO facts (shard, seq, epoch, recorded_at, fact_id, kind, player_id, event_id, bet_id, body)
    SELECT $1, ours.first_seq + f.n - 1, $2, $4, f.fact_id, f.kind, f.player_id, f.event_id, f.bet_id,
        convert_to(f.body, 'UTF8')
    FROM ours CROSS JOIN unnest($5::uuid[], string_to_array($6, E'\x1f'), string_to_array($7, E'\x1f', E'\x1e'),
            string_to_array($8, E'\x1f', E'\x1e'), $9::uuid[], string_to_array($10, E'\x1f'))
        WITH ORDINALITY AS f (fact_id, kind, player_id, event_id, bet_id, body, n)
    RETURNING 1
), transfer AS (
    INSERT INTO transfers (recorded_at, transfer_id, kind, debit_account, credit_account, amount_minor, currency,
        bet_id, user_id)
    SELECT $4, t.* FROM ours CROSS JOIN unnest($11::uuid[], string_to_array($12, E'\x1f'),
        string_to_array($13, E'\x1f'), string_to_array($14, E'\x1f'), $15::bigint[],
        string_to_array($16, E'\x1f'), $17::uuid[], string_to_array($18, E'\x1f', E'\x1e')) AS t
    RETURNING 1
), wallet AS (
    UPDATE wallets SET balance_minor = w.balance_minor, debt_minor = w.debt_minor, version = w.version,
        updated_at = $4
    FROM ours CROSS JOIN unnest(string_to_array($19, E'\x1f'), $20::bigint[], $21::bigint[], $22::bigint[],
        $23::bigint[]) AS w (user_id, balance_minor, debt_minor, version, found)
    WHERE wallets.user_id = w.user_id AND wallets.version = w.found RETURNING 1
), bet AS (
    UPDATE bets SET status = m.status, result = m.result, payout_minor = m.payout_minor, settled_at = $29,
        settlement_id = $30
    FROM ours CROSS JOIN unnest($31::uuid[], string_to_array($32, E'\x1f'),
        string_to_array($33, E'\x1f', E'\x1e'), $34::bigint[]) AS m (bet_id, status, result, payout_minor)
    WHERE bets.bet_id = m.bet_id RETURNING 1
), written AS (
    SELECT (SELECT count(*) FROM fact) + (SELECT count(*) FROM transfer) + (SELECT count(*) FROM bet) AS rows,
        (SELECT count(*) FROM wallet) AS wallets
    FROM ours
), exposure AS (
    INSERT INTO exposures (market_id, selection_id, bets, stakes_minor, liability_minor)
    SELECT e.* FROM written CROSS JOIN
        unnest($24::text[], $25::text[], $26::bigint[], $27::bigint[], $28::bigint[]) AS e
    WHERE written.rows >= 0
    ON CONFLICT (market_id, selection_id) DO UPDATE SET bets = exposures.bets + excluded.bets,
        stakes_minor = exposures.stakes_minor + excluded.stakes_minor,
        liability_minor = exposures.liability_minor + excluded.liability_minor
    RETURNING 1
), progress AS (
    UPDATE settlements SET bets_done = bets_done + $3 FROM (SELECT count(*) AS rows FROM exposure) AS last
    WHERE last.rows >= 0 AND settlements.settlement_id = $35 AND settlements.undone_by IS NULL RETURNING 1
)
SELECT CASE WHEN written.wallets < cardinality($20::bigint[]) THEN refuse('wallet')
    WHEN NOT EXISTS (SELECT 1 FROM progress) THEN refuse('undone')
    ELSE true END
FROM written;

-- name: append
-- One more fact about an account, where this writer has not been replaced.
WITH ours AS (
    UPDATE shards SET next_seq = next_seq + 1 WHERE shard = $1 AND epoch = $2
    RETURNING next_seq - 1 AS seq, pg_notify('facts', $1::text)
)
INSERT INTO facts (shard, seq, epoch, recorded_at, fact_id, kind, player_id, body)
SELECT $1, seq, $2, $3, $4, $5, $6, $7 FROM ours RETURNING seq;

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
-- Open bets of a shard that a settlement or void has to work: none once it is taken back.
SELECT * FROM bets WHERE market_id = $1 AND status = 'PLACED'
    AND ($2::timestamptz IS NULL OR created_at >= $2) AND ($3::timestamptz IS NULL OR created_at < $3)
    AND NOT EXISTS (SELECT 1 FROM settlements WHERE settlement_id = $4 AND undone_by IS NOT NULL)
    AND 1 + crc32(convert_to(user_id, 'UTF8')) % $5::bigint = $6::bigint
LIMIT $7;

-- name: open_decided
-- Bets of a shard that a rollback has to work.
SELECT * FROM bets WHERE market_id = $1 AND status IN ('SETTLED', 'VOID') AND settlement_id = $2
    AND 1 + crc32(convert_to(user_id, 'UTF8')) % $3::bigint = $4::bigint
LIMIT $5;

-- name: wallets_of
-- The wallets of some players.
SELECT user_id, balance_minor, debt_minor, version FROM wallets WHERE user_id = ANY($1::text[]);
