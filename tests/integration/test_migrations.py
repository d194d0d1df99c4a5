"""Schema changes: applied once, whole, in order, and without a lock that pods would wait for."""

import asyncio
import hashlib
import re
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.scene import bet_on, open_player, place, postgres_stores, price
from touchline.adapters.postgres.migrations import LOCK_TIMEOUT_MS, migrate, steps
from touchline.core.errors import Fault, Outage
from touchline.ports import Placed
from touchline.runtime.postgres import PostgresServer

ALL = [*steps("before"), *steps("after")]
# What a schema is made of, as text that does not depend on when or in what order it was made.
SCHEMA = """
SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' ||
    coalesce(column_default, '') AS part FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'storage ' || relname || ' ' || coalesce(reloptions::text, '') FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
ORDER BY 1
"""


@pytest_asyncio.fixture
async def empty_dsn(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The address of a database without a schema."""
    name = f"empty_{uuid.uuid4().hex}"
    await run(postgres_server.dsn, f"CREATE DATABASE {name}")
    yield postgres_server.dsn_of(name)
    await run(postgres_server.dsn, f"DROP DATABASE {name} WITH (FORCE)")


async def run(dsn: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


async def schema_of(dsn: str) -> list[str]:
    return [row["part"] for row in await run(dsn, SCHEMA)]


async def test_a_schema_migrated_step_by_step_equals_a_fresh_one(empty_dsn: str, database_dsn: str) -> None:
    for _, sql in ALL:
        connection = await asyncpg.connect(empty_dsn)
        await connection.execute(sql)
        await connection.close()
    by_hand, migrated = await schema_of(empty_dsn), await schema_of(database_dsn)
    ours = [part for part in migrated if "schema_migrations" not in part]
    assert ours == by_hand
    assert len(ours) > 100


async def test_a_schema_migrated_in_two_phases_equals_one_migrated_at_once(
    empty_dsn: str, database_dsn: str
) -> None:
    applied = await migrate(empty_dsn, ("before",)) + await migrate(empty_dsn, ("after",))
    assert applied == [name for name, _ in ALL]
    assert await schema_of(empty_dsn) == await schema_of(database_dsn)


async def test_migrating_again_applies_nothing(empty_dsn: str) -> None:
    assert await migrate(empty_dsn) == [name for name, _ in ALL]
    before = await schema_of(empty_dsn)
    assert await migrate(empty_dsn) == []
    assert await schema_of(empty_dsn) == before


async def test_of_pods_that_migrate_at_once_one_does(empty_dsn: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_dsn) for _ in range(4)))
    assert sorted(applied, key=len) == [[], [], [], [name for name, _ in ALL]]


async def test_a_step_that_was_edited_is_a_fault(database_dsn: str) -> None:
    await run(database_dsn, f"UPDATE schema_migrations SET digest = '{hashlib.sha256(b'').hexdigest()}'")
    with pytest.raises(Fault, match="edited"):
        await migrate(database_dsn)


async def test_a_step_that_can_not_have_its_lock_gives_up_and_is_tried_again(database_dsn: str) -> None:
    blocker = await asyncpg.connect(database_dsn)
    held = blocker.transaction()
    await held.start()
    await blocker.execute("LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(Outage):
        await migrate(database_dsn)
    await held.rollback()
    await blocker.close()
    assert await migrate(database_dsn) == []
    assert LOCK_TIMEOUT_MS <= 2_000


async def test_migrating_while_bets_are_placed_stops_none(database_dsn: str) -> None:
    """A deploy's migration runs beside the old pods: each bet is taken, under a migrator that asks at once."""
    async with postgres_stores(database_dsn) as stores:
        ann, market = await open_player(stores), await price(stores)
        bets = [place(stores, bet_on(stores, market, ann, stake=10)) for _ in range(50)]
        answers = await asyncio.gather(*bets, *(migrate(database_dsn) for _ in range(3)))
        assert all(isinstance(answer, Placed) for answer in answers[:50])
        assert answers[50:] == [[], [], []]


# What rewrites or scans a table under a lock that stops its writers.
LONG_LOCKS = re.compile(
    r"\b(ALTER TABLE (?!.*\bNOT VALID\b).*\b(ADD CONSTRAINT|SET NOT NULL|TYPE)\b|CLUSTER|VACUUM FULL|LOCK TABLE"
    r"|ADD COLUMN.*\bDEFAULT (?!\d|'|true|false|NULL))",
    re.IGNORECASE,
)


def made_in(sql: str) -> set[str]:
    return set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", sql))


@pytest.mark.parametrize(("name", "sql"), ALL)
def test_no_step_holds_a_table_of_ours_for_long(name: str, sql: str) -> None:
    """An index or a constraint on a table with rows is made without stopping its writers, or not at all."""
    new = made_in(sql)
    statements = [" ".join(re.sub(r"--.*", "", part).split()) for part in sql.split(";")]
    for statement in statements:
        index = re.match(r"CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?.*? ON (\w+)", statement)
        if index:
            assert index[1] or index[2] in new, f"{name}: {statement}"
        if not any(f" {table} " in f"{statement} " for table in new):
            assert not LONG_LOCKS.search(statement), f"{name}: {statement}"


def test_steps_are_numbered_in_order_without_gaps() -> None:
    numbers = [int(name.removeprefix("before/")[:4]) for name, _ in steps("before")]
    assert numbers == list(range(1, len(numbers) + 1))
