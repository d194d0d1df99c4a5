-- Bets as placing them leaves them, in one go: the bets, their stakes' transfers, wallets and exposure.
WITH bet AS (
    INSERT INTO bets (bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version, stake_minor,
        currency, created_at, requested_odds_milli, requested_odds_version)
    SELECT uuidv7(), ($3::text[])[1 + n % cardinality($3)], $1, $2, 'home', 2100, 1, $5, 'EUR', now(), 2100, 1
    FROM generate_series(1, $4) AS n RETURNING bet_id, user_id
), transfer AS (
    INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,
        user_id, recorded_at)
    SELECT uuidv7(), 'stake', 'wallet:' || user_id, 'stakes', $5, 'EUR', bet_id, user_id, now() FROM bet
), exposure AS (
    INSERT INTO exposures (market_id, selection_id, bets, stakes_minor, liability_minor)
    VALUES ($2, 'home', $4, $4 * $5, $4 * $5 * 11 / 10)
    ON CONFLICT (market_id, selection_id) DO UPDATE SET bets = exposures.bets + excluded.bets,
        stakes_minor = exposures.stakes_minor + excluded.stakes_minor,
        liability_minor = exposures.liability_minor + excluded.liability_minor
)
UPDATE wallets SET balance_minor = balance_minor - $5 * (
    SELECT count(*) FROM bet WHERE bet.user_id = wallets.user_id
)
