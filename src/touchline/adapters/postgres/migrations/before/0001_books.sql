-- The books of V0: odds, bets, wallets and double-entry transfers in one database.

CREATE TABLE platform (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch text NOT NULL
);
INSERT INTO platform (epoch) VALUES (replace(gen_random_uuid()::text, '-', ''));

CREATE TABLE events (
    event_id text PRIMARY KEY,
    name text NOT NULL,
    sport text NOT NULL,
    competition text NOT NULL,
    status text NOT NULL CHECK (status IN ('scheduled', 'live', 'ended')),
    start_time timestamptz,
    score text,
    clock text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_by_status ON events (status, created_at DESC);

-- Current prices. changed_xid is the transaction that wrote the row: a reader that goes on from the oldest
-- transaction still running at his last look misses nothing, whatever the order of commits.
CREATE TABLE odds (
    market_id text PRIMARY KEY,
    event_id text NOT NULL REFERENCES events (event_id),
    name text NOT NULL,
    market_type text NOT NULL,
    selections jsonb NOT NULL,
    odds_version integer NOT NULL DEFAULT 1 CHECK (odds_version >= 1),
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'suspended', 'closed', 'settled', 'void')),
    bet_delay_ms integer NOT NULL DEFAULT 0 CHECK (bet_delay_ms >= 0),
    priced_at timestamptz,
    updated_at timestamptz NOT NULL,
    changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id()
) WITH (fillfactor = 50);
CREATE INDEX odds_by_event ON odds (event_id);
CREATE INDEX odds_by_change ON odds (changed_xid);

CREATE TABLE odds_history (
    market_id text NOT NULL,
    odds_version integer NOT NULL,
    selections jsonb NOT NULL,
    status text NOT NULL,
    occurred_at timestamptz,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (market_id, odds_version)
);

CREATE TABLE feed_messages (
    message_id text PRIMARY KEY,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX feed_messages_by_age ON feed_messages USING brin (recorded_at);

CREATE TABLE players (
    user_id text PRIMARY KEY,
    username text NOT NULL,
    role text NOT NULL CHECK (role IN ('player', 'trader', 'feed')),
    password_hash text NOT NULL,
    currency text NOT NULL,
    login_failures integer NOT NULL DEFAULT 0,
    locked_until timestamptz,
    excluded_until timestamptz,
    limits jsonb NOT NULL DEFAULT '{}',
    velocity_flagged_at timestamptz,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX players_by_username ON players (lower(username));

-- A player has a balance or a debt, never both, and neither below zero: the last line behind the decision.
CREATE TABLE wallets (
    user_id text PRIMARY KEY REFERENCES players (user_id),
    balance_minor bigint NOT NULL CHECK (balance_minor >= 0),
    debt_minor bigint NOT NULL DEFAULT 0 CHECK (debt_minor >= 0),
    currency text NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL,
    CHECK (balance_minor = 0 OR debt_minor = 0)
) WITH (fillfactor = 50);

CREATE TABLE settlements (
    settlement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    market_id text NOT NULL REFERENCES odds (market_id),
    kind text NOT NULL CHECK (kind IN ('settle', 'void', 'rollback_settlement', 'rollback_void')),
    results jsonb NOT NULL,
    undoes bigint REFERENCES settlements (settlement_id),
    undone_by bigint REFERENCES settlements (settlement_id),
    placed_from timestamptz,
    placed_until timestamptz,
    requested_at timestamptz NOT NULL,
    bets_total integer,
    bets_done integer NOT NULL DEFAULT 0,
    finished_at timestamptz
);
CREATE INDEX settlements_by_market ON settlements (market_id, settlement_id DESC);
CREATE INDEX settlements_unfinished ON settlements (settlement_id) WHERE finished_at IS NULL;

CREATE TABLE bets (
    bet_id uuid PRIMARY KEY,
    user_id text NOT NULL REFERENCES players (user_id),
    event_id text NOT NULL,
    market_id text NOT NULL REFERENCES odds (market_id),
    selection_id text NOT NULL,
    odds_milli integer NOT NULL CHECK (odds_milli > 1000),
    odds_version integer NOT NULL CHECK (odds_version >= 1),
    stake_minor bigint NOT NULL CHECK (stake_minor > 0),
    currency text NOT NULL,
    status text NOT NULL DEFAULT 'PLACED' CHECK (status IN ('PLACED', 'WON', 'LOST', 'SETTLED', 'VOID')),
    result text CHECK (result IN ('won', 'lost', 'void')),
    payout_minor bigint CHECK (payout_minor >= 0),
    settlement_id bigint REFERENCES settlements (settlement_id),
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    idempotency_key text,
    requested_odds_milli integer NOT NULL,
    requested_odds_version integer NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX bets_by_key ON bets (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX bets_by_event_status ON bets (event_id, status);
CREATE INDEX bets_by_market_status ON bets (market_id, status);
CREATE INDEX bets_by_user ON bets (user_id, created_at);

-- One row is a debit, a credit and an amount: it can't be unbalanced. user_id names the player on whose account
-- it moves, so that he can list it.
CREATE TABLE transfers (
    transfer_id uuid PRIMARY KEY,
    kind text NOT NULL,
    debit_account text NOT NULL,
    credit_account text NOT NULL CHECK (credit_account <> debit_account),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    bet_id uuid,
    user_id text,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX transfers_by_user ON transfers (user_id, recorded_at) WHERE user_id IS NOT NULL;
CREATE INDEX transfers_by_bet ON transfers (bet_id) WHERE bet_id IS NOT NULL;

CREATE TABLE funds_moves (
    move_id uuid PRIMARY KEY,
    user_id text NOT NULL REFERENCES players (user_id),
    kind text NOT NULL CHECK (kind IN ('deposit', 'withdrawal')),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    balance_minor bigint NOT NULL,
    idempotency_key text NOT NULL,
    recorded_at timestamptz NOT NULL,
    UNIQUE (user_id, idempotency_key)
);

-- What the open bets on a selection would cost the book, kept beside the bets under the market's lock.
CREATE TABLE exposures (
    market_id text NOT NULL REFERENCES odds (market_id),
    selection_id text NOT NULL,
    bets bigint NOT NULL,
    stakes_minor bigint NOT NULL,
    liability_minor bigint NOT NULL,
    PRIMARY KEY (market_id, selection_id)
) WITH (fillfactor = 50);

CREATE TABLE revocations (
    revocation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token_id uuid,
    user_id text,
    issued_until timestamptz,
    spared uuid,
    until timestamptz NOT NULL
);
CREATE INDEX revocations_by_end ON revocations (until);

-- What happened stays as it happened.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE ON transfers
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER odds_history_append_only BEFORE UPDATE OR DELETE ON odds_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Look up all that a bet's decision depends on, in one round trip: the market's row is locked first, then the
-- wallet's, and each later read sees what was committed by then. It looks up and decides nothing.
CREATE FUNCTION lock_position(p_market text, p_user text, p_selection text, p_key text)
RETURNS TABLE (
    market_id text, event_id text, name text, market_type text, market_status text, odds_version integer,
    selections jsonb, bet_delay_ms integer, priced_at timestamptz, updated_at timestamptz,
    user_id text, currency text, balance_minor bigint, debt_minor bigint, locked_until timestamptz,
    excluded_until timestamptz, limits jsonb, exposure_minor bigint, earlier uuid
) LANGUAGE plpgsql AS $$
DECLARE
    o odds;
    w wallets;
    p players;
    exposed bigint;
    before uuid;
BEGIN
    SELECT * INTO o FROM odds WHERE odds.market_id = p_market FOR UPDATE;
    SELECT * INTO w FROM wallets WHERE wallets.user_id = p_user FOR UPDATE;
    SELECT * INTO p FROM players WHERE players.user_id = p_user;
    SELECT e.liability_minor INTO exposed FROM exposures e
        WHERE e.market_id = p_market AND e.selection_id = p_selection;
    IF p_key IS NOT NULL THEN
        SELECT b.bet_id INTO before FROM bets b WHERE b.user_id = p_user AND b.idempotency_key = p_key;
    END IF;
    RETURN QUERY SELECT
        o.market_id, o.event_id, o.name, o.market_type, o.status, o.odds_version, o.selections,
        o.bet_delay_ms, o.priced_at, o.updated_at, w.user_id, w.currency, w.balance_minor, w.debt_minor,
        p.locked_until, p.excluded_until, p.limits, coalesce(exposed, 0), before;
END $$;
