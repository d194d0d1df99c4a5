-- name: register
-- Open an account with an empty wallet; no row where the username or the id is taken.
WITH player AS (
    INSERT INTO players (user_id, username, role, password_hash, currency, created_at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING user_id
)
INSERT INTO wallets (user_id, balance_minor, currency, updated_at)
SELECT user_id, 0, $5, $6 FROM player RETURNING true;

-- name: credentials
-- What a login is checked against.
SELECT user_id, role, password_hash, locked_until FROM players WHERE lower(username) = lower($1);

-- name: login_failed
-- Count a wrong password; at the last one allowed lock the account and count from none again.
UPDATE players SET
    locked_until = CASE WHEN login_failures + 1 >= $2 THEN $3 ELSE locked_until END,
    login_failures = CASE WHEN login_failures + 1 >= $2 THEN 0 ELSE login_failures + 1 END
WHERE user_id = $1 RETURNING locked_until;

-- name: login_succeeded
-- Forget the wrong passwords counted so far.
UPDATE players SET login_failures = 0 WHERE user_id = $1 AND login_failures > 0;

-- name: profile
-- An account with its wallet.
SELECT p.*, w.balance_minor, w.debt_minor FROM players p JOIN wallets w USING (user_id) WHERE user_id = $1;

-- name: balance
-- A wallet's balance.
SELECT balance_minor, currency, version FROM wallets WHERE user_id = $1;

-- name: recent_balances
-- The wallets that moved from an instant on.
SELECT user_id, balance_minor, currency, version FROM wallets WHERE updated_at >= $1
ORDER BY updated_at DESC LIMIT $2;

-- name: lock_wallet
-- A wallet, locked until the transaction ends.
SELECT * FROM wallets WHERE user_id = $1 FOR UPDATE;

-- name: funds_move_by_key
-- The deposit or withdrawal under a player's idempotency key.
SELECT * FROM funds_moves WHERE user_id = $1 AND idempotency_key = $2;

-- name: record_funds_move
-- A deposit or withdrawal: wallet, record and transfers in one statement.
WITH move AS (
    INSERT INTO funds_moves (move_id, user_id, kind, amount_minor, currency, balance_minor, idempotency_key,
        recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
), transfer AS (
    INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,
        user_id, recorded_at)
    SELECT * FROM unnest($10::uuid[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::text[],
        $16::uuid[], $17::text[], $18::timestamptz[])
)
UPDATE wallets SET balance_minor = $6, debt_minor = $9, version = version + 1, updated_at = $8
WHERE user_id = $2 RETURNING version;

-- name: transactions
-- The transfers on a player's accounts, newest first, older than a place in that order.
SELECT * FROM transfers
WHERE user_id = $1 AND ($2::timestamptz IS NULL OR (recorded_at, transfer_id) < ($2, $3::uuid))
ORDER BY recorded_at DESC, transfer_id DESC LIMIT $4;

-- name: limits
-- A player's limits.
SELECT limits FROM players WHERE user_id = $1;

-- name: write_limits
-- Write a player's limits.
UPDATE players SET limits = $2::text::jsonb WHERE user_id = $1;

-- name: exclude
-- Exclude a player until the later of two instants.
UPDATE players SET excluded_until = greatest(excluded_until, $2) WHERE user_id = $1 RETURNING excluded_until;

-- name: flag_velocity
-- Mark an account as betting faster than a person can.
UPDATE players SET velocity_flagged_at = $2 WHERE user_id = $1;

-- name: revoke
-- Put a revocation on record and tell every listener.
WITH revocation AS (
    INSERT INTO revocations (token_id, user_id, issued_until, spared, until)
    VALUES ($1, $2, $3, $4, $5) RETURNING revocation_id
)
SELECT pg_notify('revocations', revocation_id::text) FROM revocation;

-- name: standing_revocations
-- Revocations whose tokens have not all expired.
SELECT * FROM revocations WHERE until > $1 ORDER BY revocation_id;

-- name: revocation
-- One revocation.
SELECT * FROM revocations WHERE revocation_id = $1;
