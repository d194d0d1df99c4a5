-- name: activity
-- What the clients of this database do at this moment, but for the one that asks; transactions are since ever.
SELECT
    count(*) AS connections,
    count(*) FILTER (WHERE activity.state = 'active') AS active,
    count(*) FILTER (WHERE activity.state <> 'active') AS idle,
    count(*) FILTER (WHERE activity.state LIKE 'idle in transaction%') AS idle_in_transaction,
    count(*) FILTER (WHERE activity.wait_event_type = 'Lock') AS waiting_on_locks,
    (SELECT stat.xact_commit + stat.xact_rollback FROM pg_stat_database AS stat
     WHERE stat.datname = current_database()) AS transactions
FROM pg_stat_activity AS activity
WHERE activity.datname = current_database()
    AND activity.backend_type = 'client backend'
    AND activity.pid <> pg_backend_pid();

-- name: version
-- The server's own version.
SHOW server_version;
