"""The log in PostgreSQL among writers at once, and with its connections cut: no fact is passed over or lost."""

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.logs import INSERT, Logs, at_work, fact, facts, insert, places, postgres_logs, reading
from touchline.core.errors import Fault, Outage
from touchline.core.facts import Fact, kind_of
from touchline.wire.facts_v1 import body_to_wire

pytestmark = pytest.mark.timeout(60)
TAKE = "UPDATE shards SET next_seq = next_seq + 1 WHERE shard = $1 RETURNING next_seq - 1"
WAITERS = "SELECT count(*) FROM pg_locks WHERE NOT granted"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'facts listener'"


@pytest_asyncio.fixture
async def logs(database_dsn: str) -> AsyncIterator[Logs]:
    async with postgres_logs(database_dsn) as made:
        yield made


@pytest_asyncio.fixture
async def admin(database_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_dsn)
    yield connection
    await connection.close()


def row(told: Fact) -> tuple[object, ...]:
    body = body_to_wire(told.body)
    return told.shard, told.seq, told.fact_id, kind_of(told.body).value, told.epoch, told.recorded_at, body


async def test_a_late_commit_is_waited_for(logs: Logs, admin: asyncpg.Connection, database_dsn: str) -> None:
    await logs.record(facts(1, 1, 1))
    late, early = [await asyncpg.connect(database_dsn) for _ in range(2)]
    async with reading(logs.open()) as reader:
        await reader.until(lambda: bool(reader.read))
        transaction = late.transaction()
        await transaction.start()
        seq = await late.fetchval(TAKE, 1)
        await late.execute(INSERT, *row(fact(1, seq)))
        waiting = asyncio.create_task(insert(early, facts(1, seq + 1, seq + 1)))
        while not await admin.fetchval(WAITERS):  # whoever takes the next place waits for the commit of this one
            await asyncio.sleep(0)
        await transaction.commit()
        await waiting
        await reader.until(lambda: len(reader.read) == 3)
    assert places(reader.read, 1) == [1, 2, 3]
    for connection in (late, early):
        await connection.close()


async def test_of_writers_at_once_no_fact_is_passed_over(logs: Logs, database_dsn: str) -> None:
    await logs.record(facts(1, 1, 1) + facts(2, 1, 1))

    async def write(seed: int) -> int:
        """Write 40 times, some of them in vain; returns how many facts stay."""
        chance, connection, written = random.Random(seed), await asyncpg.connect(database_dsn), 0
        for _ in range(40):
            transaction = connection.transaction()
            await transaction.start()
            shard, size = chance.choice((1, 2)), chance.randrange(1, 4)
            for _ in range(size):
                seq = await connection.fetchval(TAKE, shard)
                await connection.execute(INSERT, *row(fact(shard, seq)))
            await connection.execute("SELECT pg_notify('facts', '')")
            if chance.random() < 0.3:
                await transaction.rollback()
            else:
                await transaction.commit()
                written += size
        await connection.close()
        return written

    async with reading(logs.open(), "a") as one, reading(logs.open(), "b") as other, at_work(one, other):
        written = sum(await asyncio.gather(*(write(seed) for seed in range(6))))
        while min(len(one.read), len(other.read)) < written + 2:
            await asyncio.sleep(0)
    for reader in (one, other):
        for shard in (1, 2):
            came = places(reader.read, shard)
            assert came == list(range(1, len(came) + 1))
        assert len(reader.read) == written + 2


async def test_a_hole_stops_the_consumer(logs: Logs, admin: asyncpg.Connection) -> None:
    await logs.record(facts(1, 1, 2))
    await admin.execute(INSERT, *row(fact(1, 4)))
    async with reading(logs.open()) as reader:
        with pytest.raises(Fault, match="shard 1 lacks fact 3"):
            await reader.forever()
    tail = logs.open().tail()
    await anext(tail)
    with pytest.raises(Fault, match="shard 1 lacks fact 3"):
        await anext(tail)


async def test_what_can_not_be_read_stops_the_consumer(logs: Logs, admin: asyncpg.Connection) -> None:
    await logs.record(facts(1, 1, 1))
    shard, seq, *rest, _ = row(fact(1, 2))
    await admin.execute(INSERT, shard, seq, *rest, b"{}")
    await admin.execute(TAKE, 1)
    async with reading(logs.open()) as reader:
        with pytest.raises(Fault, match="AccountOpened"):
            await reader.forever()


async def test_one_whose_connection_is_cut_moves_no_offset(logs: Logs, admin: asyncpg.Connection) -> None:
    await logs.record(facts(1, 1, 5))
    async with reading(logs.open()) as cut:
        delivery = await cut.next()
        assert await admin.fetch(CUT)
        with pytest.raises(Outage):
            await delivery.done()
        with pytest.raises(Outage):
            await cut.next()
    assert await admin.fetchval("SELECT count(*) FROM consumers") == 0
    async with reading(logs.open()) as again:
        await again.until(lambda: len(again.read) == 5)
    assert await admin.fetchval("SELECT next_seq FROM consumers WHERE consumer = 'group' AND shard = 1") == 6


async def test_those_of_a_group_hold_fair_shares(logs: Logs, admin: asyncpg.Connection) -> None:
    for shard in range(5):
        await logs.record(facts(shard, 1, 1))
    held = """
        SELECT array_agg(shards ORDER BY shards) FROM (
            SELECT count(*) FROM pg_locks WHERE classid = 6231011 AND granted GROUP BY pid) AS of_each (shards)
    """
    async with reading(logs.open()) as one, at_work(one):
        while await admin.fetchval(held) != [5]:
            await asyncio.sleep(0)
        async with reading(logs.open()) as other, at_work(other):
            while await admin.fetchval(held) != [2, 3]:
                await asyncio.sleep(0)
        while await admin.fetchval(held) != [5]:
            await asyncio.sleep(0)
