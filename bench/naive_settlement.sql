-- The yardstick: as many bets settled and paid by wallet in one statement, with no rule and no ledger.
WITH paid AS (
    UPDATE naive_bets SET status = 'SETTLED' WHERE status = 'PLACED' 
    RETURNING wallet, stake * 21 / 10 AS won
)
UPDATE naive_wallets SET balance = balance + due.won
FROM (SELECT wallet, sum(won) AS won FROM paid GROUP BY wallet) AS due WHERE id = due.wallet
