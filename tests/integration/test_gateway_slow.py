"""Readers who do not keep up: they are told the latest, wait for nobody, and cost little."""

import asyncio
import gc
import tracemalloc
from typing import Any

import pytest

from tests.gateways import (
    BINARY,
    CLOSE,
    PATIENCE_S,
    PING,
    Client,
    Offered,
    Running,
    connected,
    frame,
    ids,
    running_gateway,
    versions,
)
from touchline.core.market import MarketStatus
from touchline.edge.push.connection import UNREAD_S, WRITE_BYTES_MAX
from touchline.edge.push.hub import FRAME_BYTES_MAX

BUFFER_BYTES = 4_096  # of the slow reader's kernel and of his program, so that little is read ahead
WORDS = "x" * 1_000
MARKETS = [f"m{number}" for number in range(20)]


def offered() -> Offered:
    made = Offered()
    for market_id in MARKETS:
        made.change(market_id)
    return made


async def block(running: Running) -> None:
    """Change prices until the one slow reader can be written no more."""
    async with asyncio.timeout(20):
        while running.hub.boxed == 0:
            running.change(*MARKETS, words=WORDS)
            await asyncio.sleep(0)


async def rest_of(client: Client, running: Running) -> list[dict[str, Any]]:
    """All messages up to the one with which everything has been sent."""
    told = [await client.hears("change")]
    while told[-1]["cursor"] != running.offered.cursor:
        told.append(await client.hears("change"))
    return told


@pytest.mark.parametrize(
    "frames",
    [frame(CLOSE, (1000).to_bytes(2, "big")), frame(PING) + frame(3), frame(BINARY, b"?")],
    ids=["a close", "no frame", "binary"],
)
async def test_who_reads_nothing_does_not_stay_by_closing(
    monkeypatch: pytest.MonkeyPatch, frames: bytes
) -> None:
    monkeypatch.setattr("touchline.edge.push.connection.CLOSING_S", 0.05)
    async with running_gateway(offered()) as running, connected(running.port, BUFFER_BYTES) as slow:
        slow.subscribe(markets=MARKETS)
        await slow.hears("image")
        (connection,) = running.gateway._connections
        transport = connection._transport.underlying_transport
        async with asyncio.timeout(PATIENCE_S):
            while not transport.get_write_buffer_size():  # what the kernel does not take, and still not slow
                running.change(MARKETS[0], words=WORDS)
                await asyncio.sleep(0)
            assert running.hub.boxed == 0
            slow.write(frames)
            while running.gateway.connections:
                await asyncio.sleep(0.01)


async def test_a_slow_reader_is_told_the_latest_of_each_market_and_that_some_were_left_out() -> None:
    async with running_gateway(offered()) as running, connected(running.port, BUFFER_BYTES) as slow:
        slow.subscribe(markets=MARKETS)
        await slow.hears("image")
        await block(running)
        for _ in range(200):
            running.change(*MARKETS, words=WORDS)
        told = await rest_of(slow, running)
        held: dict[str, int] = {}
        cursor = 0
        for message in told:
            assert message["cursor"] >= cursor
            cursor = message["cursor"]
            for market_id, version in versions(message).items():
                assert version > held.get(market_id, 0)
                held[market_id] = version
        assert held == running.offered.versions
        assert len(ids(told)) < 100 * len(MARKETS)
        conflated = [message.get("conflated") for message in told]
        assert set(conflated) == {None, "slow_reader"}
        assert conflated == sorted(conflated, key=lambda one: one is not None)  # what was written before is whole
        async with asyncio.timeout(20):
            while running.hub.boxed:
                await asyncio.sleep(0)
        running.change("m1")
        assert "conflated" not in await slow.hears("change")  # he keeps up again


async def test_a_suspension_overtakes_the_prices_that_wait() -> None:
    async with running_gateway(offered()) as running, connected(running.port, BUFFER_BYTES) as slow:
        slow.subscribe(markets=MARKETS)
        await slow.hears("image")
        await block(running)
        running.change(*MARKETS, words=WORDS)
        running.change(MARKETS[-1], status=MarketStatus.SUSPENDED, words=WORDS)
        running.change(*MARKETS[:-1], words=WORDS)
        told = await rest_of(slow, running)
        first = next(message for message in told if "conflated" in message)
        statuses = [market["status"] for market in first["markets"]]
        assert statuses[0] == "suspended"
        assert statuses.count("suspended") == 1
        assert ids([first])[0] == MARKETS[-1]


async def test_others_hear_everything_at_once_and_unconflated_beside_a_reader_who_stands_still() -> None:
    async with (
        running_gateway(offered()) as running,
        connected(running.port, BUFFER_BYTES) as slow,
        connected(running.port) as quick,
    ):
        for client in (slow, quick):
            client.subscribe(markets=MARKETS)
            await client.hears("image")
        for _ in range(300):
            running.change(*MARKETS, words=WORDS)
            change = await quick.hears("change")  # before anything else changes
            assert change["cursor"] == running.offered.cursor
            assert "conflated" not in change
        assert running.hub.boxed == 1


async def test_what_is_kept_for_a_slow_reader_does_not_grow_with_what_he_misses() -> None:
    async with running_gateway(offered()) as running, connected(running.port, BUFFER_BYTES) as slow:
        slow.subscribe(markets=MARKETS)
        await slow.hears("image")
        await block(running)
        (connection,) = running.gateway._connections
        buffer = connection._transport.underlying_transport.get_write_buffer_size
        most = WRITE_BYTES_MAX + FRAME_BYTES_MAX
        tracemalloc.start()
        try:
            for _ in range(50):  # until all that is held was made while it is counted
                running.change(*MARKETS, words=WORDS)
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
            for _ in range(2_000):
                running.change(*MARKETS, words=WORDS)
                assert buffer() <= most
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - kept
        finally:
            tracemalloc.stop()
        outbox = connection._subscriber.outbox
        assert outbox is not None
        assert len(outbox) == len(MARKETS)
        assert grown < 30_000  # of 60 MB that he missed


async def test_subscriptions_of_a_reader_who_stands_still_make_no_images() -> None:
    async with running_gateway(offered()) as running, connected(running.port, BUFFER_BYTES) as slow:
        slow.subscribe(markets=MARKETS)
        await slow.hears("image")
        await block(running)
        made = running.hub.images_sent
        for number in range(10):
            slow.subscribe(number, markets=MARKETS[:5])
            slow.say(op="unsubscribe", id=number)
        slow.subscribe("last", markets=MARKETS[:1])
        (connection,) = running.gateway._connections
        async with asyncio.timeout(20):
            while "last" not in connection._subscriber:
                await asyncio.sleep(0)
        assert running.hub.images_sent == made
        while (message := await slow.message())["op"] == "change":
            pass
        assert (message["op"], message["id"]) == ("image", "last")
        assert running.hub.images_sent == made + 1


async def test_who_reads_nothing_for_long_is_let_go() -> None:
    async with running_gateway(offered()) as running, connected(running.port, BUFFER_BYTES) as slow:
        slow.subscribe(markets=MARKETS)
        await slow.hears("image")
        await block(running)
        (connection,) = running.gateway._connections
        connection.sweep(asyncio.get_running_loop().time() + UNREAD_S - 5)
        assert running.gateway.connections == 1
        connection.sweep(asyncio.get_running_loop().time() + UNREAD_S + 1)
        async with asyncio.timeout(20):
            while running.gateway.connections:
                await asyncio.sleep(0)


@pytest.mark.parametrize("conflate_ms", [0, 50])
async def test_whoever_goes_is_forgotten(conflate_ms: int) -> None:
    async with running_gateway(offered()) as running:
        for _ in range(5):
            async with connected(running.port) as client:
                client.subscribe(markets=MARKETS, events=["e1"], conflate_ms=conflate_ms)
                await client.hears("image")
        async with asyncio.timeout(20):
            while running.gateway.connections:
                await asyncio.sleep(0)
        hub = running.hub
        held = (hub._groups, hub._group_of, hub._of_market, hub._of_event, hub._paces, hub._pace_of, hub._ahead)
        assert [len(one) for one in held] == [0] * len(held)
