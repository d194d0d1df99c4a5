-- The yardstick: all of a market's open bets won and paid by one statement, with the rows that the books are owed
-- (bets, both transfers of each, wallets, exposure, and where the ledger is in shards a fact of each) and no rule.
WITH decided AS (
    INSERT INTO settlements (market_id, kind, results, requested_at, finished_at)
    VALUES ($1, 'settle', '{}', now(), now()) RETURNING settlement_id
), bet AS (
    UPDATE bets SET status = 'SETTLED', result = 'won', payout_minor = (stake_minor * odds_milli + 500) / 1000,
        settled_at = now(), settlement_id = decided.settlement_id
    FROM decided WHERE market_id = $1 AND status = 'PLACED'
    RETURNING bets.*
), transfer AS (
    INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,
        user_id, recorded_at)
    SELECT uuidv7(), 'stake_released', 'stakes', 'house', stake_minor, currency, bet_id, NULL, now() FROM bet
    UNION ALL
    SELECT uuidv7(), 'payout', 'house', 'wallet:' || user_id, payout_minor, currency, bet_id, user_id, now()
    FROM bet
), exposure AS (
    UPDATE exposures SET bets = 0, stakes_minor = 0, liability_minor = 0 WHERE market_id = $1
), fact AS (
    INSERT INTO facts (shard, seq, epoch, recorded_at, fact_id, kind, player_id, event_id, bet_id, body)
    SELECT shard, next_seq - 1 + row_number() OVER (PARTITION BY shard), epoch, now(), uuidv7(), 'BetDecided', user_id,
        event_id, bet_id, convert_to(json_build_object('v', 1, 'bet_id', bet_id, 'player_id', user_id, 'event_id',
            event_id, 'settlement_id', settlement_id, 'kind', 'settle', 'status', status, 'decided_at', settled_at,
            'result', result, 'payout_minor', payout_minor)::text, 'UTF8')
    FROM bet JOIN shards ON shard = 1 + crc32(convert_to(user_id, 'UTF8')) % (SELECT max(shard) FROM shards)
    RETURNING shard
), place AS (
    UPDATE shards SET next_seq = next_seq + told.facts
    FROM (SELECT shard, count(*) AS facts FROM fact GROUP BY shard) AS told WHERE shards.shard = told.shard
)
UPDATE wallets SET balance_minor = balance_minor + due.won, version = version + 1, updated_at = now()
FROM (SELECT user_id, sum(payout_minor) AS won FROM bet GROUP BY user_id) AS due
WHERE wallets.user_id = due.user_id
