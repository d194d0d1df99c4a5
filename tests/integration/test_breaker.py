"""The breaker before PostgreSQL, and what polls are answered behind it, on servers that are killed and frozen."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest
import pytest_asyncio
from msgspec import UNSET

from tests.clock import HandClock
from tests.samples import EVENT, HOME, MARKET, SECOND
from tests.scene import Stores, postgres_stores, price
from touchline.adapters.memory.known import MemoryKnownOdds
from touchline.adapters.postgres.guarded import GuardedDatabase
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.migrations import migrate
from touchline.adapters.valkey.known import ValkeyKnownOdds
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.ids import MarketId
from touchline.flows import serve_known_odds
from touchline.flows.serve_known_odds import KnownOddsServing, LastKnown
from touchline.ports.ladder import KnownOdds
from touchline.runtime.addresses import free_port
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.process import Child

NEVER_S = 60  # what takes so long never ends


@dataclass
class Mortal:
    """A PostgreSQL of the test's own."""

    server: PostgresServer
    child: Child

    async def die(self) -> None:
        self.child.signal(signal.SIGKILL)
        await self.child.wait()

    async def rise(self) -> None:
        self.child = await self.server.start()

    def freeze(self) -> None:
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        for process in self._all():
            with suppress(psutil.NoSuchProcess):  # a backend whose client has gone ends meanwhile
                process.resume()

    def _all(self) -> list[psutil.Process]:
        if not self.child.running:
            return []
        parent = psutil.Process(self.child.pid)
        return [parent, *parent.children(recursive=True)]


@pytest_asyncio.fixture
async def mortal(servers_dir: Path) -> AsyncIterator[Mortal]:
    server = PostgresServer(servers_dir / "mortal", options={"fsync": "off"})
    mortal = Mortal(server, await server.start())
    await migrate(server.dsn)
    yield mortal
    mortal.thaw()
    await mortal.child.stop()
    await server.forget()


@pytest_asyncio.fixture
async def stores(mortal: Mortal) -> AsyncIterator[Stores]:
    async with postgres_stores(mortal.server.dsn, HandClock()) as made:
        yield made


@asynccontextmanager
async def guarded(mortal: Mortal, wait_s: float = 5) -> AsyncIterator[GuardedDatabase]:
    database = await GuardedDatabase.connect(mortal.server.dsn, pool_size=2, wait_s=wait_s)
    assert isinstance(database, GuardedDatabase)
    try:
        yield database
    finally:
        await database.close()


def pod(database: GuardedDatabase, stores: Stores, shared: KnownOdds) -> KnownOddsServing:
    return KnownOddsServing(PostgresMarkets(database, stores.clock), LastKnown(shared, stores.clock))


async def until(database: GuardedDatabase, *, away: bool) -> None:
    async with asyncio.timeout(NEVER_S):
        while database.is_away is not away:
            await asyncio.sleep(0.01)


async def test_a_server_that_is_killed_opens_the_breaker_and_one_that_is_back_closes_it(mortal: Mortal) -> None:
    async with guarded(mortal) as database:
        assert await database.value("SELECT 1") == 1
        assert not database.is_away
        await mortal.die()
        with pytest.raises(Outage):
            await database.value("SELECT 1")
        await until(database, away=True)
        await mortal.rise()
        await until(database, away=False)  # nobody has asked meanwhile
        assert await database.value("SELECT 2") == 2


async def test_while_it_is_open_one_probe_at_a_time_reaches_the_server_and_nothing_else(mortal: Mortal) -> None:
    async with guarded(mortal) as database:
        await mortal.die()
        with pytest.raises(Outage):
            await database.value("SELECT 1")
        at_once = most_at_once = calls = 0
        third = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal at_once, most_at_once, calls
            at_once, calls = at_once + 1, calls + 1
            most_at_once = max(most_at_once, at_once)
            if calls == 3:
                third.set()
            while await reader.read(1024):
                pass
            at_once -= 1
            writer.close()

        async with await asyncio.start_server(say_nothing, "127.0.0.1", mortal.server.port):
            async with asyncio.timeout(NEVER_S):
                while not third.is_set():
                    for _ in range(100):
                        with pytest.raises(Outage):
                            await database.value("SELECT 1")
                    await asyncio.sleep(0.05)
        assert (most_at_once, calls) == (1, 3)


async def test_a_server_that_is_frozen_opens_the_breaker_once_a_probe_says_so(mortal: Mortal) -> None:
    async with guarded(mortal, wait_s=0.2) as database:
        assert await database.value("SELECT 1") == 1
        mortal.freeze()
        # Two take the connections there may be, the third waits for one: late, and nobody knows yet why.
        asked = [asyncio.create_task(database.value("SELECT 1")) for _ in range(3)]
        await until(database, away=True)
        with pytest.raises(Outage):
            await database.value("SELECT 1")
        mortal.thaw()
        await until(database, away=False)
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert any(isinstance(one, Outage) for one in ended)
        assert await database.value("SELECT 2") == 2


async def test_a_server_that_is_only_busy_does_not_open_it(mortal: Mortal) -> None:
    async with guarded(mortal, wait_s=0.1) as database, database.connection(), database.connection():
        with pytest.raises(Outage):
            await database.value("SELECT 1")
        assert not database.is_away
        assert database._probing is not None
        await database._probing
        assert not database.is_away


async def wait_for_the_lock(database: GuardedDatabase) -> None:
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL lock_timeout = 10")
        await connection.execute("SELECT 1 FROM odds FOR UPDATE")


async def test_what_a_server_refuses_does_not_open_it(mortal: Mortal, stores: Stores) -> None:
    await price(stores)
    async with guarded(mortal) as database, database.transaction() as holder:
        await holder.execute("SELECT 1 FROM odds FOR UPDATE")
        with pytest.raises(Outage):
            await wait_for_the_lock(database)
        assert not database.is_away
        assert database._probing is None


async def test_polls_are_answered_as_last_known_while_it_is_away_and_then_as_they_stand(
    mortal: Mortal, stores: Stores
) -> None:
    assert isinstance(stores.clock, HandClock)
    await price(stores)
    async with guarded(mortal) as database:
        serving = pod(database, stores, MemoryKnownOdds())
        fresh, events = await serving.poll(MARKET), await serving.events(None)
        assert fresh.stale_since is UNSET
        assert events.events[0].markets[0].stale_since is UNSET
        known_at = stores.clock.now()
        stores.clock.move(SECOND)
        await mortal.die()
        for _ in range(2):
            assert await serving.poll(MARKET) == msgspec.structs.replace(fresh, stale_since=known_at)
        stale = (await serving.events(None)).events[0]
        assert stale.event_id == EVENT
        assert [(m.odds_version, m.stale_since) for m in stale.markets] == [(1, known_at)]
        assert serving.known.stale_answers == 3
        for never_asked in (serving.poll(MarketId("other")), serving.events("live")):
            with pytest.raises(Outage):
                await never_asked
        await mortal.rise()
        await until(database, away=False)
        assert await serving.poll(MARKET) == fresh
        assert await serving.events(None) == events
        with pytest.raises(Rejection) as refused:
            await serving.poll(MarketId("other"))
        assert refused.value.code is Code.MARKET_NOT_FOUND


@pytest.mark.parametrize("seen_in", ["poll", "events"])
async def test_no_version_goes_back_between_pods_that_can_tell_each_other(
    mortal: Mortal, stores: Stores, seen_in: str
) -> None:
    async def seen(by: KnownOddsServing) -> int:
        if seen_in == "poll":
            return (await by.poll(MARKET)).odds_version
        return (await by.events(None)).events[0].markets[0].odds_version

    shared = MemoryKnownOdds()
    await price(stores)
    async with guarded(mortal) as first, guarded(mortal) as second:
        one, other = pod(first, stores, shared), pod(second, stores, shared)
        assert (await other.poll(MARKET)).odds_version == 1
        assert (await other.events(None)).events[0].markets[0].odds_version == 1
        for version, odds in ((1, None), (2, 2_200), (3, 2_300)):
            await price(stores, None if odds is None else {HOME: odds})
            assert await seen(one) == version
        await mortal.die()
        assert (await other.poll(MARKET)).odds_version == 3
        assert (await other.events(None)).events[0].markets[0].odds_version == 3
        third = pod(second, stores, shared)  # begun since, and has never reached the authority
        assert (await third.poll(MARKET)).odds_version == 3


async def test_pods_that_can_not_tell_each_other_go_by_what_they_have_answered(
    mortal: Mortal, stores: Stores
) -> None:
    nowhere = ValkeyKnownOdds(f"redis://127.0.0.1:{free_port()}/0", timeout_ms=200)
    await price(stores)
    async with guarded(mortal) as database:
        serving = pod(database, stores, nowhere)
        assert (await serving.poll(MARKET)).stale_since is UNSET
        await mortal.die()
        assert (await serving.poll(MARKET)).odds_version == 1
    await nowhere.close()


async def test_a_pod_knows_so_many_markets_and_no_more(
    mortal: Mortal, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_known_odds, "MARKETS_MAX", 3)
    markets = [MarketId(f"m{number}") for number in range(5)]
    for market_id in markets:
        await price(stores, market_id=market_id)
    async with guarded(mortal) as database:
        serving = pod(database, stores, MemoryKnownOdds())
        for market_id in markets:
            await serving.poll(market_id)
        assert list(serving.known._markets) == markets[2:]
        assert list(serving.known._told) == markets[2:]
