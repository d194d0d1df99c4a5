-- The event-sourced ledger of `stream`: facts by shard, each shard with one writer at a time.

-- Shard 0 holds decisions on markets; 1 and up the accounts, split by a stable hash. A writer that takes a shard
-- raises its epoch, and whatever it writes names that epoch: one that was replaced and does not know it writes nothing.
CREATE TABLE shards (
    shard smallint PRIMARY KEY CHECK (shard >= 0),
    epoch bigint NOT NULL DEFAULT 0,
    next_seq bigint NOT NULL DEFAULT 1 CHECK (next_seq >= 1),
    address text
) WITH (fillfactor = 20);

-- What happened, gap-free by shard. fact_id names its cause, for consumers to know a fact by; what keeps a cause
-- from being recorded twice is the lifecycle of bets and the keys of requests, so it needs no index of its own.
CREATE TABLE facts (
    shard smallint NOT NULL,
    seq bigint NOT NULL,
    fact_id uuid NOT NULL,
    kind text NOT NULL,
    player_id text,
    event_id text,
    bet_id uuid,
    epoch bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (shard, seq)
);
CREATE TRIGGER facts_append_only BEFORE UPDATE OR DELETE ON facts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- How far each group of consumers has come in each shard: everything before next_seq is done.
CREATE TABLE consumers (
    consumer text NOT NULL,
    shard smallint NOT NULL,
    next_seq bigint NOT NULL,
    PRIMARY KEY (consumer, shard)
) WITH (fillfactor = 20);

-- Facts that a consumer could not work, kept for a person to look at and to be tried again.
CREATE TABLE dead_letters (
    letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer text NOT NULL,
    shard smallint NOT NULL,
    seq bigint NOT NULL,
    fact_id uuid NOT NULL,
    why text NOT NULL,
    failed_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    resolved_at timestamptz,
    UNIQUE (consumer, fact_id)
);
CREATE INDEX dead_letters_waiting ON dead_letters (shard, seq) WHERE resolved_at IS NULL;

-- A shard's state as the facts before next_seq leave it, so that a rebuild begins there.
CREATE TABLE snapshots (
    shard smallint NOT NULL,
    next_seq bigint NOT NULL,
    taken_at timestamptz NOT NULL,
    state bytea NOT NULL,
    PRIMARY KEY (shard, next_seq)
);

-- Where the authority on odds is not this database: the instant, by the authority's clock, from which a version was
-- in force. Null where it is, and the commit's instant says so.
ALTER TABLE odds_history ADD COLUMN in_force_from timestamptz;
