"""A pod's markets: bytes from its board, its own changes at once, the last known while the authority is away."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio
import redis.asyncio as redis

from tests.clock import NOON, HandClock
from tests.samples import EVENT, HOME, MARKET
from tests.scene import HOME_WINS, Stores, memory_stores, price
from tests.stream_scene import TIMEOUT_MS, SettlementsElsewhere
from touchline.adapters import board_markets as module
from touchline.adapters.board_markets import BoardMarkets
from touchline.adapters.memory.meters import MemoryMeter
from touchline.adapters.memory.tables import Tables
from touchline.adapters.valkey import records
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.core.delivery import Board
from touchline.core.errors import Outage
from touchline.core.event import Event, EventStatus
from touchline.core.feed import OddsChange, PricedSelection
from touchline.core.ids import EventId, MarketId, MessageId
from touchline.flows.ingest_feed import FeedIngestion
from touchline.runtime.valkey import ValkeyServer
from touchline.wire.odds_v1 import ChangesV1, EventsV1, MarketV1, event_to_wire, market_to_wire

PATIENCE_S = 20


@dataclass(slots=True)
class Pod:
    """A pod's markets with what they are made of."""

    board: Board
    stream: ValkeyOddsStream
    authority: ValkeyMarkets
    markets: BoardMarkets
    stores: Stores
    following: asyncio.Task[None] | None = None

    def follow(self) -> None:
        self.following = asyncio.create_task(self.markets.follow())

    async def stop_following(self) -> None:
        assert self.following is not None
        self.following.cancel()
        await asyncio.gather(self.following, return_exceptions=True)

    async def becomes(self, current: bool) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.markets.is_current is not current:
                await asyncio.sleep(0.01)  # nothing tells that time has gone by


@asynccontextmanager
async def pod_of(url: str) -> AsyncIterator[Pod]:
    clock = HandClock()
    board, stream = Board(), ValkeyOddsStream(url, 500)
    authority = ValkeyMarkets(url, TIMEOUT_MS, clock)
    markets = BoardMarkets(board, stream, authority, clock)
    settlements = SettlementsElsewhere(Tables(), clock, markets)
    stores = replace(memory_stores(clock), markets=markets, settlements=settlements)
    pod = Pod(board, stream, authority, markets, stores)
    await authority.begin()
    pod.follow()
    try:
        await pod.becomes(True)
        yield pod
    finally:
        await pod.stop_following()
        await stream.close()
        await authority.close()


@pytest_asyncio.fixture
async def pod(valkey_url: str) -> AsyncIterator[Pod]:
    """A pod whose board is current."""
    async with pod_of(valkey_url) as made:
        yield made


async def test_a_poll_is_the_authoritys_bytes(pod: Pod) -> None:
    market = await price(pod.stores)
    body = pod.markets.held_body(MARKET)
    assert body == msgspec.json.encode(market_to_wire(market))
    assert await pod.markets.poll_body(MARKET) == body
    assert await pod.markets.poll_body(MarketId("none")) is None


async def test_lists_in_bytes_are_what_the_store_answers(pod: Pod) -> None:
    for n in range(3):
        for kind in ("a", "b"):
            await price(pod.stores, market_id=MarketId(f"m{n}{kind}"), event_id=EventId(f"e{n}"))
    event = Event(EventId("e1"), "One", "football", "cup", EventStatus.LIVE, NOON, "1-0", "12:00")
    await pod.markets.change_event(event.event_id, lambda _: event)
    await pod.stores.trading.settle(MarketId("m0a"), HOME_WINS)
    for status in (None, "live", "ended"):
        events = [event_to_wire(one, markets) for one, markets in await pod.authority.events(status)]
        assert msgspec.json.decode(await pod.markets.events_body(status), type=EventsV1) == EventsV1(events)
    epoch = pod.board.epoch
    for cursor in (None, f"{epoch}-3", f"{epoch}-{pod.board.cursor}", "f" * 32 + "-1"):
        after, markets = await pod.authority.changed_since(cursor)
        expected = ChangesV1(after, [market_to_wire(market) for market in markets])
        if cursor == f"{epoch}-3":  # as the stream tells it
            assert msgspec.json.decode(await pod.markets.changes_body("3"), type=ChangesV1) == expected
        assert msgspec.json.decode(await pod.markets.changes_body(cursor), type=ChangesV1) == expected


async def test_a_change_is_on_its_way_to_every_follower_before_it_is_answered(
    pod: Pod, valkey_url: str
) -> None:
    url = urlsplit(valkey_url)
    with ExitStack() as stack:
        followers = []
        for _ in range(100):
            follower = stack.enter_context(socket.create_connection((url.hostname, url.port)))
            follower.sendall(f"AUTH {url.password}\r\n".encode())
            assert follower.recv(1024) == b"+OK\r\n"
            follower.sendall(f"SUBSCRIBE {records.CHANNEL}\r\n".encode())
            assert records.CHANNEL.encode() in follower.recv(1024)
            follower.setblocking(False)
            followers.append(follower)
        for n in range(300):
            event = Event(EVENT, "One", "football", "cup", EventStatus.LIVE, NOON, "0-0", f"{n}:00")
            await pod.markets.change_event(EVENT, lambda _, event=event: event)  # type: ignore[misc]  # bound at once
            for follower in followers:
                assert f"{n}:00".encode() in follower.recv(65_536)  # what is not there yet raises


async def test_messages_of_one_request_wait_for_the_board_together(pod: Pod, valkey_url: str) -> None:
    clock = pod.stores.clock
    feed = FeedIngestion(pod.authority, pod.stores.settlements, clock, MemoryMeter(), pod.markets.shown)
    names = [MarketId(f"m{n}") for n in range(50)]
    messages = [
        OddsChange(
            message_id=MessageId(name),
            occurred_at=clock.now(),
            event_id=EVENT,
            market_id=name,
            selections=(PricedSelection(selection_id=HOME, odds_milli=2_000),),
        )
        for name in names
    ]
    client = redis.from_url(valkey_url)
    pings = await pings_of(client)
    assert await feed.apply_all(messages) == (50, 0)
    assert all(pod.markets.held_body(name) for name in names)
    assert await pings_of(client) - pings < 25  # ours, and those by which followers see that the server lives
    await client.aclose()


async def pings_of(client: "redis.Redis") -> int:
    told = await client.info("commandstats")
    return int(told["cmdstat_ping"]["calls"]) if "cmdstat_ping" in told else 0


async def test_a_page_of_changes_goes_on_where_it_ends(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHANGES_MAX", 2)
    for n in range(5):
        await price(pod.stores, market_id=MarketId(f"m{n}"))
    cursor, found = await pod.markets.changed_since(None)
    while some := (page := await pod.markets.changed_since(cursor))[1]:
        cursor = page[0]
        found += some
    assert [market.market_id for market in found] == [f"m{n}" for n in range(5)]


async def test_own_changes_are_read_though_nothing_is_pushed_any_more(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OWN_CHANGE_S", 0.01)
    await price(pod.stores)
    await pod.stop_following()
    changed = await price(pod.stores, {HOME: 9_000})
    assert pod.board.market(MARKET) is not None
    assert not pod.markets.is_current
    assert await pod.markets.get(MARKET) == changed
    body = await pod.markets.poll_body(MARKET)
    assert body is not None
    assert msgspec.json.decode(body, type=MarketV1).odds_version == 2
    pod.follow()
    await pod.becomes(True)
    assert await pod.markets.get(MARKET) == changed


async def test_a_board_that_hears_nothing_is_passed_over(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    await price(pod.stores)
    await pod.stop_following()
    monkeypatch.setattr(module, "HEARD_WITHIN_S", 0.0)
    await pod.becomes(False)
    other = await pod.authority.change_market(
        MARKET, None, lambda old: replace(old, name="New", odds_version=2) if old else None
    )
    assert other is not None
    assert await pod.markets.get(MARKET) == other
    assert (await pod.markets.changed_since(None))[1] == [other]
    assert [markets for _, markets in await pod.markets.events(None)] == [[other]]
    assert await pod.markets.event(EVENT) == (await pod.authority.event(EVENT))


async def test_a_cursor_beyond_the_board_is_asked_of_the_authority(pod: Pod) -> None:
    await price(pod.stores)
    await pod.stop_following()
    changed = await pod.authority.change_market(
        MARKET, None, lambda old: replace(old, odds_version=2) if old else None
    )
    epoch, newest = pod.authority.written
    assert newest > pod.board.cursor
    assert await pod.markets.changed_since(f"{epoch}-{newest}") == (f"{epoch}-{newest}", [])
    again = await pod.authority.change_market(
        MARKET, None, lambda old: replace(old, odds_version=3) if old else None
    )
    assert changed is not None
    assert await pod.markets.changed_since(f"{epoch}-{newest}") == (f"{epoch}-{newest + 1}", [again])


async def test_while_the_authority_is_dead_reads_are_the_last_known(servers_dir: Path) -> None:
    server = ValkeyServer.authority(servers_dir / "authority-dead")
    child = await server.start()
    async with pod_of(server.url) as pod:
        market = await price(pod.stores)
        cursor, board = await pod.markets.changed_since(None)
        events = await pod.markets.events(None)
        events_body = await pod.markets.events_body(None)
        child.signal(signal.SIGKILL)
        await child.wait()
        assert pod.markets.held_body(MARKET) is not None  # as it was a moment ago
        await pod.becomes(False)
        body = await pod.markets.poll_body(MARKET)
        assert body is not None
        polled = msgspec.json.decode(body, type=MarketV1)
        assert polled.stale_since == NOON
        assert msgspec.structs.replace(polled, stale_since=msgspec.UNSET) == market_to_wire(market)
        assert await pod.markets.get(MARKET) == market
        assert (await pod.markets.changed_since(None)) == (cursor, board)
        assert await pod.markets.events(None) == events
        assert await pod.markets.events_body(None) == events_body
        assert await pod.markets.event(EVENT) == events[0]
        for later in (f"{pod.board.epoch}-{pod.board.cursor + 7}", "f" * 32 + "-9"):
            assert await pod.markets.changed_since(later) == (later, [])
            assert msgspec.json.decode(await pod.markets.changes_body(later)) == {"cursor": later, "markets": []}
        for away in (
            pod.markets.poll_body(MarketId("none")),
            pod.markets.event(EventId("none")),
            pod.markets.change_market(MARKET, None, lambda old: old),
        ):
            with pytest.raises(Outage):
                await away
        child = await server.start()
        await pod.becomes(True)
        assert pod.markets.held_body(MARKET) == msgspec.json.encode(market_to_wire(market))
    await child.stop()


async def test_before_its_first_image_a_pod_asks_the_authority(valkey_url: str) -> None:
    clock = HandClock()
    authority = ValkeyMarkets(valkey_url, TIMEOUT_MS, clock)
    markets = BoardMarkets(Board(), ValkeyOddsStream(valkey_url, 500), authority, clock)
    with pytest.raises(Outage):
        await markets.events(None)
    authority._breaker.__exit__(None, None, None)
    await authority.begin()
    assert await markets.events(None) == []
    await authority.close()
