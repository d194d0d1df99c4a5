"""The `FactLog` contract, on memory, PostgreSQL and Kafka."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.logs import Logs, Reader, at_work, fact, facts, kafka_logs, places, postgres_logs, reading
from touchline.adapters.memory.fact_log import MemoryFactLog
from touchline.core.facts import Fact
from touchline.ports.stream import FACTS_AT_ONCE_MAX

SHARDS = range(12)  # so many that on Kafka, too, each of two consumers has some
pytestmark = pytest.mark.timeout(60)  # what never comes is waited for no longer


@pytest.fixture(params=["memory", "postgres", "kafka"])
def place_of_log(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Where the log is: the adapter's name, and the address of a fresh database or of a broker."""
    server = {"postgres": "database_dsn", "kafka": "kafka_address"}.get(request.param)
    return request.param, request.getfixturevalue(server) if server else ""


@pytest_asyncio.fixture
async def logs(place_of_log: tuple[str, str]) -> AsyncIterator[Logs]:
    """An empty log."""
    kind, address = place_of_log
    if kind == "memory":
        log = MemoryFactLog()
        yield Logs(lambda: log, log.publish)
        return
    async with (postgres_logs if kind == "postgres" else kafka_logs)(address) as made:
        yield made


def all_of(reader: Reader, told: list[Fact]) -> bool:
    return {f.fact_id for f in told} <= {f.fact_id for f in reader.read}


async def test_facts_of_a_shard_come_in_order_and_as_they_were_recorded(logs: Logs) -> None:
    told = facts(1, 1, 30) + facts(2, 1, 20)
    await logs.record(told)
    async with reading(logs.open()) as reader:
        await reader.until(lambda: all_of(reader, told))
    assert sorted(reader.read, key=lambda f: (f.shard, f.seq)) == told
    assert places(reader.read, 1) == list(range(1, 31))
    assert places(reader.read, 2) == list(range(1, 21))


async def test_what_is_recorded_while_a_consumer_waits_comes_to_it(logs: Logs) -> None:
    async with reading(logs.open()) as reader:
        waiting = asyncio.create_task(reader.next())
        await asyncio.sleep(0)
        await logs.record(facts(1, 1, 1))
        assert list((await waiting).facts) == facts(1, 1, 1)
        await logs.record(facts(1, 2, 3))
        await reader.until(lambda: len(reader.read) >= 3)
    assert places(reader.read, 1) == [1, 2, 3]


async def test_a_delivery_is_bounded(logs: Logs) -> None:
    for first in range(1, 2_502, 500):
        await logs.record(facts(1, first, first + 499))
    sizes = []
    async with reading(logs.open()) as reader:
        while len(reader.read) < 3_000:
            delivery = await reader.next()
            sizes.append(len(delivery.facts))
            await delivery.done()
    assert max(sizes) <= FACTS_AT_ONCE_MAX
    assert places(reader.read, 1) == list(range(1, 3_001))


async def test_what_was_not_done_comes_again_after_a_crash(logs: Logs) -> None:
    await logs.record(facts(1, 1, 10))
    async with reading(logs.open()) as first:
        await first.until(lambda: len(first.read) == 10)
        await logs.record(facts(1, 11, 20))
        while len(first.read) < 20:
            await first.next()  # and it dies before it is done
    async with reading(logs.open()) as second:
        await second.until(lambda: len(second.read) == 10)
    assert places(second.read, 1) == list(range(11, 21))
    async with reading(logs.open()) as third:
        await logs.record(facts(1, 21, 21))
        await third.until(lambda: bool(third.read))
    assert places(third.read, 1) == [21]


async def test_deliveries_done_in_another_order_leave_nothing_out(logs: Logs) -> None:
    async with reading(logs.open()) as first:
        await logs.record(facts(1, 1, 5))
        early = await first.next()
        while len(first.read) < 5:
            early = await first.next()
        await logs.record(facts(1, 6, 9))
        late = await first.next()
        await late.done()  # and it dies before the earlier one is
    async with reading(logs.open()) as second:
        await second.until(lambda: len(second.read) >= 9)
    assert places(second.read, 1) == list(range(1, 10))
    assert early is not late


async def test_what_a_group_has_not_done_is_counted_whoever_reads(logs: Logs) -> None:
    watching = logs.open()
    assert await watching.unread("group") == 0
    await logs.record(facts(1, 1, 30) + facts(2, 1, 20))
    assert await watching.unread("group") == 50  # though nobody has read for it yet
    async with reading(logs.open()) as reader:
        await reader.until(lambda: len(reader.read) == 50)
        assert await watching.unread("group") == 0
        await logs.record(facts(1, 31, 37))
        while len(reader.read) < 57:
            await reader.next()  # and it dies before it is done
    assert await watching.unread("group") == 7
    assert await watching.unread("another") == 57


async def test_done_is_said_twice_without_harm(logs: Logs) -> None:
    await logs.record(facts(1, 1, 5))
    async with reading(logs.open()) as reader:
        delivery = await reader.next()
        await delivery.done()
        await delivery.done()
        await reader.until(lambda: len(reader.read) == 5)
    assert places(reader.read, 1) == [1, 2, 3, 4, 5]


async def test_each_group_has_every_fact(logs: Logs) -> None:
    told = facts(1, 1, 5)
    await logs.record(told)
    async with reading(logs.open(), "one") as one, reading(logs.open(), "other") as other:
        await one.until(lambda: all_of(one, told))
        await other.until(lambda: all_of(other, told))
    assert one.read == other.read == told


async def test_two_of_a_group_share_the_facts(logs: Logs) -> None:
    ends = dict.fromkeys(SHARDS, 0)
    async with reading(logs.open()) as one, reading(logs.open()) as other, at_work(one, other):
        while not (one.read and other.read):
            for shard in SHARDS:
                ends[shard] += 1
                await logs.record(facts(shard, ends[shard], ends[shard]))
            await asyncio.sleep(0.01)
        for shard in SHARDS:
            await logs.record(facts(shard, ends[shard] + 1, ends[shard] + 50))
        told = {fact(shard, seq).fact_id for shard in SHARDS for seq in range(1, ends[shard] + 51)}
        while {f.fact_id for f in (*one.read, *other.read)} != told:
            await asyncio.sleep(0.01)
    for shard in SHARDS:
        for read in (one.read, other.read):
            assert places(read, shard) == sorted(places(read, shard))


async def test_another_takes_over_from_one_that_dies(logs: Logs) -> None:
    ends = dict.fromkeys(SHARDS, 0)

    async def record_some() -> None:
        for shard in SHARDS:
            ends[shard] += 1
            await logs.record(facts(shard, ends[shard], ends[shard]))

    async with reading(logs.open()) as survivor, at_work(survivor):
        dying = Reader(logs.open())
        joining = asyncio.create_task(dying.next())
        while not joining.done():  # until it has a share
            await record_some()
            await asyncio.sleep(0.01)
        undone = list((await joining).facts)
        await record_some()
        await dying.close()
        await record_some()
        told = [f for shard, end in ends.items() for f in facts(shard, 1, end)]
        while not all_of(survivor, told):
            await asyncio.sleep(0.01)
    assert undone
    assert all_of(survivor, undone)


async def test_a_tail_begins_now_and_goes_to_everyone(logs: Logs) -> None:
    await logs.record(facts(1, 1, 3) + facts(2, 1, 3))
    tails = [logs.open().tail(), logs.open().tail()]
    for tail in tails:
        assert not await anext(tail)
    await logs.record(facts(1, 4, 6) + facts(3, 1, 3))
    for tail in tails:
        seen = list[Fact]()
        while len(seen) < 6:
            new = await anext(tail)
            assert new
            seen += new
        assert [places(seen, shard) for shard in (1, 2, 3)] == [[4, 5, 6], [], [1, 2, 3]]
        await tail.aclose()
