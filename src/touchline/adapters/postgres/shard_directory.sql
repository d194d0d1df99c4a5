-- name: addresses
-- Where each account shard's writer was last.
SELECT shard, address FROM shards WHERE shard > 0 AND address IS NOT NULL;
