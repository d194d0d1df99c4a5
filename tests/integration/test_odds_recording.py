"""The books behind the authority on odds: all that it answered gets on record, once, whoever dies meanwhile."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.samples import EVENT, HOME
from tests.scene import HOME_WINS, PRICES, Stores, postgres_stores, price
from tests.stream_scene import recording, stream_markets
from touchline.adapters.valkey.history import ValkeyHistory
from touchline.core.errors import Outage
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId
from touchline.core.market import Market, MarketStep
from touchline.flows.record_odds import OddsRecording
from touchline.ports.history import HistoryEntry
from touchline.runtime.valkey import ValkeyServer

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
MARKETS = [MarketId(f"m{n}") for n in range(4)]
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
LATEST = "SELECT odds_version FROM odds WHERE market_id = $1"
VERSIONS = "SELECT odds_version, in_force_from FROM odds_history WHERE market_id = $1 ORDER BY odds_version"


@dataclass(frozen=True, slots=True)
class Scene:
    """An authority, books, and the recorder between them."""

    stores: Stores
    books: Stores
    recorder: OddsRecording
    dsn: str

    async def record_all(self) -> int:
        """Record until nothing waits; returns how many entries were new."""
        assert isinstance(self.recorder.history, ValkeyHistory)
        new = 0
        while await self.recorder.history.length():
            new += await self.recorder.record_next()
        return new

    async def fetch(self, statement: str, *args: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(statement, *args))
        finally:
            await connection.close()

    async def holds_all(self) -> None:
        """What the books say of each market and event is what the authority says."""
        for status in (None, "live", "ended"):
            assert await self.books.markets.events(status) == await self.stores.markets.events(status)


@asynccontextmanager
async def scene_of(valkey_url: str, dsn: str) -> AsyncIterator[Scene]:
    async with (
        stream_markets(valkey_url) as stores,
        postgres_stores(dsn) as books,
        recording(dsn, valkey_url) as recorder,
    ):
        yield Scene(stores, books, recorder, dsn)


@pytest_asyncio.fixture
async def scene(valkey_url: str, database_dsn: str) -> AsyncIterator[Scene]:
    """An authority and books, both empty."""
    async with scene_of(valkey_url, database_dsn) as made:
        yield made


async def test_what_changed_is_on_record_as_it_was(scene: Scene) -> None:
    stores = scene.stores
    for odds in (2_000, 2_100):
        for n, name in enumerate(MARKETS):
            await price(stores, {**PRICES, HOME: odds}, market_id=name, event_id=EventId(f"e{n % 2}"))
    await stores.trading.step(MARKETS[1], MarketStep.SUSPEND)
    await stores.trading.settle(MARKETS[2], HOME_WINS)
    await stores.markets.change_market(MARKETS[0], None, lambda old: replace(old, name="New") if old else None)
    event = Event(EventId("e1"), "One", "football", "cup", EventStatus.ENDED, stores.clock.now(), "1-0", None)
    await stores.markets.change_event(event.event_id, lambda _: event)
    assert await scene.record_all() == 2 + 8 + 1 + 1 + 1 + 1
    await scene.holds_all()
    for name in MARKETS:
        assert await scene.books.history(name) == sorted(
            {(1, "active"), (2, "active")} | await standing(stores, name)
        )
        instants = [row["in_force_from"] for row in await scene.fetch(VERSIONS, name)]
        assert instants == sorted(instants)
    assert [row[0] for row in await scene.fetch("SELECT event_id FROM event_ends")] == ["e1"]
    await stores.markets.change_event(event.event_id, lambda _: replace(event, status=EventStatus.LIVE))
    await scene.record_all()
    assert await scene.fetch("SELECT event_id FROM event_ends") == []


async def standing(stores: Stores, name: MarketId) -> set[tuple[int, str]]:
    market = await stores.markets.get(name)
    assert market is not None
    return {(market.odds_version, market.status.value)}


async def test_entries_that_come_again_change_nothing(scene: Scene) -> None:
    for odds in range(2_000, 2_010):
        await price(scene.stores, {HOME: odds}, market_id=MARKETS[0])
    entries = list(await scene.recorder.history.waiting(100))
    assert len(entries) == 11
    books = scene.recorder.books
    assert await books.record(entries[:6]) == 6
    assert await books.record(entries[:3]) == 0
    assert await books.record(entries[2:8]) == 2
    assert await books.record(entries) == 3
    before = await scene.fetch("SELECT * FROM odds")
    assert await books.record(entries) == 0
    assert await scene.fetch("SELECT * FROM odds") == before
    await scene.holds_all()
    assert [row["odds_version"] for row in await scene.fetch(VERSIONS, MARKETS[0])] == list(range(1, 11))


async def test_recorders_at_once_record_each_entry_once(scene: Scene, valkey_url: str) -> None:
    for odds in range(2_000, 2_100):
        await price(scene.stores, {HOME: odds}, market_id=MARKETS[odds % 4])
    async with recording(scene.dsn, valkey_url) as other:
        entries = list(await other.history.waiting(1_000))
        chunks = [entries[first : first + 9] for first in range(0, len(entries), 9)]

        async def work(recorder: OddsRecording) -> int:
            return sum([await recorder.books.record(chunk) for chunk in chunks])

        assert sum(await asyncio.gather(work(other), work(scene.recorder))) == len(entries)
    await scene.holds_all()


async def test_a_newer_version_in_the_books_stays(scene: Scene) -> None:
    market = await price(scene.stores, market_id=MARKETS[0])
    await scene.record_all()
    newer = replace(market, odds_version=9, name="newer")
    await scene.books.markets.change_market(MARKETS[0], EVENT, lambda _: newer)
    await price(scene.stores, {HOME: 1_500}, market_id=MARKETS[0])
    await scene.record_all()
    assert await scene.books.markets.get(MARKETS[0]) == newer


@asynccontextmanager
async def recorder_process(dsn: str, valkey_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.odds_recorder",
        dsn,
        valkey_url,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def feed(stores: Stores, stop: asyncio.Event) -> dict[MarketId, int]:
    """Price markets until told to stop, whatever is away; returns the versions that were answered."""
    answered: dict[MarketId, int] = {}
    odds = 2_000
    while not stop.is_set():
        odds += 1
        for name in MARKETS:
            try:
                answered[name] = (await price(stores, {HOME: odds}, market_id=name)).odds_version
            except Outage:
                await asyncio.sleep(0.05)  # as the feed's own worker waits
    return answered


async def recorded_beyond(scene: Scene, version: int) -> None:
    """Wait until the first market's record has passed a version."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            rows = await scene.fetch(LATEST, MARKETS[0])
            if rows and rows[0][0] > version:
                return
            await asyncio.sleep(0)


async def all_is_recorded(scene: Scene, answered: dict[MarketId, int]) -> None:
    await scene.record_all()
    await scene.holds_all()
    for name, version in answered.items():
        rows = await scene.fetch(VERSIONS, name)
        assert [row["odds_version"] for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) >= version


async def test_a_recorder_killed_anywhere_loses_and_repeats_nothing(scene: Scene, valkey_url: str) -> None:
    stop, chance = asyncio.Event(), random.Random(5)
    feeding = asyncio.create_task(feed(scene.stores, stop))
    for _ in range(4):
        rows = await scene.fetch(LATEST, MARKETS[0])
        async with recorder_process(scene.dsn, valkey_url) as child:
            await recorded_beyond(scene, (rows[0][0] if rows else 0) + chance.randrange(3))
            child.kill()
    stop.set()
    await all_is_recorded(scene, await feeding)


async def test_books_whose_connections_are_cut_lose_nothing(scene: Scene, valkey_url: str) -> None:
    stop = asyncio.Event()
    feeding = asyncio.create_task(feed(scene.stores, stop))
    async with recorder_process(scene.dsn, valkey_url) as child:
        for version in (5, 40, 80):
            await recorded_beyond(scene, version)
            await scene.fetch(CUT)
        assert child.returncode is None
    stop.set()
    await all_is_recorded(scene, await feeding)


async def test_an_authority_killed_under_its_recorder_loses_nothing(servers_dir: Path, database_dsn: str) -> None:
    server = ValkeyServer.authority(servers_dir / "authority-recorded")
    child = await server.start()
    async with scene_of(server.url, database_dsn) as scene:
        stop = asyncio.Event()
        feeding = asyncio.create_task(feed(scene.stores, stop))
        async with recorder_process(scene.dsn, server.url):
            for version in (5, 60):
                await recorded_beyond(scene, version)
                child.signal(signal.SIGKILL)
                await child.wait()
                child = await server.start()
            await recorded_beyond(scene, 120)
        stop.set()
        await all_is_recorded(scene, await feeding)
    await child.stop()


async def test_changes_wait_while_the_books_are_away(scene: Scene) -> None:
    class Away:
        async def record(self, entries: list[HistoryEntry]) -> int:
            raise Outage("PostgreSQL")

    await price(scene.stores, market_id=MARKETS[0])
    away = replace(scene.recorder, books=Away())  # type: ignore[arg-type]  # a database that can't be reached
    with pytest.raises(Outage):
        await away.run()
    assert await scene.record_all() == 2
    market = await scene.stores.markets.get(MARKETS[0])
    assert isinstance(market, Market)
    assert await scene.books.markets.get(MARKETS[0]) == market
