-- The players and markets of bets that are on record already.
WITH player AS (
    INSERT INTO players (user_id, username, role, password_hash, currency, created_at)
    SELECT 'grown-' || n, 'grown-' || n, 'player', 'none', 'EUR', now() FROM generate_series(0, $1 - 1) AS n
    RETURNING user_id
), event AS (
    INSERT INTO events (event_id, name, sport, competition, status) VALUES ('bench', 'b', 's', 'c', 'live')
), market AS (
    INSERT INTO odds (market_id, event_id, name, market_type, selections, status, updated_at)
    SELECT 'grown:' || n, 'bench', 'm', 't', '[]', 'settled', now() FROM generate_series(0, 999) AS n
)
INSERT INTO wallets (user_id, balance_minor, currency, updated_at) SELECT user_id, 100000000000, 'EUR', now() FROM player;
