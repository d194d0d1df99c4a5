-- When events ended, so that bets still open long after can be told. Events that had ended before are not known.
CREATE TABLE event_ends (
    event_id text PRIMARY KEY REFERENCES events (event_id),
    ended_at timestamptz NOT NULL
);
CREATE INDEX event_ends_by_time ON event_ends (ended_at);
