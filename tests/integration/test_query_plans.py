"""What is asked often is asked of an index, however large the books grow."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.shards import BY_KEY

FILL = """
INSERT INTO players (user_id, username, role, password_hash, currency, created_at)
    SELECT 'p' || n, 'p' || n, 'player', 'x', 'EUR', now() FROM generate_series(1, 5000) n;
INSERT INTO wallets (user_id, balance_minor, currency, updated_at)
    SELECT user_id, 0, 'EUR', now() - interval '1 day' FROM players;
INSERT INTO events (event_id, name, sport, competition, status)
    SELECT 'e' || n, 'e', 's', 'c', 'live' FROM generate_series(1, 500) n;
INSERT INTO odds (market_id, event_id, name, market_type, selections, updated_at)
    SELECT 'm' || n, 'e' || n % 500 + 1, 'm', 't', '[]', now() FROM generate_series(1, 5000) n;
INSERT INTO settlements (market_id, kind, results, requested_at, finished_at)
    SELECT 'm' || n, 'settle', '{}', now(), now() FROM generate_series(1, 5000) n;
INSERT INTO bets (bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version, stake_minor,
        currency, status, settlement_id, created_at, idempotency_key, requested_odds_milli, requested_odds_version)
    SELECT gen_random_uuid(), 'p' || n % 500 + 1, 'e' || n % 500 + 1, 'm' || n % 5000 + 1, 's', 2000, 1, 10, 'EUR',
        CASE WHEN n % 10 = 0 THEN 'PLACED' ELSE 'SETTLED' END, CASE WHEN n % 10 > 0 THEN n % 5000 + 1 END,
        now() - n * interval '1 second', 'k' || n, 2000, 1
    FROM generate_series(1, 40000) n;
INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id, user_id,
        recorded_at)
    SELECT gen_random_uuid(), 'stake', 'wallet:' || user_id, 'stakes', 10, 'EUR', bet_id, user_id, created_at
    FROM bets;
INSERT INTO feed_messages SELECT 'f' || n, now() FROM generate_series(1, 20000) n;
INSERT INTO exposures SELECT market_id, 's', 1, 1, 1 FROM odds;
INSERT INTO odds_history SELECT market_id, 1, selections, status, NULL, now() FROM odds;
INSERT INTO event_ends SELECT event_id, now() - row_number() OVER () * interval '1 hour' FROM events;
INSERT INTO revocations (token_id, until) SELECT gen_random_uuid(), now() FROM generate_series(1, 5000);
INSERT INTO dead_letters (consumer, shard, seq, fact_id, why, failed_at, resolved_at)
    SELECT 'c', 0, n, gen_random_uuid(), 'w', now(), CASE WHEN n % 100 > 0 THEN now() END
    FROM generate_series(1, 5000) n;
ANALYZE;
"""
# A file, a statement of it, and the indexes that answer it.
ASKED = [
    ("markets", "poll", ["odds_pkey"]),
    ("markets", "market", ["odds_pkey"]),
    ("markets", "markets_of", ["odds_by_event"]),
    ("markets", "changed_since", ["odds_by_change"]),
    ("markets", "is_applied", ["feed_messages_pkey"]),
    ("bets", "position", ["odds_pkey", "players_pkey", "bets_by_key"]),
    ("bets", "bet_by_key", ["bets_by_key"]),
    ("bets", "page", ["bets_by_user"]),
    ("bets", "placed_since", ["bets_by_user"]),
    ("bets", "spent", ["transfers_by_user"]),
    ("accounts", "credentials", ["players_by_username"]),
    ("accounts", "profile", ["players_pkey", "wallets_pkey"]),
    ("accounts", "transactions", ["transfers_by_user"]),
    ("accounts", "standing_revocations", ["revocations_by_end"]),
    ("settlements", "next_unfinished", ["settlements_unfinished"]),
    ("settlements", "standing", ["settlements_by_market"]),
    ("settlements", "of_market", ["settlements_by_market"]),
    ("settlements", "open_placed", ["bets_by_market_status"]),
    ("settlements", "count_placed", ["bets_by_market_status"]),
    ("settlements", "open_decided", ["bets_by_market_status"]),
    (
        "activity",
        "settlement",
        ["settlements_unfinished", "event_ends_by_time", "bets_by_event_status", "dead_letters_waiting"],
    ),
]

# Read whole: they have a row a shard, or a consumer of one.
FEW_ROWS = ("shards", "consumers")

ASKED_BY_WRITERS = [
    ("look_up", ["players_pkey", "wallets_pkey", "bets_by_key", "exposures_pkey", "shards_pkey"]),
    ("bets_by_id", ["bets_pkey"]),
    ("moves_by_key", ["funds_moves_user_id_idempotency_key_key"]),
    ("placed_since", ["bets_by_user"]),
    ("flag_fast", ["players_pkey"]),
    ("past_versions", ["odds_history_pkey"]),
    ("record_batch", ["shards_pkey", "wallets_pkey"]),
    ("record_work", ["shards_pkey", "wallets_pkey", "bets_pkey", "settlements_pkey"]),
    ("count_placed", ["bets_by_market_status"]),
    ("open_placed", ["bets_by_market_status"]),
    ("open_decided", ["bets_by_market_status"]),
    ("wallets_of", ["wallets_pkey"]),
]


@pytest_asyncio.fixture
async def connection(database_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A database with enough rows that reading all of them is the slower way."""
    made = await asyncpg.connect(database_dsn)
    await made.execute(FILL)
    await made.execute("SET plan_cache_mode = force_generic_plan")
    yield made
    await made.close()


async def plan_of(connection: asyncpg.Connection, name: str, statement: str) -> str:
    """Return the plan that a pod's prepared statement settles on, whatever its arguments."""
    await connection.execute(f"PREPARE {name} AS {statement}")
    nulls = ", ".join("NULL" for _ in set(re.findall(r"\$\d+", statement)))
    rows = await connection.fetch(f"EXPLAIN EXECUTE {name}" + (f"({nulls})" if nulls else ""))
    return "\n".join(row[0] for row in rows)


async def test_what_is_asked_often_is_asked_of_an_index(connection: asyncpg.Connection) -> None:
    wrong = []
    for file, name, indexes in ASKED:
        plan = await plan_of(connection, f"{file}_{name}", Queries(f"{file}.sql")[name])
        read_whole = set(re.findall(r"Seq Scan on (\w+)", plan)) - set(FEW_ROWS)
        if read_whole or not all(index in plan for index in indexes):
            wrong.append(f"{file} {name}\n{plan}")
    assert wrong == [], "\n\n".join(wrong)


async def test_what_a_shards_writer_asks_is_asked_of_an_index(connection: asyncpg.Connection) -> None:
    for name, value in BY_KEY.items():
        await connection.execute(f"SET {name} = {value}")
    wrong = []
    for name, indexes in ASKED_BY_WRITERS:
        plan = await plan_of(connection, name, Queries("shards.sql")[name])
        if "Seq Scan" in plan or not all(index in plan for index in indexes):
            wrong.append(f"{name}\n{plan}")
    assert wrong == [], "\n\n".join(wrong)


@pytest.mark.parametrize("columns", ["event_id, status", "market_id, status", "user_id, created_at"])
async def test_bets_are_indexed_as_the_design_says(connection: asyncpg.Connection, columns: str) -> None:
    indexes = [
        row[0] for row in await connection.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 'bets'")
    ]
    assert any(index.endswith(f"({columns})") for index in indexes)
