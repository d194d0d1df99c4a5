-- pgbench's naive bet on one hot market.
\set wallet random(1, 1000)
BEGIN;
SELECT version FROM naive_odds WHERE id = 1 FOR UPDATE;
UPDATE naive_wallets SET balance = balance - 10 WHERE id = :wallet AND balance >= 10;
INSERT INTO naive_bets (wallet, market, stake) VALUES (:wallet, 1, 10);
COMMIT;
