-- name: lock
-- One migrator at a time; the lock ends with the connection.
SELECT pg_advisory_lock(6231001);

-- name: prepare
-- Where applied steps are on record.
CREATE TABLE IF NOT EXISTS schema_migrations (
    name text PRIMARY KEY,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: applied
-- The steps on record.
SELECT name, digest FROM schema_migrations;

-- name: record
-- Put a step on record.
INSERT INTO schema_migrations (name, digest) VALUES ($1, $2);
