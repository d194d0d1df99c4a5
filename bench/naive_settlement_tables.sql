-- As many open bets as the yardstick settles: 50,000 at `bets` = 50000.
CREATE TABLE naive_bets (id int PRIMARY KEY, wallet int, stake bigint, status text);
CREATE TABLE naive_wallets (id int PRIMARY KEY, balance bigint);
INSERT INTO naive_wallets SELECT id, 0 FROM generate_series(0, 199) AS id;
INSERT INTO naive_bets SELECT n, n % 200, 100, 'PLACED' FROM generate_series(1, {bets}) AS n;
