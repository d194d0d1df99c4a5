"""The lab's stream client against a real server: what it shows, what it counts, how it comes back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from picows import WSCloseCode, WSMsgType

from tests.lab.test_generator import PLACED
from tests.lab.tiny_server import Request, TinyServer, ok
from tests.lab.tiny_stream import Subscriber, TinyStream, market
from touchline.lab import stream_client
from touchline.lab.bettors import BALANCE, BET, ODDS, WENT_BACK, Player, ShownMarket
from touchline.lab.clock import monotonic_s
from touchline.lab.generator import Orders, generate
from touchline.lab.http_client import REFUSED, RESET, TIMEOUT
from touchline.lab.records import BETS, PRICE, BetAttempt, read_lines
from touchline.lab.samples import Sample, Tally, merge
from touchline.lab.stream_client import (
    CONFLATED,
    LOST,
    NEW_IMAGE,
    RESUMED,
    SILENT,
    SKIPPED,
    SUBSCRIBE,
    Line,
)


@dataclass
class Following:
    """A client on a server of the test's own."""

    server: TinyStream
    tally: Tally
    line: Line
    shown: list[ShownMarket] = field(default_factory=list)
    showed: asyncio.Event = field(default_factory=asyncio.Event)

    def show(self, shown: ShownMarket) -> None:
        self.shown.append(shown)
        self.showed.set()

    async def until(self, version: int) -> None:
        """Wait until a version is shown."""
        async with asyncio.timeout(5):
            while not self.shown or self.shown[-1].odds_version != version:
                self.showed.clear()
                await self.showed.wait()

    def sums(self) -> dict[str, Sample]:
        """What was counted since the last call, by kind."""
        found: dict[str, Sample] = {}
        for sample in self.tally.take():
            if found.setdefault(sample.kind, sample) is not sample:
                merge(found[sample.kind], sample)
        return found


@asynccontextmanager
async def following(server: TinyStream | None = None) -> AsyncIterator[Following]:
    """Follow market m."""
    async with (server or TinyStream()).running() as server:
        tally = Tally(monotonic_s())
        on = Following(server, tally, Line(server.address, tally, "seed"))
        on.line.follow(["m"], on.show)
        try:
            yield on
        finally:
            await on.line.close()


async def imaged(on: Following, version: int = 1, **fields: Any) -> Subscriber:
    """The next subscriber, after he has an image."""
    subscriber, _ = await on.server.subscriber()
    subscriber.say(op="image", id="1", epoch="e", cursor=10 + version, markets=[market(version)], **fields)
    await on.until(version)
    return subscriber


async def test_what_is_pushed_is_shown_and_counted_from_when_it_was_made() -> None:
    async with following() as on:
        subscriber, asked = await on.server.subscriber()
        assert asked == {"op": "subscribe", "id": "1", "markets": ["m"], "heartbeat_ms": 5_000}
        subscriber.say(op="image", id="1", epoch="e", cursor=5, markets=[market(3, age_s=600)])
        await on.until(3)
        subscriber.say(op="change", cursor=6, markets=[market(4, age_s=0.5, odds="2.20")])
        subscriber.say(op="heartbeat", cursor=6, at="2026-03-07T15:00:00Z")
        subscriber.say(op="change", cursor=7, markets=[market(5, age_s=0.5)])
        await on.until(5)
        sums = on.sums()
    assert [shown.selections[0].odds for shown in on.shown] == ["2.10", "2.20", "2.10"]
    assert (sums[PRICE].offered, sums[PRICE].statuses, sums[PRICE].codes) == (2, {"200": 2}, {})
    assert all(lag_us >= 500_000 for lag_us in sums[PRICE].latencies_us)  # an image's age is nobody's lag
    assert max(sums[PRICE].latencies_us) < 600_000_000
    assert (sums[SUBSCRIBE].offered, sums[SUBSCRIBE].statuses) == (1, {"200": 1})
    assert len(sums[SUBSCRIBE].latencies_us) == 1


async def test_a_push_that_goes_back_is_noticed_and_not_shown() -> None:
    async with following() as on:
        subscriber = await imaged(on, 3)
        subscriber.say(op="change", cursor=14, markets=[market(2)])
        subscriber.say(op="change", cursor=15, markets=[market(4)])
        await on.until(4)
    assert [shown.odds_version for shown in on.shown] == [3, 4]
    assert on.sums()[PRICE].codes == {WENT_BACK: 1}


async def test_versions_that_are_left_out_are_told_from_those_that_are_conflated() -> None:
    async with following() as on:
        subscriber = await imaged(on, 1)
        subscriber.say(op="change", cursor=14, markets=[market(4)])
        subscriber.say(op="change", cursor=17, markets=[market(9)], conflated="slow_reader")
        subscriber.say(op="change", cursor=18, markets=[market(10)])
        await on.until(10)
    assert on.sums()[PRICE].codes == {SKIPPED: 1, CONFLATED: 1}


async def test_a_lost_connection_is_resumed_where_it_left_off() -> None:
    async with following() as on:
        first = await imaged(on, 1)
        first.say(op="change", cursor=12, markets=[market(2)])
        await on.until(2)
        first.transport.disconnect(graceful=False)
        second, asked = await on.server.subscriber()
        assert asked["resume"] == {"epoch": "e", "cursor": 12}
        second.say(op="change", cursor=40, markets=[market(7, age_s=3)])
        await on.until(7)
        sums = on.sums()
        assert sums[SUBSCRIBE].codes == {LOST: 1, RESUMED: 1}
        assert sums[SUBSCRIBE].offered == 2
        assert sums[PRICE].codes == {}  # what was missed in between was left out by nobody
        assert max(sums[PRICE].latencies_us) >= 3_000_000  # but it came late
        second.transport.disconnect(graceful=False)
        third, asked = await on.server.subscriber()
        assert asked["resume"]["cursor"] == 40
        third.say(op="image", id="1", epoch="f", cursor=1, markets=[market(6)])
        third.say(op="change", cursor=2, markets=[market(8)])
        await on.until(8)
    sums = on.sums()
    assert sums[SUBSCRIBE].codes == {LOST: 1, NEW_IMAGE: 1}
    assert sums[PRICE].codes == {WENT_BACK: 1}


async def test_what_the_server_closes_by_the_rules_is_answered_and_made_again() -> None:
    async with following() as on:
        first = await imaged(on, 1)
        first.transport.send_ping(b"there?")
        assert await first.pongs.get() == b"there?"
        first.transport.send_close(WSCloseCode.GOING_AWAY, b"")
        await first.gone.wait()
        assert first.closed == WSCloseCode.GOING_AWAY.value
        await imaged(on, 2)


async def test_a_frame_in_parts_is_put_together() -> None:
    async with following() as on:
        subscriber = await imaged(on, 1)
        whole = msgspec.json.encode({"op": "change", "cursor": 12, "markets": [market(2)]})
        subscriber.transport.send(WSMsgType.TEXT, whole[:40], fin=False)
        subscriber.transport.send(WSMsgType.CONTINUATION, whole[40:])
        await on.until(2)


@pytest.mark.parametrize(
    ("said", "statuses", "code"),
    [
        (b'{"op":"error","code":"MARKET_NOT_FOUND"}', {"400": 1}, "MARKET_NOT_FOUND"),
        (b"not JSON", {}, RESET),
    ],
)
async def test_an_error_is_an_answer_and_what_can_not_be_read_is_none(
    said: bytes, statuses: dict[str, int], code: str
) -> None:
    async with following() as on:
        subscriber, _ = await on.server.subscriber()
        subscriber.transport.send(WSMsgType.TEXT, said)
        subscriber.transport.disconnect()
        await on.server.subscriber()
        sample = on.sums()[SUBSCRIBE]
    assert sample.statuses == statuses
    assert sample.codes.get(code)


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    server = TinyStream()
    async with server.running():
        pass  # its port is free again, and nobody's
    tally = Tally(monotonic_s())
    line = Line(server.address, tally)
    shown: list[ShownMarket] = []
    line.follow(["m"], shown.append)
    on = Following(server, tally, line)
    while (sample := on.sums().get(SUBSCRIBE)) is None or not sample.errors:
        await asyncio.sleep(0)
    assert sample.codes == {REFUSED: 1}
    async with server.running():
        subscriber, _ = await server.subscriber()
        assert subscriber.transport is not None
        await line.close()


async def test_a_refused_upgrade_is_an_answer() -> None:
    server = TinyStream(refusing=True)
    async with following(server) as on:
        while not (sample := on.sums().get(SUBSCRIBE)) or not sample.statuses:
            await asyncio.sleep(0)
    assert sample.statuses == {"404": 1}


async def test_a_silent_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_client, "SILENT_S", 0.05)
    monkeypatch.setattr(stream_client, "SWEEP_S", 0.02)
    async with following() as on:
        silent = await imaged(on, 1)
        await silent.gone.wait()
        await imaged(on, 2)
        assert on.sums()[SUBSCRIBE].codes[SILENT] == 1


async def test_a_server_that_never_says_anything_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_client, "SUBSCRIBE_TIMEOUT_S", 0.05)
    async with following() as on:
        first, _ = await on.server.subscriber()
        await first.gone.wait()
        await on.server.subscriber()
        assert on.sums()[SUBSCRIBE].codes == {TIMEOUT: 1}


async def test_bettors_whose_prices_are_pushed_do_not_poll_and_bet_at_what_was_pushed(tmp_path: Path) -> None:
    stream = TinyStream()

    async def answer(request: Request) -> bytes:
        return ok(PLACED, "201 Created") if request.method == "POST" else ok()

    async with TinyServer(answer).running() as server, stream.running():

        async def serve() -> None:
            for number in range(6):
                subscriber, asked = await stream.subscriber()
                assert asked["markets"] == ["m"]
                subscriber.say(op="image", id="1", epoch="e", cursor=number, markets=[market(7, odds="2.50")])

        serving = asyncio.create_task(serve())
        now = monotonic_s()
        sums: dict[str, Sample] = {}

        def hear(samples: list[Sample]) -> None:
            for sample in samples:
                if sums.setdefault(sample.kind, sample) is not sample:
                    merge(sums[sample.kind], sample)

        orders = Orders(
            address=server.address,
            run_began_s=now,
            starts_at_s=now + 0.5,
            ends_at_s=now + 1.5,
            seed="1",
            keys="k",
            first_user=0,
            users=6,
            players=[Player("p1", "a token")],
            markets=["m"],
            history=str(tmp_path / BETS),
            poll_interval_s=0.3,
            bet_interval_s=0.3,
            balance_interval_s=0.6,
            stream=stream.address,
        )
        await generate(orders, hear, asyncio.Event())
        await serving
    assert sums[SUBSCRIBE].statuses == {"200": 6}
    assert ODDS not in sums
    assert sums[BET].offered > sums[BALANCE].offered > 0
    attempts = list(read_lines(tmp_path / BETS, BetAttempt))
    assert Counter((a.odds, a.odds_version) for a in attempts) == {("2.50", 7): sums[BET].offered}
    assert all(attempt.key for attempt in attempts)
    assert [request.path for request in server.requests].count("/odds/m") == 1  # the lobby's look
