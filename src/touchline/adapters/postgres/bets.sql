-- name: lock_position
-- All that a decision depends on, the market and the wallet locked in this order.
SELECT * FROM lock_position($1, $2, $3, $4);

-- name: position
-- The same under no lock, as it is just now.
SELECT o.market_id, o.event_id, o.name, o.market_type, o.status AS market_status, o.odds_version, o.selections,
    o.bet_delay_ms, o.priced_at, o.updated_at, w.user_id, w.currency, w.balance_minor, w.debt_minor,
    p.locked_until, p.excluded_until, p.limits, coalesce(e.liability_minor, 0) AS exposure_minor,
    b.bet_id AS earlier, w.version AS wallet_version, p.xmin::text AS player_state
FROM players p
JOIN wallets w ON w.user_id = p.user_id
LEFT JOIN odds o ON o.market_id = $1
LEFT JOIN exposures e ON e.market_id = $1 AND e.selection_id = $3
LEFT JOIN bets b ON b.user_id = p.user_id AND b.idempotency_key = $4
WHERE p.user_id = $2;

-- name: past_version
-- What a version of a market that has passed offered.
SELECT status, selections FROM odds_history WHERE market_id = $1 AND odds_version = $2;

-- name: record_if_unchanged
-- The accepted bet in one call, where the locked rows are as they were read; null, and nothing written, where not.
SELECT record_bet($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
    $22, $23);

-- name: record_bet
-- The accepted bet: the wallet debited, the transfer, the bet and the exposure in one statement.
WITH wallet AS (
    UPDATE wallets SET balance_minor = $17, version = version + 1, updated_at = $11 WHERE user_id = $2
    RETURNING version
), transfer AS (
    INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,
        user_id, recorded_at)
    SELECT * FROM unnest($18::uuid[], $19::text[], $20::text[], $21::text[], $22::bigint[], $23::text[],
        $24::uuid[], $25::text[], $26::timestamptz[])
), bet AS (
    INSERT INTO bets (bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version, stake_minor,
        currency, idempotency_key, created_at, requested_odds_milli, requested_odds_version,
        requested_accept, requested_valid_until)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
), exposure AS (
    INSERT INTO exposures (market_id, selection_id, bets, stakes_minor, liability_minor)
    VALUES ($4, $5, 1, $8, $16)
    ON CONFLICT (market_id, selection_id) DO UPDATE SET bets = exposures.bets + 1,
        stakes_minor = exposures.stakes_minor + excluded.stakes_minor,
        liability_minor = exposures.liability_minor + excluded.liability_minor
)
SELECT version FROM wallet;

-- name: bet
-- One bet of a player.
SELECT * FROM bets WHERE bet_id = $1 AND user_id = $2;

-- name: bet_by_key
-- The bet under a player's idempotency key.
SELECT * FROM bets WHERE user_id = $1 AND idempotency_key = $2;

-- name: page
-- A player's bets, newest first, older than a place in that order.
SELECT * FROM bets
WHERE user_id = $1 AND ($2::text IS NULL OR status = $2)
    AND ($3::timestamptz IS NULL OR (created_at, bet_id) < ($3, $4::uuid))
ORDER BY created_at DESC, bet_id DESC LIMIT $5;

-- name: placed_since
-- How many bets a player placed from an instant on.
SELECT count(*) FROM bets WHERE user_id = $1 AND created_at >= $2;

-- name: exposures
-- The open bets by selection.
SELECT market_id, selection_id, bets, stakes_minor, liability_minor FROM exposures WHERE bets > 0
ORDER BY market_id, selection_id;

-- name: spent
-- What already counts against some players' limits, by period: deposits, stakes less what came back of them, and
-- what betting took from them on balance.
SELECT player.user_id, spent.* FROM unnest($1::text[]) AS player (user_id) CROSS JOIN LATERAL (
    SELECT period.name AS period,
        coalesce(sum(t.amount_minor) FILTER (WHERE t.kind = 'deposit'), 0)::bigint AS deposit,
        coalesce(sum(CASE 'stakes' WHEN t.credit_account THEN t.amount_minor
            WHEN t.debit_account THEN -t.amount_minor END), 0)::bigint AS stake,
        coalesce(sum(CASE WHEN t.kind IN ('deposit', 'withdrawal') THEN 0
            WHEN t.debit_account IN ('wallet:' || player.user_id, 'debt:' || player.user_id) THEN t.amount_minor
            ELSE -t.amount_minor END), 0)::bigint AS loss
    FROM unnest($2::text[], $3::timestamptz[]) AS period (name, since)
    LEFT JOIN transfers t ON t.user_id = player.user_id AND t.recorded_at >= period.since
    GROUP BY period.name
) AS spent;
