-- name: written
-- How far the primary has written.
SELECT pg_current_wal_lsn()::text;

-- name: replayed
-- Whether a replica shows what the primary had written by then.
SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn;
