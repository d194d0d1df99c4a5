-- The yardstick: all of a market's open bets won and paid by one statement, with the rows that the books are owed
-- (bets, both transfers of each, wallets, exposure) and no rule.
WITH decided AS (
    INSERT INTO settlements (market_id, kind, results, requested_at, finished_at)
    VALUES ($1, 'settle', '{}', now(), now()) RETURNING settlement_id
), bet AS (
    UPDATE bets SET status = 'SETTLED', result = 'won', payout_minor = (stake_minor * odds_milli + 500) / 1000,
        settled_at = now(), settlement_id = decided.settlement_id
    FROM decided WHERE market_id = $1 AND status = 'PLACED'
    RETURNING bet_id, user_id, currency, stake_minor, payout_minor
), transfer AS (
    INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,
        user_id, recorded_at)
    SELECT uuidv7(), 'stake_released', 'stakes', 'house', stake_minor, currency, bet_id, NULL, now() FROM bet
    UNION ALL
    SELECT uuidv7(), 'payout', 'house', 'wallet:' || user_id, payout_minor, currency, bet_id, user_id, now()
    FROM bet
), exposure AS (
    UPDATE exposures SET bets = 0, stakes_minor = 0, liability_minor = 0 WHERE market_id = $1
)
UPDATE wallets SET balance_minor = balance_minor + due.won, version = version + 1, updated_at = now()
FROM (SELECT user_id, sum(payout_minor) AS won FROM bet GROUP BY user_id) AS due
WHERE wallets.user_id = due.user_id
