-- name: has_facts
-- Whether anything is on record as facts.
SELECT EXISTS (SELECT 1 FROM facts);

-- name: addresses
-- Where each account shard's writer was last.
SELECT shard, address FROM shards WHERE shard > 0 AND address IS NOT NULL;
