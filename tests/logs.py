"""Logs of facts on memory, PostgreSQL and Kafka, and the steps that the tests of them share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4, uuid5

import asyncpg

from tests.clock import NOON
from touchline.adapters.kafka.cluster import Cluster
from touchline.adapters.kafka.fact_log import KafkaFactLog
from touchline.adapters.kafka.publisher import KafkaPublisher
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.fact_log import PostgresFactLog
from touchline.core.facts import AccountOpened, Body, Fact, kind_of
from touchline.core.ids import PlayerId
from touchline.ports.stream import Delivery, FactLog
from touchline.wire.facts_v1 import body_to_wire

SESSION_TIMEOUT_MS = 2_000
CAUSES = UUID("00000000-0000-4000-8000-000000000000")


@dataclass(frozen=True, slots=True)
class Logs:
    """One log: `open` returns a consumer's door to it, `record` puts facts in it, in order."""

    open: Callable[[], FactLog]
    record: Callable[[Sequence[Fact]], Awaitable[None]]


def opened(name: str) -> AccountOpened:
    return AccountOpened(player_id=PlayerId(name), currency="EUR", opened_at=NOON)


def fact(shard: int, seq: int, body: Body | None = None) -> Fact:
    """A fact of a shard; those of one shard are of one player, unless `body` says otherwise."""
    body = body or opened(f"player-{shard}")
    fact_id = uuid5(CAUSES, f"{shard}/{seq}")
    return Fact(shard=shard, seq=seq, epoch=1, fact_id=fact_id, recorded_at=NOON, body=body)


def facts(shard: int, first: int, last: int) -> list[Fact]:
    """The facts of a shard from one place up to another, both included."""
    return [fact(shard, seq) for seq in range(first, last + 1)]


INSERT = """
INSERT INTO facts (shard, seq, fact_id, kind, player_id, event_id, bet_id, epoch, recorded_at, body)
VALUES ($1, $2, $3, $4, NULL, NULL, NULL, $5, $6, $7)
"""


async def insert(connection: asyncpg.Connection, told: Sequence[Fact]) -> None:
    """Record facts of one shard as its writer does: places are taken under the lock of the shard's row."""
    async with connection.transaction():
        await connection.execute("INSERT INTO shards (shard) VALUES ($1) ON CONFLICT DO NOTHING", told[0].shard)
        taken = "UPDATE shards SET next_seq = next_seq + $2 WHERE shard = $1 RETURNING next_seq"
        end = await connection.fetchval(taken, told[0].shard, len(told))
        assert end == told[-1].seq + 1
        rows = [
            (f.shard, f.seq, f.fact_id, kind_of(f.body).value, f.epoch, f.recorded_at, body_to_wire(f.body))
            for f in told
        ]
        await connection.executemany(INSERT, rows)
        await connection.execute("SELECT pg_notify('facts', '')")


@asynccontextmanager
async def postgres_logs(dsn: str) -> AsyncIterator[Logs]:
    """A log in the migrated database at `dsn`."""
    database = await Database.connect(dsn)
    connection = await asyncpg.connect(dsn)

    async def record(told: Sequence[Fact]) -> None:
        for shard in sorted({f.shard for f in told}):
            await insert(connection, [f for f in told if f.shard == shard])

    try:
        yield Logs(lambda: PostgresFactLog(database), record)
    finally:
        await connection.close()
        await database.close()


@asynccontextmanager
async def kafka_logs(address: str) -> AsyncIterator[Logs]:
    """A log in a topic of its own on the broker at `address`."""
    cluster = Cluster(address, topic=f"facts.{uuid4().hex}", partitions=4)
    publisher = KafkaPublisher(cluster)
    try:
        yield Logs(lambda: KafkaFactLog(cluster, session_timeout_ms=SESSION_TIMEOUT_MS), publisher.publish)
    finally:
        await publisher.close()


class Reader:
    """One consumer of a group, asked for its deliveries one by one."""

    def __init__(self, log: FactLog, group: str = "group") -> None:
        self._deliveries: Any = log.consume(group)
        self.read: list[Fact] = []  # whatever was delivered

    async def next(self) -> Delivery:
        """Return the next delivery."""
        delivery: Delivery = await anext(self._deliveries)
        self.read += delivery.facts
        return delivery

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Take deliveries, and have each done, until `wanted` holds."""
        while not wanted():
            await (await self.next()).done()

    async def forever(self) -> None:
        """Take deliveries, and have each done."""
        await self.until(lambda: False)

    async def close(self) -> None:
        """Go away: what is not done was not done."""
        await self._deliveries.aclose()


@asynccontextmanager
async def reading(log: FactLog, group: str = "group") -> AsyncIterator[Reader]:
    """A consumer for a while."""
    reader = Reader(log, group)
    try:
        yield reader
    finally:
        await reader.close()


@asynccontextmanager
async def at_work(*readers: Reader) -> AsyncIterator[None]:
    """Readers that each take what they are given and have it done, for a while."""
    tasks = [asyncio.create_task(reader.forever()) for reader in readers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def places(read: Sequence[Fact], shard: int) -> list[int]:
    """Where in a shard the facts read are, as they came."""
    return [f.seq for f in read if f.shard == shard]

