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
-- Open bets that a settlement or void has to work: none once a rollback takes it back.
SELECT bet_id FROM bets WHERE market_id = $1 AND status = 'PLACED'
    AND ($2::timestamptz IS NULL OR created_at >= $2) AND ($3::timestamptz IS NULL OR created_at < $3)
    AND NOT EXISTS (SELECT 1 FROM settlements WHERE settlement_id = $4 AND undone_by IS NOT NULL)
LIMIT $5;

-- name: open_decided
-- Bets that a rollback has to work.
SELECT bet_id FROM bets WHERE market_id = $1 AND status IN ('SETTLED', 'VOID') AND settlement_id = $2 LIMIT $3;

-- name: lock_bet
-- A bet, its wallet and its settlement, locked until the transaction ends: no rollback is decided meanwhile.
SELECT b.*, w.balance_minor, w.debt_minor, s.undone_by FROM bets b
JOIN wallets w USING (user_id) JOIN settlements s ON s.settlement_id = $2
WHERE b.bet_id = $1 FOR NO KEY UPDATE OF b, w, s;

-- name: record_move
-- One worked bet: bet, wallet, transfers, exposure and progress in one statement.
WITH bet AS (
    UPDATE bets SET status = $2, result = $3, payout_minor = $4, settled_at = $5, settlement_id = $6
    WHERE bet_id = $1
), progress AS (
    UPDATE settlements SET bets_done = bets_done + 1 WHERE settlement_id = $7
), exposure AS (
    UPDATE exposures SET bets = bets + $8, stakes_minor = stakes_minor + $9,
        liability_minor = liability_minor + $10
    WHERE market_id = $11 AND selection_id = $12
), transfer AS (
    INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,
        user_id, recorded_at)
    SELECT * FROM unnest($17::uuid[], $18::text[], $19::text[], $20::text[], $21::bigint[], $22::text[],
        $23::uuid[], $24::text[], $25::timestamptz[])
)
UPDATE wallets SET balance_minor = $14, debt_minor = $15, version = version + 1, updated_at = $16
WHERE user_id = $13 RETURNING version;

-- name: finish
-- Put on record that no bet is left.
UPDATE settlements SET finished_at = $2 WHERE settlement_id = $1 AND finished_at IS NULL;

-- name: hold_work
-- Be the one settlement worker, until the connection ends; false where another is.
SELECT pg_try_advisory_lock(6231002);
