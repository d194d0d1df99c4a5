"""The `OddsStream` contract, on memory and on Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import msgspec
import pytest
import pytest_asyncio
import redis.asyncio as redis

from tests.clock import HandClock
from tests.samples import AWAY, EVENT, HOME, MARKET
from tests.scene import HOME_WINS, Stores, memory_stores, price
from tests.stream_scene import TIMEOUT_MS, stream_markets
from touchline.adapters.memory.stream import MemoryOddsStream
from touchline.adapters.memory.tables import Tables
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.core.delivery import Board, Change, EventChanged, Image, MarketChanged
from touchline.core.event import EventStatus
from touchline.core.ids import EventId, MarketId
from touchline.core.market import MarketStep
from touchline.ports.stream import OddsStream
from touchline.wire.odds_v1 import MarketV1, market_to_wire

PATIENCE_S = 20
Yielded = AsyncIterator[Image | Sequence[Change]]


@dataclass(frozen=True, slots=True)
class Authority:
    """Stores, streams of what they change, and a way to empty them for an epoch of others."""

    stores: Stores
    stream: Callable[[], OddsStream]
    anew: Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", "valkey_url"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of an empty Valkey; empty for memory."""
    return "" if request.param == "memory" else str(request.getfixturevalue(request.param))


@pytest_asyncio.fixture
async def authority(address: str) -> AsyncIterator[Authority]:
    """An authority on odds, empty."""
    if not address:
        tables = Tables()

        async def other_books() -> None:
            tables.epoch, tables.writes = "1" * 32, 0
            for held in (tables.markets, tables.written, tables.events, tables.events_written):
                held.clear()

        stores = memory_stores(HandClock(), tables)
        yield Authority(stores, lambda: MemoryOddsStream(tables), other_books)
        return
    made: list[ValkeyOddsStream] = []

    def stream() -> OddsStream:
        made.append(ValkeyOddsStream(address, TIMEOUT_MS))
        return made[-1]

    async with stream_markets(address) as stores:

        async def emptied() -> None:
            client = redis.from_url(address)
            await client.flushall()
            await client.aclose()
            assert isinstance(stores.markets, ValkeyMarkets)
            await stores.markets.begin()

        yield Authority(stores, stream, emptied)
        for one in made:
            await one.close()


async def image_of(following: Yielded) -> Image:
    """The next image; nothing else may come before it."""
    async with asyncio.timeout(PATIENCE_S):
        async for yielded in following:
            if isinstance(yielded, Image):
                return yielded
            assert list(yielded) == []
    raise AssertionError


async def changes_of(following: Yielded, until: Callable[[list[Change]], bool]) -> list[Change]:
    """What changes, until it is enough; no image may come."""
    changes = list[Change]()
    async with asyncio.timeout(PATIENCE_S):
        while not until(changes):
            yielded = await anext(following)
            assert not isinstance(yielded, Image)
            changes += yielded
    return changes


async def test_an_image_shows_all_that_is_offered_and_what_is_over(authority: Authority) -> None:
    stores = authority.stores
    markets = [await price(stores, market_id=MarketId(f"m{n}"), event_id=EventId(f"e{n}")) for n in range(3)]
    await stores.trading.settle(MarketId("m0"), HOME_WINS)
    async with aclosing(authority.stream().follow()) as following:
        image = await image_of(following)
    assert [(m.market_id, m.status, m.odds_version) for m in image.markets] == [
        ("m1", "active", 1),
        ("m2", "active", 1),
        ("m0", "settled", 2),
    ]
    assert [change.event.event_id for change in image.events] == ["e0", "e1", "e2"]
    assert (image.markets[0].event_id, image.markets[0].priced_at) == (EventId("e1"), markets[1].priced_at)
    assert decoded(image.markets[0]) == market_to_wire(markets[1])
    cursors = [change.cursor for change in (*image.markets, *image.events)]
    assert max(cursors) == image.cursor
    assert len(set(cursors)) == len(cursors)


def decoded(change: MarketChanged) -> MarketV1:
    return msgspec.json.decode(change.body, type=MarketV1)


async def test_an_authority_with_nothing_shows_nothing(authority: Authority) -> None:
    async with aclosing(authority.stream().follow()) as following:
        image = await image_of(following)
    assert (image.cursor, list(image.markets), list(image.events)) == (0, [], [])


async def test_changes_follow_the_image_in_order_and_none_is_left_out(authority: Authority) -> None:
    stores = authority.stores
    async with aclosing(authority.stream().follow()) as following:
        image = await image_of(following)
        told = list[Change]()
        for odds in range(2_000, 2_010):
            await price(stores, {HOME: odds})
            told += await changes_of(following, bool)
        suspended = await stores.trading.step(MARKET, MarketStep.SUSPEND)
        told += await changes_of(following, bool)
    markets = [change for change in told if isinstance(change, MarketChanged)]
    assert [change.odds_version for change in markets] == list(range(1, 12))
    assert [change.cursor for change in told] == list(range(image.cursor + 1, image.cursor + 1 + len(told)))
    assert decoded(markets[-1]) == market_to_wire(suspended)
    assert isinstance(told[0], EventChanged)  # the market's event came first


async def test_an_events_changes_are_told(authority: Authority) -> None:
    markets = authority.stores.markets
    await price(authority.stores)
    async with aclosing(authority.stream().follow()) as following:
        (made,) = (await image_of(following)).events
        ended = replace(made.event, status=EventStatus.ENDED, score="2-1")
        await markets.change_event(EVENT, lambda _: ended)
        (change,) = await changes_of(following, bool)
    assert isinstance(change, EventChanged)
    assert change.event == ended
    assert change.cursor > made.cursor
    assert change.made == made.made


async def test_who_follows_again_begins_with_an_image(authority: Authority) -> None:
    stream = authority.stream()
    for odds in (2_000, 2_100):
        await price(authority.stores, {HOME: odds})
        async with aclosing(stream.follow()) as following:
            (market,) = (await image_of(following)).markets
        assert market.odds_version == (odds - 1_900) // 100


async def test_nothing_for_a_while_says_that_the_authority_was_heard_of(authority: Authority) -> None:
    async with aclosing(authority.stream().follow()) as following:
        await image_of(following)
        async with asyncio.timeout(PATIENCE_S):
            yielded = await anext(following)
    assert not isinstance(yielded, Image)
    assert list(yielded) == []


async def test_other_books_are_another_image(authority: Authority) -> None:
    stores = authority.stores
    await price(stores)
    async with aclosing(authority.stream().follow()) as following:
        first = await image_of(following)
        await authority.anew()
        await price(stores, {AWAY: 1_500}, market_id=MarketId("other"))
        second = await image_of(following)
        more = list[Change]() if second.markets else await changes_of(following, lambda told: len(told) == 2)
    assert second.epoch != first.epoch
    markets = [*second.markets, *(change for change in more if isinstance(change, MarketChanged))]
    assert [change.market_id for change in markets] == ["other"]


async def test_followers_and_the_store_are_of_one_mind(authority: Authority) -> None:
    stores, boards = authority.stores, (Board(), Board())

    async def keep(board: Board, following: Yielded) -> None:
        async for yielded in following:
            board.show(yielded) if isinstance(yielded, Image) else board.apply(yielded)
            market = board.market(MarketId("m7"))
            if market is not None and market.odds_version == 10:
                return

    async def write() -> None:
        for odds in range(10):
            for n in range(8):
                await price(stores, {HOME: 2_000 + odds}, market_id=MarketId(f"m{n}"))

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(write(), *(keep(board, authority.stream().follow()) for board in boards))
    cursor, expected = await stores.markets.changed_since(None)
    for board in boards:
        assert f"{board.epoch}-{board.cursor}" == cursor
        assert [decoded(change) for change in board.undecided()] == [market_to_wire(market) for market in expected]
