-- name: written
-- The newest version of each of some markets that the history holds.
SELECT market_id, max(odds_version) AS odds_version FROM odds_history
WHERE market_id = ANY($1::text[]) GROUP BY market_id;

-- name: versions
-- How many versions the odds' authority has written down.
SELECT count(*) FROM odds_history WHERE in_force_from IS NOT NULL;

-- name: versions_out_of_order
-- Versions of the authority's before which one is left out, or that came into force before the one before.
SELECT market_id, odds_version, before, in_force_from, earlier
FROM (
    SELECT market_id, odds_version, in_force_from, coalesce(lag(odds_version) OVER in_turn, 0) AS before,
        lag(in_force_from) OVER in_turn AS earlier
    FROM odds_history WINDOW in_turn AS (PARTITION BY market_id ORDER BY odds_version)
) version
WHERE in_force_from IS NOT NULL AND (odds_version <> before + 1 OR in_force_from < earlier)
ORDER BY market_id, odds_version;

-- name: facts
-- How many facts there are.
SELECT count(*) FROM facts;

-- name: shards_with_gaps
-- Shards whose facts are not all of those from the first to the last that was numbered.
SELECT s.shard, s.next_seq, count(f.seq) AS facts, min(f.seq) AS first, max(f.seq) AS last
FROM shards s LEFT JOIN facts f USING (shard)
GROUP BY s.shard, s.next_seq
HAVING count(f.seq) <> s.next_seq - 1 OR coalesce(min(f.seq), 1) <> 1 OR coalesce(max(f.seq), 0) <> s.next_seq - 1
ORDER BY s.shard;

-- name: late_writes
-- Facts of a writer that had been replaced: their epoch is below that of the fact before.
SELECT shard, seq, epoch, newer FROM (
    SELECT shard, seq, epoch, lag(epoch) OVER (PARTITION BY shard ORDER BY seq) AS newer FROM facts
) fact WHERE epoch < newer
ORDER BY shard, seq;

-- name: bets_unlike_facts
-- Bets without their one fact of acceptance, or with other decisions than those that moved their money.
SELECT coalesce(b.bet_id, f.bet_id) AS bet_id, b.user_id, b.idempotency_key, coalesce(f.accepted, 0) AS accepted,
    coalesce(f.decided, 0) AS decided, coalesce(m.steps, 0) AS steps
FROM bets b
FULL JOIN (
    SELECT bet_id, count(*) FILTER (WHERE kind = 'BetAccepted') AS accepted,
        count(*) FILTER (WHERE kind = 'BetDecided') AS decided
    FROM facts WHERE kind IN ('BetAccepted', 'BetDecided') GROUP BY bet_id
) f ON f.bet_id = b.bet_id
LEFT JOIN (
    SELECT bet_id, count(DISTINCT xmin::text) AS steps FROM transfers
    WHERE bet_id IS NOT NULL AND kind <> 'stake' GROUP BY bet_id
) m ON m.bet_id = coalesce(b.bet_id, f.bet_id)
WHERE b.bet_id IS NULL OR coalesce(f.accepted, 0) <> 1 OR coalesce(f.decided, 0) <> coalesce(m.steps, 0)
ORDER BY 1;

-- name: players_unlike_facts
-- Wallets without their one fact of opening, or with other deposits and withdrawals than facts of them.
SELECT coalesce(w.user_id, f.player_id) AS user_id, coalesce(f.opened, 0) AS opened, coalesce(f.moved, 0) AS moved,
    coalesce(m.moves, 0) AS moves
FROM wallets w
FULL JOIN (
    SELECT player_id, count(*) FILTER (WHERE kind = 'AccountOpened') AS opened,
        count(*) FILTER (WHERE kind = 'FundsMoved') AS moved
    FROM facts WHERE kind IN ('AccountOpened', 'FundsMoved') GROUP BY player_id
) f ON f.player_id = w.user_id
LEFT JOIN (SELECT user_id, count(*) AS moves FROM funds_moves GROUP BY user_id) m
    ON m.user_id = coalesce(w.user_id, f.player_id)
WHERE w.user_id IS NULL OR coalesce(f.opened, 0) <> 1 OR coalesce(f.moved, 0) <> coalesce(m.moves, 0)
ORDER BY 1;

-- name: decisions
-- How many settlements there are, and how many facts of decisions on markets.
SELECT (SELECT count(*) FROM settlements) AS settlements,
    (SELECT count(*) FROM facts WHERE kind = 'MarketDecided') AS facts;
