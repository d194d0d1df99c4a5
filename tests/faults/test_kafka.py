"""Kafka killed, groups rebalanced, relays broken off in mid-stream: each fact has its effect once, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.kafka import KafkaServer, broker_jars, fail_for_good
from tests.logs import SESSION_TIMEOUT_MS, Reader, at_work, fact, facts, opened, places, postgres_logs, reading
from tests.samples import EVENT, bet
from touchline.adapters.kafka.cluster import Cluster
from touchline.adapters.kafka.fact_log import KafkaFactLog
from touchline.adapters.kafka.publisher import KafkaPublisher, key_of
from touchline.core.errors import Outage
from touchline.core.facts import BetAccepted, Fact
from touchline.flows.relay_facts import FactRelay
from touchline.ports.stream import Delivery

pytestmark = pytest.mark.timeout(120)
PLAYERS = range(1, 9)


class Effects:
    """A consumer whose effects are known by fact id, as every consumer's are."""

    def __init__(self) -> None:
        self.by_id: dict[object, Fact] = {}  # in the order of the effects
        self.again = 0

    def work(self, told: Sequence[Fact]) -> None:
        for each in told:
            self.again += each.fact_id in self.by_id
            self.by_id.setdefault(each.fact_id, each)

    def are_all_of(self, last: int) -> bool:
        return len(self.by_id) == len(PLAYERS) * last

    def assert_in_order(self, last: int) -> None:
        for player in PLAYERS:
            assert places(list(self.by_id.values()), player) == list(range(1, last + 1))


class Worker:
    """A consumer that works what it is given, slowly where asked to, and begins anew after an outage."""

    def __init__(self, log: KafkaFactLog, effects: Effects, pause_s: float = 0.0) -> None:
        self._log, self._effects, self._pause_s = log, effects, pause_s
        self.worked = 0

    async def run(self) -> None:
        while True:
            try:
                async with reading(self._log) as reader:
                    while True:
                        await self._work(await reader.next())
            except Outage:
                await asyncio.sleep(0.1)

    async def _work(self, delivery: Delivery) -> None:
        self._effects.work(delivery.facts)
        self.worked += len(delivery.facts)
        await asyncio.sleep(self._pause_s)
        await delivery.done()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def cluster(kafka_address: str) -> Cluster:
    return Cluster(kafka_address, topic=f"facts.{uuid4().hex}", partitions=4)


@pytest_asyncio.fixture
async def publisher(cluster: Cluster) -> AsyncIterator[KafkaPublisher]:
    made = KafkaPublisher(cluster)
    yield made
    await made.close()


def log_of(cluster: Cluster, shards: Sequence[int] | None = None) -> KafkaFactLog:
    return KafkaFactLog(cluster, shards, session_timeout_ms=SESSION_TIMEOUT_MS)


async def test_a_broker_killed_in_mid_stream_loses_nothing(servers_dir: Path) -> None:
    server = KafkaServer(servers_dir / f"kafka-{uuid4().hex}", broker_jars())
    await server.start()
    cluster = Cluster(server.address, partitions=4)
    publisher, effects, last, outages, over = KafkaPublisher(cluster, timeout_s=1.0), Effects(), 0, 0, False
    worker = Worker(log_of(cluster), effects)
    working = asyncio.create_task(worker.run())

    async def keep_publishing() -> None:
        nonlocal last, outages
        while True:
            told = [f for player in PLAYERS for f in facts(player, last + 1, last + 5)]
            try:
                await publisher.publish(told)
            except Outage:
                outages += 1
                continue  # again, at the end too: some of it may be there
            last += 5
            if over:
                return

    publishing = asyncio.create_task(keep_publishing())
    for more in (400, 1_200):
        await until(lambda more=more: worker.worked > more)
        await server.kill()
        seen = outages
        await until(lambda seen=seen: outages > seen)  # somebody has published in vain
        await server.start()
    enough = last + 5
    await until(lambda: last > enough)
    over = True
    await publishing
    await until(lambda: effects.are_all_of(last))
    effects.assert_in_order(last)
    working.cancel()
    await asyncio.wait([working])
    await publisher.close()
    await server.stop()


async def test_a_rebalance_in_mid_stream_loses_nothing(cluster: Cluster, publisher: KafkaPublisher) -> None:
    effects, last = Effects(), 0
    workers = [Worker(log_of(cluster), effects, pause_s=0.01) for _ in range(3)]
    tasks = []

    async def publish(rounds: int) -> None:
        nonlocal last
        for _ in range(rounds):
            last += 1
            await publisher.publish([fact(player, last) for player in PLAYERS])

    for worker, rounds in zip(workers, (20, 20, 40), strict=True):  # one after another joins
        tasks.append(asyncio.create_task(worker.run()))
        await publish(rounds)
    while not all(worker.worked for worker in workers):
        await until(lambda: effects.are_all_of(last))  # by the others: whoever is late may find nothing left
        await publish(1)
    tasks[0].cancel()  # and the first one goes
    await publish(40)
    await until(lambda: effects.are_all_of(last))
    effects.assert_in_order(last)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_what_another_took_over_is_not_committed(cluster: Cluster, publisher: KafkaPublisher) -> None:
    told = [f for player in PLAYERS for f in facts(player, 1, 5)]
    await publisher.publish(told)
    async with reading(log_of(cluster)) as first:
        undone = []
        while len(first.read) < len(told):
            undone.append(await first.next())
        async with reading(log_of(cluster)) as second:
            came = [await second.next()]  # of partitions that the first had
            moved = {f.fact_id for f in came[0].facts}
            for delivery in undone:
                await delivery.done()
    async with reading(log_of(cluster)) as third:
        await third.until(lambda: moved <= {f.fact_id for f in third.read})
        again = {f.fact_id for f in third.read}
    mine = [d for d in undone if not moved & {f.fact_id for f in d.facts}]
    assert any(not again & {f.fact_id for f in delivery.facts} for delivery in mine)  # these were committed


async def test_a_fact_published_again_is_delivered_once(cluster: Cluster, publisher: KafkaPublisher) -> None:
    tail, reader = log_of(cluster).tail(), Reader(log_of(cluster))
    await anext(tail)
    end = 9
    await publisher.publish(facts(1, 1, end))
    for start in (1, end, end + 1):
        await publisher.publish(facts(1, start, end + 3))
    await publisher.publish(facts(1, 2, end + 4))
    seen = list(await anext(tail))
    while seen[-1].seq < end + 4:
        seen += await anext(tail)
    await reader.until(lambda: len(reader.read) >= end + 4)
    assert places(reader.read, 1) == list(range(1, end + 5))
    assert places(seen, 1) == list(range(1, end + 5))
    await tail.aclose()
    await reader.close()


async def test_a_producer_that_failed_for_good_is_replaced(cluster: Cluster, publisher: KafkaPublisher) -> None:
    await publisher.publish(facts(1, 1, 3))
    fail_for_good(publisher)
    with pytest.raises(Outage):
        await publisher.publish(facts(1, 4, 6))
    await publisher.publish(facts(1, 4, 6))
    async with reading(log_of(cluster)) as reader:
        await reader.until(lambda: len(reader.read) == 6)
    assert reader.read == facts(1, 1, 6)
    fail_for_good(publisher)  # and it is closed all the same


async def test_a_log_of_some_shards_passes_over_the_others(cluster: Cluster, publisher: KafkaPublisher) -> None:
    await publisher.publish(facts(1, 1, 50) + facts(2, 1, 50))
    async with reading(log_of(cluster, [2])) as reader:
        await reader.until(lambda: len(reader.read) == 50)
        await publisher.publish(facts(1, 51, 60) + facts(2, 51, 60))
        await reader.until(lambda: len(reader.read) == 60)
    assert reader.read == facts(2, 1, 60)


async def test_a_consumer_that_works_for_long_keeps_its_place(cluster: Cluster, publisher: KafkaPublisher) -> None:
    """It is polled for meanwhile, and reads ahead so far and no further."""
    async with reading(log_of(cluster)) as reader:
        await publisher.publish(facts(1, 1, 1))
        delivery = await reader.next()
        for start in range(2, 8_002, 1_000):
            await publisher.publish(facts(1, start, start + 999))
        await asyncio.sleep(1.5 * SESSION_TIMEOUT_MS / 1_000)
        await delivery.done()
        await reader.until(lambda: len(reader.read) == 8_001)
    assert places(reader.read, 1) == list(range(1, 8_002))


async def test_what_waits_comes_in_few_deliveries(cluster: Cluster, publisher: KafkaPublisher) -> None:
    """However the partitions take turns in it: each delivery is stored by itself."""
    last, deliveries = 50, 0
    async with reading(log_of(cluster)) as reader:
        await publisher.publish([fact(player, 1) for player in PLAYERS])
        working = await reader.next()
        for seq in range(2, last + 1):
            await publisher.publish([fact(player, seq) for player in PLAYERS])
        await working.done()
        while len(reader.read) < len(PLAYERS) * last:
            await (await reader.next()).done()
            deliveries += 1
    for player in PLAYERS:
        assert places(reader.read, player) == list(range(1, last + 1))
    assert deliveries < last  # not one for each time that a partition was published to


async def test_what_waits_is_counted_again_once_a_broker_is_back(servers_dir: Path) -> None:
    server = KafkaServer(servers_dir / f"kafka-{uuid4().hex}", broker_jars())
    await server.start()
    cluster = Cluster(server.address, partitions=4)
    publisher, watching = KafkaPublisher(cluster), log_of(cluster)
    await publisher.publish(facts(1, 1, 7))
    assert await counted(watching) == 7
    await server.kill()
    for _ in range(5):
        with pytest.raises(Outage):
            await watching.unread("group")
    await server.start()
    assert await counted(watching) == 7
    await publisher.close()
    await server.stop()


async def counted(log: KafkaFactLog) -> int:
    """Facts that wait for the group, once a broker tells."""
    while True:
        try:
            return await log.unread("group")
        except Outage:
            await asyncio.sleep(0.1)


async def test_a_consumer_that_had_read_ahead_goes_on_after_a_rebalance(
    cluster: Cluster, publisher: KafkaPublisher
) -> None:
    """While it works it asks for no more, of the partitions that it keeps and of those that go and come back."""
    told = [f for player in PLAYERS for f in facts(player, 1, 1_000)]
    async with reading(log_of(cluster)) as first:
        await publisher.publish(told)
        working = await first.next()
        async with reading(log_of(cluster)) as second:
            await second.next()  # of partitions that the first had
        await working.done()
        await first.until(lambda: {f.fact_id for f in first.read} == {f.fact_id for f in told})


async def test_a_broker_that_is_away_is_an_outage() -> None:
    cluster = Cluster("127.0.0.1:1")
    publisher = KafkaPublisher(cluster, timeout_s=0.5)
    with pytest.raises(Outage):
        await publisher.publish(facts(1, 1, 1))
    await publisher.close()
    for awaited in (log_of(cluster).consume("group"), log_of(cluster).tail()):
        with pytest.raises(Outage):
            await anext(awaited)


async def test_a_relay_broken_off_anywhere_takes_every_fact(
    database_dsn: str, cluster: Cluster, publisher: KafkaPublisher
) -> None:
    class BreaksOff:
        """Publishes, and is cut off before anyone hears of it."""

        async def publish(self, told: Sequence[Fact]) -> None:
            await publisher.publish(told)
            raise Outage("Kafka")

    async with postgres_logs(database_dsn) as logs:
        for start in range(1, 1_201, 300):
            await logs.record([f for shard in (0, 1, 2) for f in facts(shard, start, start + 299)])
        for _ in range(2):
            with pytest.raises(Outage):
                await FactRelay(logs.open(), BreaksOff()).run()
        relays = [asyncio.create_task(FactRelay(logs.open(), publisher).run()) for _ in range(2)]
        async with reading(log_of(cluster)) as reader, at_work(reader):
            await until(lambda: len(reader.read) == 3_600)
            await logs.record(facts(1, 1_201, 1_201))
            await until(lambda: len(reader.read) == 3_601)
        for relay in relays:
            relay.cancel()
        await asyncio.wait(relays)
    assert places(reader.read, 1) == list(range(1, 1_202))
    for shard in (0, 2):
        assert places(reader.read, shard) == list(range(1, 1_201))


def test_facts_of_one_event_have_one_key() -> None:
    assert key_of(BetAccepted(bet=bet())) == EVENT
    assert key_of(opened("ann")) == "ann"
