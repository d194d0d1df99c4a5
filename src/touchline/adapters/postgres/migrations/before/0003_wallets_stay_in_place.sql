-- A wallet changes with every bet: with no index on what changes, the change stays in its page and in no index.
-- The index served one statement a deploy, which can read the wallets as they stand.
DROP INDEX wallets_by_activity;
