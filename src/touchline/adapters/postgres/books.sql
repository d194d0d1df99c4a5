-- name: wallets
-- Wallets whose balance or debt is not what their transfers add up to.
WITH flows AS (
    SELECT account, sum(amount)::bigint AS balance FROM (
        SELECT credit_account AS account, amount_minor AS amount FROM transfers
        UNION ALL SELECT debit_account, -amount_minor FROM transfers
    ) moved WHERE account LIKE 'wallet:%' OR account LIKE 'debt:%' GROUP BY account
)
SELECT w.user_id, w.balance_minor, coalesce(b.balance, 0) AS folded_balance,
    w.debt_minor, -coalesce(d.balance, 0) AS folded_debt
FROM wallets w
LEFT JOIN flows b ON b.account = 'wallet:' || w.user_id
LEFT JOIN flows d ON d.account = 'debt:' || w.user_id
WHERE w.balance_minor <> coalesce(b.balance, 0) OR w.debt_minor <> -coalesce(d.balance, 0)
LIMIT $1;

-- name: strangers
-- Accounts with transfers that no wallet stands for.
SELECT DISTINCT account FROM (
    SELECT credit_account AS account FROM transfers UNION SELECT debit_account FROM transfers
) named
WHERE account NOT IN ('stakes', 'house', 'cashier') AND NOT EXISTS (
    SELECT 1 FROM wallets w WHERE named.account IN ('wallet:' || w.user_id, 'debt:' || w.user_id))
LIMIT $1;

-- name: bets
-- Bets whose transfers are not what their status says: what the player got, what is held, what the house won.
WITH moved AS (
    SELECT bet_id,
        sum(CASE WHEN credit_account = 'wallet:' || user_id OR credit_account = 'debt:' || user_id
            THEN amount_minor ELSE 0 END)
        - sum(CASE WHEN debit_account = 'wallet:' || user_id OR debit_account = 'debt:' || user_id
            THEN amount_minor ELSE 0 END) AS player,
        sum(CASE 'stakes' WHEN credit_account THEN amount_minor WHEN debit_account THEN -amount_minor
            ELSE 0 END) AS held,
        sum(CASE 'house' WHEN credit_account THEN amount_minor WHEN debit_account THEN -amount_minor
            ELSE 0 END) AS house
    FROM transfers WHERE bet_id IS NOT NULL GROUP BY bet_id
)
SELECT coalesce(b.bet_id, m.bet_id) AS bet_id, b.status, b.stake_minor, b.payout_minor, m.player, m.held, m.house
FROM bets b FULL JOIN moved m ON m.bet_id = b.bet_id
WHERE b.bet_id IS NULL OR m.bet_id IS NULL
    OR m.player <> coalesce(b.payout_minor, 0) - b.stake_minor
    OR m.held <> CASE WHEN b.status = 'PLACED' THEN b.stake_minor ELSE 0 END
    OR m.house <> CASE WHEN b.status = 'PLACED' THEN 0 ELSE b.stake_minor - b.payout_minor END
    OR (b.status = 'PLACED') <> (b.payout_minor IS NULL) OR (b.status = 'PLACED') <> (b.result IS NULL)
    OR (b.status = 'PLACED') <> (b.settlement_id IS NULL)
LIMIT $1;

-- name: owners
-- Transfers told to another player than the one whose account they move, or in another currency than his.
SELECT t.transfer_id, t.user_id, t.currency, w.user_id AS owner, w.currency AS held
FROM transfers t
LEFT JOIN wallets w ON w.user_id = CASE
    WHEN t.debit_account ~ '^(wallet|debt):' THEN regexp_replace(t.debit_account, '^(wallet|debt):', '')
    WHEN t.credit_account ~ '^(wallet|debt):' THEN regexp_replace(t.credit_account, '^(wallet|debt):', '') END
WHERE t.user_id IS DISTINCT FROM w.user_id OR t.currency <> w.currency
LIMIT $1;

-- name: currencies
-- Bets in another currency than their player's wallet.
SELECT b.bet_id, b.currency, w.currency AS held FROM bets b JOIN wallets w USING (user_id)
WHERE b.currency <> w.currency
LIMIT $1;

-- name: cashier
-- Players whose deposits or withdrawals are not what their transfers from and to the cashier add up to.
WITH moves AS (
    SELECT user_id, kind, sum(amount_minor)::bigint AS amount FROM funds_moves GROUP BY user_id, kind
), moved AS (
    SELECT user_id, kind, sum(amount_minor)::bigint AS amount FROM transfers
    WHERE 'cashier' IN (debit_account, credit_account) GROUP BY user_id, kind
)
SELECT user_id, kind, coalesce(moves.amount, 0) AS amount_minor, coalesce(moved.amount, 0) AS folded
FROM moves FULL JOIN moved USING (user_id, kind)
WHERE coalesce(moves.amount, 0) <> coalesce(moved.amount, 0)
LIMIT $1;

-- name: exposures
-- Selections whose exposure is not what their open bets add up to.
WITH open_bets AS (
    SELECT market_id, selection_id, count(*) AS bets, sum(stake_minor)::bigint AS stakes,
        sum((stake_minor * odds_milli + 500) / 1000 - stake_minor)::bigint AS liability
    FROM bets WHERE status = 'PLACED' GROUP BY market_id, selection_id
)
SELECT coalesce(e.market_id, o.market_id) AS market_id, coalesce(e.selection_id, o.selection_id) AS selection_id,
    coalesce(e.liability_minor, 0) AS liability_minor, coalesce(o.liability, 0) AS folded_liability
FROM exposures e FULL JOIN open_bets o USING (market_id, selection_id)
WHERE coalesce(e.bets, 0) <> coalesce(o.bets, 0) OR coalesce(e.stakes_minor, 0) <> coalesce(o.stakes, 0)
    OR coalesce(e.liability_minor, 0) <> coalesce(o.liability, 0)
LIMIT $1;

-- name: prices
-- Bets at odds that their version of the market did not offer.
SELECT b.bet_id, b.market_id, b.odds_version, b.odds_milli FROM bets b
LEFT JOIN odds_history h ON h.market_id = b.market_id AND h.odds_version = b.odds_version
WHERE h.market_id IS NULL OR h.status <> 'active' OR NOT EXISTS (
    SELECT 1 FROM jsonb_array_elements(h.selections) s
    WHERE s ->> 'selection_id' = b.selection_id AND (s ->> 'odds')::numeric * 1000 = b.odds_milli)
LIMIT $1;

-- name: history
-- Markets whose history lacks a version, or ends in other prices than the market shows.
SELECT o.market_id, o.odds_version, count(h.odds_version) AS kept, max(h.odds_version) AS newest
FROM odds o LEFT JOIN odds_history h USING (market_id)
GROUP BY o.market_id
HAVING count(h.odds_version) <> o.odds_version OR max(h.odds_version) <> o.odds_version
    OR NOT EXISTS (SELECT 1 FROM odds_history l WHERE l.market_id = o.market_id
        AND l.odds_version = o.odds_version AND l.status = o.status AND l.selections = o.selections)
LIMIT $1;

-- name: decisions
-- Markets that stand as settled or void without a settlement that made them so, or the other way round.
SELECT o.market_id, o.status FROM odds o
LEFT JOIN settlements s ON s.market_id = o.market_id AND s.undone_by IS NULL
    AND (s.kind = 'settle' OR s.kind = 'void' AND s.placed_from IS NULL AND s.placed_until IS NULL)
GROUP BY o.market_id
HAVING coalesce(bool_or(s.kind = 'settle'), false) <> (o.status = 'settled')
    OR coalesce(bool_or(s.kind = 'void'), false) <> (o.status = 'void')
LIMIT $1;

-- name: progress
-- Settlements that worked another number of bets than stand decided by them, less what was taken back.
WITH decided AS (SELECT settlement_id, count(*) AS bets FROM bets WHERE settlement_id IS NOT NULL GROUP BY 1)
SELECT s.settlement_id, s.bets_done - coalesce(u.bets_done, 0) AS worked, coalesce(d.bets, 0) AS bets
FROM settlements s LEFT JOIN settlements u ON u.settlement_id = s.undone_by
LEFT JOIN decided d ON d.settlement_id = s.settlement_id
WHERE s.kind IN ('settle', 'void') AND s.bets_done - coalesce(u.bets_done, 0) <> coalesce(d.bets, 0)
LIMIT $1;

-- name: left_over
-- Open bets on markets whose settling or voiding is finished.
SELECT b.bet_id, b.market_id, o.status FROM bets b JOIN odds o USING (market_id)
WHERE b.status = 'PLACED' AND o.status IN ('settled', 'void')
    AND NOT EXISTS (SELECT 1 FROM settlements s WHERE s.market_id = b.market_id AND s.finished_at IS NULL)
LIMIT $1;

-- name: decided
-- Decided bets with the settlement that decided them.
SELECT b.*, u.finished_at IS NOT NULL AS taken_back
FROM bets b LEFT JOIN settlements s USING (settlement_id)
LEFT JOIN settlements u ON u.settlement_id = s.undone_by
WHERE b.status <> 'PLACED';

-- name: settlements
-- Every settlement's results.
SELECT * FROM settlements WHERE kind IN ('settle', 'void');

-- name: sums
-- Counts and sums for a summary.
SELECT (SELECT count(*) FROM bets) AS bets,
    (SELECT count(*) FROM bets WHERE status = 'PLACED') AS open_bets,
    (SELECT count(*) FROM transfers) AS transfers,
    (SELECT coalesce(sum(balance_minor), 0)::bigint FROM wallets) AS wallets,
    (SELECT coalesce(sum(debt_minor), 0)::bigint FROM wallets) AS debts,
    (SELECT coalesce(sum(stake_minor), 0)::bigint FROM bets WHERE status = 'PLACED') AS stakes,
    coalesce(sum(CASE 'house' WHEN credit_account THEN amount_minor WHEN debit_account THEN -amount_minor END), 0
        )::bigint AS house,
    coalesce(sum(CASE 'cashier' WHEN credit_account THEN amount_minor WHEN debit_account THEN -amount_minor END), 0
        )::bigint AS cashier
FROM transfers;
