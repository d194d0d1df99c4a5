"""What is pushed of odds goes on after anything that can happen to a connection or to the authority itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio as redis

from tests.clock import HandClock
from tests.samples import EVENT, HOME
from tests.scene import Stores, price
from tests.stream_scene import TIMEOUT_MS, stream_markets
from touchline.adapters.valkey import records
from touchline.adapters.valkey import stream as module
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.core.delivery import Board, Change, Image, MarketChanged
from touchline.core.errors import Outage
from touchline.core.ids import MarketId
from touchline.runtime.valkey import ValkeyServer

PATIENCE_S = 30
MARKETS = [MarketId(f"m{n}") for n in range(5)]


class Follower:
    """A board that follows a stream, and every version that it was shown."""

    def __init__(self, stream: ValkeyOddsStream) -> None:
        self.board = Board()
        self.images = 0
        self.versions: dict[MarketId, list[int]] = {}
        self._stream = stream
        self._yielded = asyncio.Event()

    async def run(self) -> None:
        async for yielded in self._stream.follow():
            if isinstance(yielded, Image):
                if yielded.epoch != self.board.epoch:
                    self.versions.clear()
                self.board.show(yielded)
                self.images += 1
                self._note(yielded.markets)
            else:
                self._note(self.board.apply(yielded))
            self._yielded.set()

    def _note(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, MarketChanged):
                self.versions.setdefault(change.market_id, []).append(change.odds_version)

    async def has_come_to(self, cursor: tuple[str, int]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (self.board.epoch, self.board.cursor) != cursor:
                self._yielded.clear()
                await self._yielded.wait()

    async def is_like(self, stores: Stores) -> None:
        """Wait until the board is where the authority is, and compare."""
        cursor, expected = await stores.markets.changed_since(None)
        epoch, number = cursor.split("-")
        await self.has_come_to((epoch, int(number)))
        shown = [(change.market_id, change.odds_version) for change in self.board.undecided()]
        assert shown == [(market.market_id, market.odds_version) for market in expected]
        for versions in self.versions.values():
            assert versions == sorted(versions)


@asynccontextmanager
async def follower(url: str) -> AsyncIterator[Follower]:
    stream = ValkeyOddsStream(url, 1_000)
    one = Follower(stream)
    running = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await stream.close()


@pytest_asyncio.fixture
async def stores(valkey_url: str) -> AsyncIterator[Stores]:
    """A platform whose markets are in Valkey."""
    async with stream_markets(valkey_url) as made:
        yield made


async def price_all(stores: Stores, odds: int) -> None:
    for name in MARKETS:
        await price(stores, {HOME: odds}, market_id=name)


async def kill_followers(url: str) -> int:
    client = redis.from_url(url)
    killed = await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await client.aclose()
    return int(killed)


async def test_a_follower_whose_connection_is_cut_again_and_again_misses_nothing(
    stores: Stores, valkey_url: str
) -> None:
    async with follower(valkey_url) as one:
        await one.is_like(stores)
        killed = 0
        for odds in range(2_000, 2_020):
            await price_all(stores, odds)
            killed += await kill_followers(valkey_url)
            await price_all(stores, odds + 500)
            if odds % 5 == 0:
                await one.is_like(stores)
        await one.is_like(stores)
        assert killed > 0
        assert one.images == 1


async def test_more_than_a_follower_can_hold_is_read_by_its_cursor(
    stores: Stores, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    async with follower(valkey_url) as one:
        await one.is_like(stores)
        await asyncio.gather(*(price_all(stores, 2_000 + n) for n in range(10)))
        await one.is_like(stores)
        assert one.images == 1


@pytest.mark.parametrize("another_follows", [False, True])
async def test_a_message_that_was_never_pushed_is_noticed(
    stores: Stores, valkey_url: str, another_follows: bool
) -> None:
    await price_all(stores, 2_000)
    client = redis.from_url(valkey_url)
    async with follower(valkey_url) as one:
        await one.is_like(stores)
        # As where the server drops a follower's messages: changed, and nothing published.
        async with client.pipeline() as step:
            held = await client.get(records.market_key(MARKETS[0]))
            cursor = 1 + int(await client.get(records.CURSOR))
            step.incr(records.CURSOR)
            step.set(records.market_key(MARKETS[0]), b"%d " % cursor + held.split(b" ", 1)[1])
            step.zadd(records.UNDECIDED, {MARKETS[0]: cursor})
            await step.execute()
        if another_follows:
            await price(stores, {HOME: 3_000}, market_id=MARKETS[1])
        await one.is_like(stores)
        told = one.board.market(MARKETS[0])
        assert told is not None
        assert told.cursor == cursor
        assert one.images == 1
    await client.aclose()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_an_authority_that_died_comes_back_with_all_that_it_answered(
    servers_dir: Path, how: signal.Signals
) -> None:
    server = ValkeyServer.authority(servers_dir / f"authority-{how.name}")
    child = await server.start()
    async with stream_markets(server.url) as stores, follower(server.url) as one:
        await price_all(stores, 2_000)
        await one.is_like(stores)
        writing = asyncio.create_task(write_until_it_dies(stores))
        await one.has_come_to((one.board.epoch, one.board.cursor + 20))
        child.signal(how)
        await child.wait()
        answered = await writing
        child = await server.start()
        markets = stores.markets
        assert isinstance(markets, ValkeyMarkets)
        markets._breaker.__exit__(None, None, None)
        for name, version in answered.items():
            market = await markets.get(name)
            assert market is not None
            assert market.odds_version >= version
        await price_all(stores, 9_000)
        await one.is_like(stores)
        assert one.images == 1
    await child.stop()


async def write_until_it_dies(stores: Stores) -> dict[MarketId, int]:
    """Price markets for as long as there is an authority; returns the versions it answered with."""
    answered: dict[MarketId, int] = {}
    for odds in range(2_001, 1_000_000):
        for name in MARKETS:
            try:
                market = await price(stores, {HOME: odds}, market_id=name, event_id=EVENT)
            except Outage:
                return answered
            answered[name] = market.odds_version
    raise AssertionError


async def test_a_follower_of_a_silent_authority_goes_on_when_it_speaks(servers_dir: Path) -> None:
    server = ValkeyServer.authority(servers_dir / "authority-silent")
    child = await server.start()
    async with stream_markets(server.url) as stores, follower(server.url) as one:
        await price_all(stores, 2_000)
        await one.is_like(stores)
        os.kill(child.pid, signal.SIGSTOP)
        try:
            await asyncio.wait_for(until_lost(one._stream), PATIENCE_S)
        finally:
            os.kill(child.pid, signal.SIGCONT)
        await price_all(stores, 2_001)
        await one.is_like(stores)
        assert one.images == 1
    await child.stop()


async def until_lost(stream: ValkeyOddsStream) -> None:
    while not stream._missed:
        await stream._news.wait()
        await asyncio.sleep(0)


async def test_an_authority_emptied_under_its_followers_is_away_until_a_new_epoch_is_begun(
    stores: Stores, valkey_url: str
) -> None:
    await price_all(stores, 2_000)
    async with follower(valkey_url) as one:
        await one.is_like(stores)
        before = one.board.epoch
        client = redis.from_url(valkey_url)
        await client.flushall()
        await client.aclose()
        markets = ValkeyMarkets(valkey_url, TIMEOUT_MS, HandClock())
        with pytest.raises(Outage):
            await markets.get(MARKETS[0])
        assert (one.board.epoch, len(one.board.undecided())) == (before, len(MARKETS))
        markets._breaker.__exit__(None, None, None)
        await markets.begin(1_000)
        await markets.close()
        await price_all(stores, 3_000)
        await one.is_like(stores)
        assert one.board.epoch != before
