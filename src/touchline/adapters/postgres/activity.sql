-- name: connections
-- Connections of clients by what they do, and how many the server takes.
SELECT coalesce(state, 'unknown') AS state, count(*) AS connections,
    current_setting('max_connections')::integer AS connections_max
FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1;

-- name: settlement
-- How far settlement is, and how long ago an event ended that still has open bets.
SELECT count(*) AS unfinished, coalesce(sum(bets_total), 0) AS bets_wanted,
    coalesce(sum(bets_done) FILTER (WHERE bets_total IS NOT NULL), 0) AS bets_done,
    coalesce(extract(epoch FROM $1 - min(requested_at)), 0)::float AS oldest_s,
    coalesce(extract(epoch FROM $1 - (
        SELECT ended_at FROM event_ends e
        WHERE ended_at > $2
            AND EXISTS (SELECT 1 FROM bets b WHERE b.event_id = e.event_id AND b.status = 'PLACED')
        ORDER BY ended_at LIMIT 1
    )), 0)::float AS overdue_s,
    (SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL) AS dead_letters
FROM settlements WHERE finished_at IS NULL;
