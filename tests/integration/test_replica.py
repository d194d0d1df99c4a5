"""Polls on a streaming replica, on real servers: what it shows, how far it is behind, and when it is not read."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.clock import HandClock
from tests.samples import HOME, MARKET
from tests.scene import Stores, postgres_stores, price
from touchline.adapters.postgres import replica as replica_module
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.migrations import migrate
from touchline.adapters.postgres.replica import ReplicaMarkets, ReplicaWatch
from touchline.core.ids import MarketId
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.process import Child
from touchline.runtime.replica import PRIMARY_OPTIONS, ReplicaServer

NEVER_S = 60
OPTIONS = {"fsync": "off", **PRIMARY_OPTIONS}


@dataclass
class Pair:
    """A primary and its replica."""

    primary: PostgresServer
    replica: ReplicaServer
    primary_child: Child
    replica_child: Child

    async def tell_replica(self, statement: str) -> None:
        connection = await asyncpg.connect(self.replica.dsn)
        await connection.execute(statement)
        await connection.close()

    async def kill_replica(self) -> None:
        self.replica_child.signal(signal.SIGKILL)
        await self.replica_child.wait()

    async def kill_primary(self) -> None:
        self.primary_child.signal(signal.SIGKILL)
        await self.primary_child.wait()


@pytest_asyncio.fixture
async def pair(servers_dir: Path) -> AsyncIterator[Pair]:
    primary = PostgresServer(servers_dir / "replicated", options=OPTIONS)
    primary_child = await primary.start()
    await migrate(primary.dsn)
    replica = ReplicaServer(servers_dir / "replicated", primary, OPTIONS)
    pair = Pair(primary, replica, primary_child, await replica.start())
    yield pair
    await pair.replica_child.stop()
    await pair.primary_child.stop()
    await replica.forget()
    await primary.forget()


@pytest_asyncio.fixture
async def stores(pair: Pair) -> AsyncIterator[Stores]:
    """Stores of the primary, with a market at version 1."""
    async with postgres_stores(pair.primary.dsn, HandClock()) as made:
        await price(made)
        yield made


@asynccontextmanager
async def pod(pair: Pair, stores: Stores) -> AsyncIterator[tuple[ReplicaMarkets, ReplicaWatch]]:
    """Yield a pod's market store, its replica being watched."""
    primary = await Database.connect(pair.primary.dsn, pool_size=2)
    replica = await Database.connect(pair.replica.dsn, pool_size=2)
    watch = ReplicaWatch(primary, replica)
    following = asyncio.create_task(watch.follow())
    try:
        yield ReplicaMarkets(primary, stores.clock, watch), watch
    finally:
        following.cancel()
        await asyncio.wait({following})
        assert following.cancelled()
        await replica.close()
        await primary.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(NEVER_S):
        while not holds():
            await asyncio.sleep(0.01)


async def until_read(markets: ReplicaMarkets, watch: ReplicaWatch) -> None:
    """Poll until the replica is read."""
    watch.ask()
    await until(lambda: watch.is_usable)
    before = markets.polls
    await version(markets)
    assert markets.polls == before + 1


async def version(markets: ReplicaMarkets) -> int:
    market = await markets.poll(MARKET)
    assert market is not None
    return market.odds_version


async def test_polls_read_the_replica_once_it_is_seen_to_follow(pair: Pair, stores: Stores) -> None:
    async with pod(pair, stores) as (markets, watch):
        assert await version(markets) == 1
        assert (markets.polls, watch.is_usable) == (0, False)
        await until_read(markets, watch)
        assert watch.lag_s > 0
        async with asyncio.timeout(NEVER_S):
            await price(stores, {HOME: 2_200})
            while await version(markets) < 2:
                await asyncio.sleep(0.01)
        assert await markets.poll(MarketId("no such")) is None


async def test_what_a_replica_has_not_replayed_is_not_shown_and_how_long_that_takes_is_measured(
    pair: Pair, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "LOOK_EVERY_S", 0.01)
    async with pod(pair, stores) as (markets, watch):
        await until_read(markets, watch)
        await pair.tell_replica("SELECT pg_wal_replay_pause()")
        await price(stores, {HOME: 2_200})
        await until(lambda: watch.lag_s > 0.5)
        assert watch.is_usable
        assert await version(markets) == 1  # this is what it costs
        monkeypatch.setattr(replica_module, "LAG_MAX_S", 0.6)
        await until(lambda: not watch.is_usable)
        assert await version(markets) == 2
        await pair.tell_replica("SELECT pg_wal_replay_resume()")
        await until(lambda: watch.is_usable)
        assert watch.lag_s > 0.6
        await until(lambda: watch.lag_s < 0.5)
        assert await version(markets) == 2


async def test_no_version_goes_back_to_what_a_replica_still_shows(pair: Pair, stores: Stores) -> None:
    async with pod(pair, stores) as (markets, watch):
        assert await version(markets) == 1
        await until(lambda: watch.is_usable)
        await pair.tell_replica("SELECT pg_wal_replay_pause()")
        await price(stores, {HOME: 2_200})
        watch.lose()
        assert await version(markets) == 2
        watch.is_usable = True  # as it might be, were it taken back too early
        assert await version(markets) == 2
        assert markets.polls == 0
        await pair.tell_replica("SELECT pg_wal_replay_resume()")


async def test_a_replica_that_was_lost_is_read_again_only_once_it_shows_what_is_written_by_then(
    pair: Pair, stores: Stores
) -> None:
    async with pod(pair, stores) as (markets, watch):
        await until_read(markets, watch)
        await pair.kill_replica()
        await price(stores, {HOME: 2_200})
        assert await version(markets) == 2
        await price(stores, {HOME: 2_300})
        assert await version(markets) == 3
        assert not watch.is_usable
        pair.replica_child = await pair.replica.start()
        await until_read(markets, watch)
        assert await version(markets) == 3


async def test_a_replica_that_does_not_answer_is_passed_by(pair: Pair, stores: Stores) -> None:
    async with pod(pair, stores) as (markets, watch):
        await until_read(markets, watch)
        async with watch.replica.connection(), watch.replica.connection():  # none is left
            assert await version(markets) == 1
            assert not watch.is_usable
        await until_read(markets, watch)


async def test_without_its_primary_a_replica_goes_on_answering(pair: Pair, stores: Stores) -> None:
    async with pod(pair, stores) as (markets, watch):
        await until_read(markets, watch)
        await pair.kill_primary()
        before = markets.polls
        for _ in range(3):
            assert await version(markets) == 1
        assert markets.polls == before + 3
        pair.primary_child = await pair.primary.start()


async def test_a_replica_takes_no_writes_and_is_copied_anew_when_it_starts(pair: Pair, stores: Stores) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await pair.tell_replica("DELETE FROM odds")
    leftover = pair.replica.cluster / "leftover"
    leftover.touch()
    await pair.kill_replica()
    pair.replica_child = await pair.replica.start()
    assert not leftover.exists()
    connection = await asyncpg.connect(pair.replica.dsn)
    assert await connection.fetchval("SELECT odds_version FROM odds") == 1
    await connection.close()
