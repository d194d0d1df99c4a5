"""The stream as its clients see it: images, changes, resumes, heartbeats."""

import asyncio
import socket
from contextlib import AsyncExitStack

import msgspec
import pytest

from tests.gateways import PATIENCE_S, connected, handshake, ids, offered, request, running_gateway, versions
from touchline.core.delivery import Board
from touchline.core.market import MarketStatus
from touchline.edge.push import hub as hub_module
from touchline.edge.push.subscriber import Subscriber
from touchline.wire.stream_v1 import SubscribeV1


async def test_a_subscription_is_answered_by_an_image_then_by_changes_of_its_markets_only() -> None:
    async with running_gateway(offered("m1", "m2", "m3")) as running, connected(running.port) as client:
        client.subscribe("mine", markets=["m1", "m3", "nowhere"])
        image = await client.hears("image")
        assert (image["id"], image["epoch"], image["cursor"]) == ("mine", running.offered.epoch, 103)
        assert versions(image) == {"m1": 1, "m3": 1}
        assert image["unknown"] == ["nowhere"]
        assert "resumed" not in image
        assert "stale_since" not in image
        running.change("m2")
        running.change("m3", "m1")
        change = await client.hears("change")
        assert change["cursor"] == 106
        assert ids([change]) == ["m3", "m1"]  # one frame a tick, in the order of the changes
        assert versions(change) == {"m1": 2, "m3": 2}
        assert "conflated" not in change
        assert change["markets"][0] == msgspec.json.decode(running.offered.latest["m3"].body)
        running.change("nowhere")
        assert versions(await client.hears("change")) == {"nowhere": 1}


async def test_an_event_is_followed_with_the_markets_that_it_has_and_those_that_it_gets() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe(1, events=["e1"], markets=["m1"])
        image = await client.hears("image")
        assert image["id"] == 1
        assert versions(image) == {"m1": 1, "m2": 1}
        running.change("m9", event_id="e2")
        running.change("m1")
        assert ids([await client.hears("change")]) == ["m1"]  # once, though it is wanted twice
        running.change("m3")
        assert ids([await client.hears("change")]) == ["m3"]


async def test_who_follows_the_same_gets_the_same_bytes_and_who_does_not_gets_his_own() -> None:
    async with (
        running_gateway(offered("m1", "m2")) as running,
        connected(running.port) as first,
        connected(running.port) as second,
        connected(running.port) as other,
    ):
        for client, markets in ((first, ["m1"]), (second, ["m1"]), (other, ["m1", "m2"])):
            client.subscribe(markets=markets)
            await client.hears("image")
        before = running.hub.frames_sent
        running.change("m1", "m2")
        assert await first.frame() == await second.frame()
        assert ids([await other.hears("change")]) == ["m1", "m2"]
        assert running.hub.frames_sent == before + 3


async def test_a_second_subscription_has_an_image_of_its_own_and_an_end_of_its_own() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe("one", markets=["m1"])
        client.subscribe("two", markets=["m2"])
        assert versions(await client.hears("image")) == {"m1": 1}
        assert versions(await client.hears("image")) == {"m2": 1}
        running.change("m1", "m2")
        assert ids([await client.hears("change")]) == ["m1", "m2"]
        client.say(op="unsubscribe", id="one")
        client.say(op="unsubscribe", id="one")
        error = await client.hears("error")  # by which the first is done too
        assert (error["code"], error["id"]) == ("NOT_FOUND", "one")
        running.change("m1", "m2")
        assert ids([await client.hears("change")]) == ["m2"]


async def test_the_same_id_again_takes_the_place_of_what_it_stood_for() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe("one", markets=["m1"])
        client.subscribe("one", markets=["m2"])
        await client.hears("image")
        assert versions(await client.hears("image")) == {"m2": 1}
        running.change("m1", "m2")
        assert ids([await client.hears("change")]) == ["m2"]


async def test_a_new_epoch_is_a_new_image_for_everyone() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe("one", markets=["m1"])
        client.subscribe("two", markets=["m2"])
        await client.hears("image")
        await client.hears("image")
        running.offered.epoch, running.offered.cursor = "c" * 32, 3
        for market_id in ("m1", "m2"):
            running.offered.change(market_id, MarketStatus.SUSPENDED)
        running.hub.show(running.offered.image())
        images = [await client.hears("image"), await client.hears("image")]
        assert [(image["id"], image["epoch"], image["cursor"]) for image in images] == [
            ("one", "c" * 32, 5),
            ("two", "c" * 32, 5),
        ]
        assert versions(images[0]) | versions(images[1]) == {"m1": 2, "m2": 2}
        running.change("m1")
        assert (await client.hears("change"))["cursor"] == 6


async def test_an_image_of_the_same_epoch_tells_what_is_new_in_it() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1", "m2"])
        await client.hears("image")
        running.offered.change("m2")
        running.offered.change("m2")
        running.hub.show(running.offered.image())
        change = await client.hears("change")
        assert (change["cursor"], versions(change)) == (104, {"m2": 3})


async def test_a_tick_that_is_large_comes_in_several_frames_each_with_its_cursor() -> None:
    markets = [f"m{number}" for number in range(40)]
    async with running_gateway(offered(*markets)) as running, connected(running.port) as client:
        client.subscribe(markets=markets)
        await client.hears("image")
        running.change(*markets, words="x" * 2_000)
        told = list[str]()
        while len(told) < 40:
            change = await client.hears("change")
            told += ids([change])
            assert change["cursor"] == running.offered.latest[told[-1]].cursor
        assert told == markets


async def test_heartbeats_come_while_nothing_changes_and_carry_the_cursor_of_all() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"], heartbeat_ms=500)
        await client.hears("image")
        running.change("m2")
        running.hub.apply([])
        heartbeat = await client.hears("heartbeat")
        assert heartbeat == {"op": "heartbeat", "cursor": 103, "at": "2026-03-01T12:00:00Z"}
        await client.hears("heartbeat")


async def test_heartbeats_say_that_the_authority_is_silent_and_when_it_speaks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "STALE_AFTER_S", 0.3)
    async with running_gateway(offered("m1")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"], heartbeat_ms=60_000)
        await client.hears("image")
        assert (await client.hears("heartbeat"))["stale_since"] == "2026-03-01T12:00:00Z"
        async with connected(running.port) as late:
            late.subscribe(markets=["m1"])
            assert (await late.hears("image"))["stale_since"] == "2026-03-01T12:00:00Z"
        running.hub.apply([])
        assert "stale_since" not in await client.hears("heartbeat")


async def test_changes_come_once_in_so_many_ms_where_that_is_asked_suspensions_at_once() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1", "m2"], conflate_ms=300)
        await client.hears("image")
        running.change("m1")
        running.change("m1")
        running.change("m2", status=MarketStatus.SUSPENDED)
        stop = await client.hears("change")
        assert ids([stop]) == ["m2"]
        assert "conflated" not in stop
        assert stop["cursor"] == 103  # of the price that waits only the one before has had its time
        change = await client.hears("change")
        assert versions(change) == {"m1": 3}
        assert (change["conflated"], change["cursor"]) == ("asked", 105)


async def test_a_pace_can_be_taken_back() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe("one", markets=["m1"], conflate_ms=60_000)
        await client.hears("image")
        running.change("m1")
        client.subscribe("two", markets=["m2"], conflate_ms=0)
        assert versions(await client.hears("change")) == {"m1": 2}  # before the image, which is as of later
        assert versions(await client.hears("image")) == {"m2": 1}
        running.change("m1")
        assert versions(await client.hears("change")) == {"m1": 3}


async def test_nobody_is_let_in_before_there_is_something_to_show() -> None:
    async with running_gateway(offered("m1"), shown=False) as running:
        assert not running.gateway.ready
        answer, _ = await request(running.port, handshake())
        assert answer.startswith("HTTP/1.1 503 ")
        assert "Retry-After: 1\r\n" in answer
        running.hub.show(running.offered.image())
        assert running.gateway.ready
        async with connected(running.port) as client:
            client.subscribe(markets=["m1"])
            await client.hears("image")


async def test_beyond_the_most_connections_clients_are_sent_away_until_one_goes() -> None:
    async with running_gateway(offered("m1"), connections_max=2) as running:
        async with connected(running.port), connected(running.port):
            answer, client = await request(running.port, handshake())
            assert answer.startswith("HTTP/1.1 503 ")
            assert "application/problem+json" in answer
            await client.close()
            assert running.gateway.refused == 1
        async with asyncio.timeout(20):
            while running.gateway.connections:
                await asyncio.sleep(0)
        async with connected(running.port):
            assert running.gateway.connections == 1


async def test_other_paths_are_not_found_and_other_methods_are_refused() -> None:
    async with running_gateway(offered("m1")) as running:
        for head, status in (
            (handshake("/"), 404),
            (handshake("/stream/other"), 404),
            (handshake("/stream?token=x"), 101),
            (handshake(connection="keep-alive, Upgrade"), 101),  # as Firefox says it
            (handshake(connection="close"), 400),
            (handshake().replace("Version: 13", "Version: 8"), 400),
            (handshake().replace("websocket", "h2c"), 400),
            (handshake().replace("Key: ", "Key: x"), 400),
            ("GET /stream HTTP/1.1\r\nHost: touchline\r\n\r\n", 400),
            ("POST /stream HTTP/1.1\r\nHost: touchline\r\n\r\n", 400),
        ):
            answer, client = await request(running.port, head)
            assert answer.startswith(f"HTTP/1.1 {status} "), head
            assert status == 101 or head.startswith("POST") or "application/problem+json" in answer
            assert status != 400 or head.startswith("POST") or "Sec-WebSocket-Version: 13\r\n" in answer
            await client.close()


async def test_a_gateway_goes_even_if_a_client_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchline.edge.push.connection.CLOSING_S", 0.05)
    async with running_gateway(offered("m1")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"])
        await client.hears("image")
        await running.stop()
        assert running.gateway.connections == 0


async def test_a_gateway_that_has_waited_long_enough_goes_as_it_was_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("touchline.edge.gateway.CLOSING_S", 0.0)  # and none of its connections knows
    async with running_gateway(offered("m1")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"])
        await client.hears("image")
        running.serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.serving
        assert running.gateway.port == 0


async def test_the_board_of_a_gateway_can_be_kept_beside_another_follower(running_board: Board) -> None:
    assert running_board.cursor == 2


@pytest.fixture
async def running_board() -> Board:
    """What another follower holds who reads a stream that a hub listens to."""
    made = offered("m1")
    other = Board()

    class Told:
        async def follow(self):  # type: ignore[no-untyped-def]  # a stream of two words
            made.cursor = 1
            yield made.image()
            yield [made.change("m1")]

    async with running_gateway(made, shown=False) as running:
        async for told in running.hub.overheard(Told()).follow():
            if isinstance(told, list):
                other.apply(told)
            else:
                other.show(told)
        assert running.hub.board.cursor == other.cursor
    return other


async def test_an_image_is_made_once_for_all_who_ask_for_the_same_before_the_next_tick() -> None:
    async with (
        running_gateway(offered("m1", "m2")) as running,
        connected(running.port) as first,
        connected(running.port) as second,
    ):
        first.subscribe("one", markets=["m1", "m2"])
        image = await first.frame()
        second.subscribe("one", markets=["m2", "m1", "m2"])
        assert await second.frame() == image
        made = [key for key in running.hub._made if key[0] == "image"]
        assert len(made) == 1
        running.change("m1")
        async with connected(running.port) as third:
            third.subscribe("one", markets=["m1", "m2"])
            assert versions(await third.hears("image")) == {"m1": 2, "m2": 1}


async def test_a_crowd_s_prices_are_held_back_to_go_together_but_no_suspension_is() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"])
        await client.hears("image")
        frames, holds = list[bytes](), list[bool]()
        subscriber = Subscriber(running.hub, frames.append, holds.append)
        subscriber.subscribe(SubscribeV1("1", markets=["m1", "m2"]))
        running.hub.beat_once()
        assert (running.hub.crowded, holds) == (False, [])
        while not running.hub.crowded:
            running.hub._pushing_s = 3_600.0
            running.hub.beat_once()
        assert holds == [True]
        running.change("m1")
        await client.hears("change")
        assert holds == [True]
        running.change("m1", status=MarketStatus.SUSPENDED)
        await client.hears("change")
        assert holds == [True, False, True]  # what is held goes as soon as nothing is to be held
        late = list[bool]()
        Subscriber(running.hub, frames.append, late.append).leave()
        assert late == [True]
        for _ in range(200):
            running.hub.beat_once()
        assert (running.hub.crowded, holds[-1]) == (False, False)
        subscriber.leave()


async def test_what_holds_a_price_back_is_the_kernel() -> None:
    async with running_gateway(offered("m1")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"])
        await client.hears("image")
        (connection,) = running.gateway._connections
        kernel = connection._transport.underlying_transport.get_extra_info("socket")
        for held in (True, False):
            connection._hold(held)
            assert bool(kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is not held


async def test_a_crowd_that_has_gone_leaves_nobody_held_back() -> None:
    async with running_gateway(offered("m1")) as running, connected(running.port) as stays:
        stays.subscribe(markets=["m1"])
        await stays.hears("image")
        (connection,) = running.gateway._connections
        kernel = connection._transport.underlying_transport.get_extra_info("socket")
        async with AsyncExitStack() as crowd, asyncio.timeout(PATIENCE_S):
            for _ in range(200):
                client = await crowd.enter_async_context(connected(running.port))
                client.subscribe(markets=["m1"])
            while not running.hub.crowded:
                running.change("m1")
                await asyncio.sleep(0)
            assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        async with asyncio.timeout(PATIENCE_S):
            while running.hub.crowded:
                running.change("m1")
                await asyncio.sleep(0.01)
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
