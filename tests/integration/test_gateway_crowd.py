"""Many at once, and the whole way from a feed to a bettor."""

import asyncio
import gc
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tests.gateways import PATIENCE_S, Offered, connected, running_gateway
from tests.samples import EVENT, HOME, MARKET
from tests.scene import PRICES, price
from tests.stream_scene import TIMEOUT_MS, stream_markets
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.core.market import MarketStatus
from touchline.edge.push.connection import Connection
from touchline.edge.push.subscriber import Subscriber
from touchline.runtime.valkey import ValkeyServer

CLIENTS = 1_000
OPENING_MAX = 64
TICKS = 20
HIGHER = PRICES | {HOME: 2_600}


class Listener(WSListener):
    """A client of picows' own that keeps what it is told."""

    def __init__(self) -> None:
        self.cursors: list[int] = []
        self.images = 0
        self.told = asyncio.Event()
        self.closed: int | None = None
        self.transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            self.closed = int(frame.get_close_code())
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            message: dict[str, Any] = msgspec.json.decode(frame.get_payload_as_bytes())
            assert message["op"] in ("image", "change"), message
            self.images += message["op"] == "image"
            assert "conflated" not in message
            self.cursors.append(message["cursor"])
        self.told.set()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.cursors) < count:
                self.told.clear()
                await self.told.wait()


async def test_a_thousand_clients_hear_the_same_and_are_told_when_it_ends() -> None:
    offered = Offered()
    markets = [f"m{number}" for number in range(10)]
    for market_id in markets:
        offered.change(market_id)
    async with running_gateway(offered) as running:
        opening = asyncio.Semaphore(OPENING_MAX)
        asking = msgspec.json.encode({"op": "subscribe", "id": "1", "markets": markets, "heartbeat_ms": 60_000})

        async def join() -> Listener:
            async with opening:
                _, listener = await ws_connect(Listener, f"ws://127.0.0.1:{running.port}/stream")
            assert isinstance(listener, Listener)
            listener.transport.send(WSMsgType.TEXT, asking)
            await listener.has(1)
            return listener

        crowd = await asyncio.gather(*(join() for _ in range(CLIENTS)))
        assert running.gateway.connections == CLIENTS
        begin = offered.cursor
        for _ in range(TICKS):
            running.change("m3", "m7")
            await asyncio.sleep(0)
        for listener in crowd:
            await listener.has(1 + TICKS)
            assert listener.cursors == [begin + 2 * tick for tick in range(TICKS + 1)]
            assert listener.images == 1
        await running.stop()
        assert running.gateway.connections == 0
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(listener.transport.wait_disconnected() for listener in crowd))
        assert {listener.closed for listener in crowd} == {1001}


async def test_a_price_and_a_suspension_go_from_the_authority_in_valkey_to_a_bettor(valkey_url: str) -> None:
    stream = ValkeyOddsStream(valkey_url, TIMEOUT_MS)
    async with stream_markets(valkey_url) as stores:
        await price(stores)
        async with running_gateway(shown=False) as running:
            following = asyncio.create_task(running.hub.follow(stream))
            async with asyncio.timeout(PATIENCE_S):
                while not running.gateway.ready:
                    await asyncio.sleep(0)
            async with connected(running.port) as client:
                client.subscribe(events=[EVENT])
                (shown,) = (await client.hears("image"))["markets"]
                assert shown["market_id"] == MARKET
                await price(stores, HIGHER)
                (changed,) = (await client.hears("change"))["markets"]
                assert changed["odds_version"] == shown["odds_version"] + 1
                odds = {one["selection_id"]: one["odds"] for one in changed["selections"]}
                assert odds[HOME] == "2.60"
                await price(stores, HIGHER, status=MarketStatus.SUSPENDED)
                (stopped,) = (await client.hears("change"))["markets"]
                assert (stopped["status"], stopped["odds_version"]) == ("suspended", shown["odds_version"] + 2)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    await stream.close()


async def test_an_authority_that_hangs_is_told_of_and_costs_no_subscriber_a_change(servers_dir: Path) -> None:
    folder = servers_dir / "gateway-valkey"
    folder.mkdir()
    server = ValkeyServer(folder)
    child = await server.start()
    stream = ValkeyOddsStream(server.url, TIMEOUT_MS)
    async with stream_markets(server.url) as stores:
        await price(stores)
        async with running_gateway(shown=False) as running:
            following = asyncio.create_task(running.hub.follow(stream))
            async with asyncio.timeout(PATIENCE_S):
                while not running.gateway.ready:
                    await asyncio.sleep(0)
            async with connected(running.port) as client:
                client.subscribe(events=[EVENT], heartbeat_ms=500)
                (shown,) = (await client.hears("image"))["markets"]
                os.kill(child.pid, signal.SIGSTOP)
                while "stale_since" not in await client.hears("heartbeat"):
                    pass
                os.kill(child.pid, signal.SIGCONT)
                while "stale_since" in (message := await client.message()):
                    pass
                assert message["op"] == "heartbeat"
                await price(stores, HIGHER)
                while (message := await client.message())["op"] != "change":
                    pass
                assert message["markets"][0]["odds_version"] == shown["odds_version"] + 1
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    await stream.close()
    await child.stop()


async def test_who_has_gone_is_forgotten_at_once_without_a_look_for_garbage() -> None:
    offered = Offered()
    offered.change(MARKET)
    async with running_gateway(offered) as running:
        gc.collect()
        gc.disable()
        try:
            for conflate_ms in (0, 100):
                async with connected(running.port) as client:
                    token = running.token("alice")
                    client.subscribe("1", markets=[MARKET], bets=True, token=token, conflate_ms=conflate_ms)
                    await client.hears("image")
            async with asyncio.timeout(PATIENCE_S):
                while any(isinstance(one, Connection | Subscriber) for one in gc.get_objects()):
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
