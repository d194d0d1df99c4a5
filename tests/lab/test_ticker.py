"""A price's whole way, from the feed to a bettor's screen, and clients that never read what they are pushed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tests.lab.tiny_server import Request, TinyServer, ok
from tests.lab.tiny_stream import Subscriber, TinyStream, market
from touchline.lab import ticker as ticking
from touchline.lab.http_client import TIMEOUT, HttpClient
from touchline.lab.rude_clients import subscribe_and_stall
from touchline.lab.ticker import Ticker


class Platform:
    """Takes prices over HTTP and pushes them, one after another, or keeps them for itself."""

    def __init__(self) -> None:
        self.http, self.stream = TinyServer(self._take), TinyStream()
        self.subscriber: Subscriber | None = None
        self.refuses: bytes | None = None
        self.taken: list[dict[str, Any]] = []

    async def _take(self, request: Request) -> bytes | None:
        [message] = msgspec.json.decode(request.body)
        if self.refuses is not None:
            return self.refuses
        self.taken.append(message)
        if self.subscriber is not None:
            self.push(len(self.taken))
        return ok(b'{"applied":1,"ignored":0}')

    def push(self, version: int) -> None:
        """Push a price that was taken."""
        assert self.subscriber is not None
        odds = self.taken[version - 1]["selections"][0]["odds"]
        self.subscriber.say(op="change", cursor=version, markets=[market(version + 1, "e:m", odds=odds)])

    @asynccontextmanager
    async def ticker(self) -> AsyncIterator[Ticker]:
        """A ticker that follows."""
        async with self.http.running(), self.stream.running():
            http = HttpClient(self.http.address, connections_max=4, waiting_max=9, timeout_s=5)
            try:
                async with Ticker(http, "a token", "e:m").running(self.stream.address) as ticker:
                    self.subscriber, _ = await self.stream.subscriber()
                    self.subscriber.say(op="image", id="1", epoch="e", cursor=0, markets=[market(1, "e:m")])
                    yield ticker
            finally:
                await http.close()


async def test_a_price_is_seen_once_it_is_shown_and_no_two_are_alike() -> None:
    platform = Platform()
    async with platform.ticker() as ticker:
        assert [await ticker.tick() for _ in range(3)] == [(200, "")] * 3
        assert ticker.connections() == {"made": 1}
    assert [message["selections"][0]["odds"] for message in platform.taken] == ["2.01", "2.02", "2.03"]
    assert {(message["kind"], message["market_id"], message["event_id"]) for message in platform.taken} == {
        ("odds_change", "e:m", "e")
    }


async def test_a_price_that_was_left_out_for_a_later_one_has_come_through() -> None:
    platform = Platform()
    async with platform.ticker() as ticker:
        subscriber, platform.subscriber = platform.subscriber, None
        ticks = [asyncio.create_task(ticker.tick()) for _ in range(3)]
        while len(platform.taken) < 3:
            await asyncio.sleep(0)
        platform.subscriber = subscriber
        order = sorted(range(3), key=lambda number: platform.taken[number]["selections"][0]["odds"])
        platform.push(order[-1] + 1)
        assert await asyncio.gather(*ticks) == [(200, "")] * 3


async def test_a_price_that_is_not_shown_in_time_or_not_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "SHOWN_WITHIN_S", 0.05)
    platform = Platform()
    async with platform.ticker() as ticker:
        platform.subscriber = None
        assert await ticker.tick() == (None, TIMEOUT)
        platform.refuses = ok(b'{"code":"UNAVAILABLE"}', "503 Service Unavailable")
        assert await ticker.tick() == (503, "UNAVAILABLE")


async def test_a_client_that_never_reads_subscribes_and_is_told_when_it_is_hung_up_on() -> None:
    stream, until = TinyStream(), asyncio.Event()
    wish = msgspec.json.encode({"op": "subscribe", "id": "1", "markets": ["m"]})
    async with stream.running():
        patient = asyncio.create_task(subscribe_and_stall(stream.address, wish, until))
        subscriber, asked = await stream.subscriber()
        assert asked == {"op": "subscribe", "id": "1", "markets": ["m"]}
        until.set()
        assert await patient is False
        await subscriber.gone.wait()
        ended = asyncio.create_task(subscribe_and_stall(stream.address, wish, asyncio.Event()))
        subscriber, _ = await stream.subscriber()
        subscriber.transport.disconnect(graceful=False)
        assert await ended is True
