-- Settled bets as placing and settling leave them, $1 to $2, of $3 players in turn: bets, transfers and facts.
WITH bet AS (
    INSERT INTO bets (bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version, stake_minor,
        currency, status, result, payout_minor, settled_at, created_at, idempotency_key, requested_odds_milli,
        requested_odds_version, requested_accept)
    SELECT uuidv7(make_interval(secs => (n - 100000000) / 100.0)), 'grown-' || n % $3, 'bench',
        'grown:' || n % 1000, 'home', 2100, 1, 10, 'EUR', 'SETTLED', 'lost', 0, now(), now() - interval '40 days',
        'key-' || n, 2100, 1, 'none'
    FROM generate_series($1::bigint, $2::bigint) AS n
    RETURNING bet_id, user_id, created_at, substr(idempotency_key, 5)::bigint AS n
), fact AS (
    INSERT INTO facts (shard, seq, fact_id, kind, player_id, event_id, bet_id, epoch, recorded_at, body)
    SELECT 1, n, bet_id, 'BetAccepted', user_id, 'bench', bet_id, 1, created_at,
        convert_to(repeat('{"v":1}', 60), 'UTF8')
    FROM bet
)
INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id, user_id,
    recorded_at)
SELECT encode(substr(uuid_send(bet_id), 1, 6) || substr(uuid_send(gen_random_uuid()), 7), 'hex')::uuid, step.kind,
    step.debit, step.credit, 10, 'EUR', bet_id, step.owner, created_at
FROM bet CROSS JOIN LATERAL (
    VALUES ('stake', 'wallet:' || user_id, 'stakes', user_id), ('stake_released', 'stakes', 'house', NULL)
) AS step (kind, debit, credit, owner);
