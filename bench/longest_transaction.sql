-- Look, for some milliseconds, how long transactions of connections named like $1 hold what they have written. The
-- look is the server's own: it sees those too that their clients are too busy to end.
CREATE FUNCTION longest_transaction(named text, for_ms int) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    longest interval := '0';
    until timestamptz := clock_timestamp() + for_ms * interval '1 millisecond';
BEGIN
    WHILE clock_timestamp() < until LOOP
        PERFORM pg_stat_clear_snapshot(), pg_sleep(0.002);
        SELECT greatest(longest, max(clock_timestamp() - xact_start)) INTO longest FROM pg_stat_activity
        WHERE application_name LIKE named AND backend_xid IS NOT NULL;
    END LOOP;
    RETURN extract(epoch FROM longest);
END $$
