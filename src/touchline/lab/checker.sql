-- name: timekeeping
-- Whether the server keeps the instant of each commit, by which the order of money is known for certain.
SELECT current_setting('track_commit_timestamp');

-- name: bets_of_players
-- The bets of some players with what their version of the market offered, and how long it was in force: by the
-- instants of commits, or where the odds' authority is elsewhere by its clock, which is cut off to milliseconds.
SELECT b.bet_id, b.user_id, b.event_id, b.market_id, b.selection_id, b.odds_milli, b.odds_version, b.stake_minor,
    b.currency, b.idempotency_key, b.created_at, b.requested_odds_milli, b.requested_odds_version,
    h.status AS market_status, offered.selection ->> 'status' AS selection_status,
    offered.selection ->> 'odds' AS offered_odds, coalesce(h.in_force_from, h.recorded_at) AS began_at,
    newer.ended_at
FROM bets b
LEFT JOIN odds_history h USING (market_id, odds_version)
LEFT JOIN LATERAL (
    SELECT s AS selection FROM jsonb_array_elements(h.selections) s
    WHERE s ->> 'selection_id' = b.selection_id LIMIT 1
) offered ON true
LEFT JOIN LATERAL (
    SELECT coalesce(n.in_force_from + interval '1 ms', greatest(n.recorded_at, pg_xact_commit_timestamp(n.xmin)))
        AS ended_at FROM odds_history n
    WHERE n.market_id = b.market_id AND n.odds_version > b.odds_version ORDER BY n.odds_version LIMIT 1
) newer ON true
WHERE b.user_id = ANY($1::text[])
ORDER BY b.user_id, b.idempotency_key, b.bet_id;

-- name: odds_between
-- The odds that a selection could be backed at, at any instant between two; the second may be open.
SELECT offered.selection ->> 'odds' AS odds
FROM (
    SELECT status, selections, coalesce(in_force_from, recorded_at) AS began_at,
        lead(coalesce(in_force_from + interval '1 ms', greatest(recorded_at, pg_xact_commit_timestamp(xmin))))
            OVER (ORDER BY odds_version) AS ended_at
    FROM odds_history WHERE market_id = $1
) version
CROSS JOIN LATERAL (
    SELECT s AS selection FROM jsonb_array_elements(version.selections) s WHERE s ->> 'selection_id' = $2
) offered
WHERE version.status = 'active' AND offered.selection ->> 'status' = 'active'
    AND (version.ended_at IS NULL OR version.ended_at >= $3)
    AND ($4::timestamptz IS NULL OR version.began_at <= $4);

-- name: settlements
-- Every settlement and void, and whether it was taken back to the end.
SELECT s.settlement_id, s.market_id, s.kind, s.results, u.finished_at IS NOT NULL AS taken_back
FROM settlements s LEFT JOIN settlements u ON u.settlement_id = s.undone_by
WHERE s.kind IN ('settle', 'void') ORDER BY s.settlement_id;

-- name: worked_bets
-- Every bet beside the money that moved for it, in the order of the commits.
SELECT coalesce(b.bet_id, m.bet_id) AS bet_id, b.user_id, b.market_id, b.selection_id, b.odds_milli, b.stake_minor,
    b.idempotency_key, b.status, b.result, b.payout_minor, b.settlement_id, o.status AS market_status,
    m.steps, m.kinds, m.debits, m.credits, m.amounts
FROM bets b JOIN odds o USING (market_id)
FULL JOIN (
    SELECT bet_id, array_agg(step ORDER BY at, step, transfer_id) AS steps,
        array_agg(kind ORDER BY at, step, transfer_id) AS kinds,
        array_agg(debit_account ORDER BY at, step, transfer_id) AS debits,
        array_agg(credit_account ORDER BY at, step, transfer_id) AS credits,
        array_agg(amount_minor ORDER BY at, step, transfer_id) AS amounts
    FROM (
        SELECT t.*, t.xmin::text AS step, pg_xact_commit_timestamp(t.xmin) AS at FROM transfers t
        WHERE bet_id IS NOT NULL
    ) moved GROUP BY bet_id
) m ON m.bet_id = b.bet_id
ORDER BY 1;

-- name: overdrawn
-- Wallets that were below zero after some commit: the first such instant of each, and a bet that it was for.
WITH moved AS (
    SELECT credit_account AS account, amount_minor AS amount, bet_id, xmin::text AS step,
        pg_xact_commit_timestamp(xmin) AS at FROM transfers WHERE credit_account LIKE 'wallet:%'
    UNION ALL
    SELECT debit_account, -amount_minor, bet_id, xmin::text, pg_xact_commit_timestamp(xmin)
    FROM transfers WHERE debit_account LIKE 'wallet:%'
), stepped AS (
    SELECT account, at, step, sum(amount) AS amount, min(bet_id::text) AS bet_id
    FROM moved GROUP BY account, at, step
), folded AS (
    SELECT account, at, bet_id, sum(amount) OVER (PARTITION BY account ORDER BY at, step)::bigint AS balance_minor
    FROM stepped
)
SELECT DISTINCT ON (account) account, at, bet_id, balance_minor FROM folded WHERE balance_minor < 0
ORDER BY account, at;

-- name: wallets
-- How many wallets there are.
SELECT count(*) FROM wallets;

-- name: balances
-- Wallets and debts that differ from what their transfers add up to, and accounts that are nobody's.
WITH moved AS (
    SELECT account, sum(amount)::bigint AS amount FROM (
        SELECT credit_account AS account, amount_minor AS amount FROM transfers
        UNION ALL SELECT debit_account, -amount_minor FROM transfers
    ) both_sides WHERE account NOT IN ('stakes', 'house', 'cashier') GROUP BY account
), held AS (
    SELECT 'wallet:' || user_id AS account, balance_minor AS amount FROM wallets
    UNION ALL SELECT 'debt:' || user_id, -debt_minor FROM wallets
)
SELECT account, held.amount AS held_minor, coalesce(moved.amount, 0) AS moved_minor
FROM held FULL JOIN moved USING (account)
WHERE held.amount IS DISTINCT FROM coalesce(moved.amount, 0)
ORDER BY account;

-- name: cashier
-- Deposits and withdrawals on record that differ from the money that came in and went out.
SELECT user_id, kind, coalesce(recorded.amount, 0) AS recorded_minor, coalesce(moved.amount, 0) AS moved_minor
FROM (SELECT user_id, kind, sum(amount_minor)::bigint AS amount FROM funds_moves GROUP BY user_id, kind) recorded
FULL JOIN (
    SELECT user_id, kind, sum(amount_minor)::bigint AS amount FROM transfers
    WHERE 'cashier' IN (debit_account, credit_account) GROUP BY user_id, kind
) moved USING (user_id, kind)
WHERE coalesce(recorded.amount, 0) <> coalesce(moved.amount, 0)
ORDER BY user_id, kind;
