-- What the naive bet needs: one hot market, 1,000 wallets.
CREATE TABLE naive_odds (id int PRIMARY KEY, version int NOT NULL);
CREATE TABLE naive_wallets (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
CREATE TABLE naive_bets (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, wallet int, market int, stake int);
INSERT INTO naive_odds VALUES (1, 1);
INSERT INTO naive_wallets SELECT id, 1000000000 FROM generate_series(1, 1000) AS id;
