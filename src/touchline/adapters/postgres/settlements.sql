-- name: standing
-- A market's settlements that stand: no rollbacks, and not rolled back; newest first.
SELECT * FROM settlements
WHERE market_id = $1 AND kind IN ('settle', 'void') AND undone_by IS NULL ORDER BY settlement_id DESC;

-- name: request
-- Put a settlement on record.
INSERT INTO settlements (market_id, kind, results, undoes, placed_from, placed_until, requested_at)
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6, $7) RETURNING settlement_id;

-- name: undo
-- Mark a settlement as rolled back.
UPDATE settlements SET undone_by = $2 WHERE settlement_id = $1;

-- name: tell
-- Wake the settlement worker, once this is committed.
SELECT pg_notify('settlements', $1);

-- name: of_market
-- A market's settlements, newest first.
SELECT * FROM settlements WHERE market_id = $1 ORDER BY settlement_id DESC LIMIT $2;

-- name: next_unfinished
-- The oldest settlement with bets still to work.
SELECT * FROM settlements WHERE finished_at IS NULL ORDER BY settlement_id LIMIT 1;

-- name: count_placed
-- How many open bets a settlement or void has to work: none once a rollback takes it back.
SELECT count(*) FROM bets WHERE market_id = $1 AND status = 'PLACED'
    AND ($2::timestamptz IS NULL OR created_at >= $2) AND ($3::timestamptz IS NULL OR created_at < $3)
    AND NOT EXISTS (SELECT 1 FROM settlements WHERE settlement_id = $4 AND undone_by IS NOT NULL);

-- name: count_decided
-- How many bets a rollback has to work.
SELECT count(*) FROM bets WHERE market_id = $1 AND status IN ('SETTLED', 'VOID') AND settlement_id = $2;

-- name: start
-- Put on record how many bets there are to work.
UPDATE settlements SET bets_total = $2 WHERE settlement_id = $1 RETURNING *;

-- name: open_placed
-- Open bets that a settlement or void has to work, player by player, so that some of them hold few wallets: none once
-- a rollback takes it back.
SELECT bet_id FROM bets WHERE market_id = $1 AND status = 'PLACED'
    AND ($2::timestamptz IS NULL OR created_at >= $2) AND ($3::timestamptz IS NULL OR created_at < $3)
    AND NOT EXISTS (SELECT 1 FROM settlements WHERE settlement_id = $4 AND undone_by IS NOT NULL)
ORDER BY user_id LIMIT $5;

-- name: open_decided
-- Bets that a rollback has to work, likewise.
SELECT bet_id FROM bets WHERE market_id = $1 AND status IN ('SETTLED', 'VOID') AND settlement_id = $2
ORDER BY user_id LIMIT $3;

-- name: lock_bets
-- Some bets, their wallets and their settlement, locked until the transaction ends: no rollback is decided
-- meanwhile. The settlement is locked first, so that of two workers one waits here and holds nothing.
SELECT b.*, w.balance_minor, w.debt_minor, s.undone_by FROM bets b
JOIN wallets w USING (user_id) JOIN settlements s ON s.settlement_id = $2
WHERE b.bet_id = ANY($1::uuid[]) FOR NO KEY UPDATE OF s, b, w;

-- name: record_moves
-- Worked bets: bets, wallets, transfers, exposures and progress in one statement. Texts come joined: that is the
-- cheapest way in.
WITH bet AS (
    UPDATE bets SET status = m.status, result = m.result, payout_minor = m.payout_minor, settled_at = $2,
        settlement_id = $3
    FROM unnest($4::uuid[], string_to_array($5, E'\x1f'), string_to_array($6, E'\x1f', E'\x1e'), $7::bigint[])
        AS m (bet_id, status, result, payout_minor)
    WHERE bets.bet_id = m.bet_id
), progress AS (
    UPDATE settlements SET bets_done = bets_done + cardinality($4) WHERE settlement_id = $1
), exposure AS (
    UPDATE exposures SET bets = exposures.bets + m.bets, stakes_minor = exposures.stakes_minor + m.stakes_minor,
        liability_minor = exposures.liability_minor + m.liability_minor
    FROM unnest($9::text[], $10::bigint[], $11::bigint[], $12::bigint[])
        AS m (selection_id, bets, stakes_minor, liability_minor)
    WHERE exposures.market_id = $8 AND exposures.selection_id = m.selection_id
), transfer AS (
    INSERT INTO transfers (recorded_at, transfer_id, kind, debit_account, credit_account, amount_minor, currency,
        bet_id, user_id)
    SELECT $16, t.* FROM unnest($17::uuid[], string_to_array($18, E'\x1f'), string_to_array($19, E'\x1f'),
        string_to_array($20, E'\x1f'), $21::bigint[], string_to_array($22, E'\x1f'), $23::uuid[],
        string_to_array($24, E'\x1f', E'\x1e')) AS t
)
UPDATE wallets SET balance_minor = m.balance_minor, debt_minor = m.debt_minor, version = version + 1,
    updated_at = $16
FROM unnest($13::text[], $14::bigint[], $15::bigint[]) AS m (user_id, balance_minor, debt_minor)
WHERE wallets.user_id = m.user_id RETURNING wallets.user_id, version;

-- name: finish
-- Put on record that no bet is left.
UPDATE settlements SET finished_at = $2 WHERE settlement_id = $1 AND finished_at IS NULL;

-- name: hold_work
-- Be the one settlement worker, until the connection ends; false where another is.
SELECT pg_try_advisory_lock(6231002);
