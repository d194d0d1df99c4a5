-- name: join_group
-- Be counted among a group's consumers until the connection ends.
SELECT pg_advisory_lock_shared(6231010, hashtext($1));

-- name: shards
-- Every shard, how far it is written, and how many consumers a group has.
SELECT shard, next_seq, (
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock' AND objsubid = 2 AND classid = 6231010
        AND objid = (hashtext($1)::bigint & 4294967295)::oid
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS consumers
FROM shards ORDER BY shard;

-- name: hold_shard
-- Be the one of a group's consumers that has a shard, until it lets go or the connection ends; false: another is.
SELECT pg_try_advisory_lock(6231011, hashtext($1 || '/' || $2::smallint));

-- name: let_go
-- Leave a shard to the group's other consumers.
SELECT pg_advisory_unlock(6231011, hashtext($1 || '/' || $2::smallint));

-- name: offset
-- How far a group has come in a shard.
SELECT next_seq FROM consumers WHERE consumer = $1 AND shard = $2;

-- name: done
-- Put on record how far a group has come in a shard.
INSERT INTO consumers (consumer, shard, next_seq) VALUES ($1, $2, $3)
ON CONFLICT (consumer, shard) DO UPDATE SET next_seq = excluded.next_seq
WHERE consumers.next_seq < excluded.next_seq;

-- name: read
-- The next facts of some shards, each from its own place on, at most so many of each.
SELECT f.* FROM unnest($1::smallint[], $2::bigint[]) AS place (shard, seq)
CROSS JOIN LATERAL (
    SELECT * FROM facts WHERE facts.shard = place.shard AND facts.seq >= place.seq ORDER BY facts.seq LIMIT $3
) f
ORDER BY f.shard, f.seq;

-- name: unread
-- How many facts a group has not done yet, of some shards or, with none named, of all.
SELECT coalesce(sum(s.next_seq - coalesce(c.next_seq, 1)), 0)::bigint
FROM shards s LEFT JOIN consumers c ON c.consumer = $1 AND c.shard = s.shard
WHERE $2::smallint[] IS NULL OR s.shard = ANY ($2);
