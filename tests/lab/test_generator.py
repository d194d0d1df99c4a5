"""Virtual bettors against a real server: what they send and when, and what they keep of it."""

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest

from tests.lab.tiny_server import MARKET, Request, TinyServer, ok
from touchline.lab.bettors import BALANCE, BET, ODDS, REOFFER, RETRY, WENT_BACK, Bettor, Player, Trade
from touchline.lab.clock import monotonic_s
from touchline.lab.generator import (
    BALANCE_INTERVAL_S,
    BET_INTERVAL_S,
    POLL_INTERVAL_S,
    Orders,
    Schedule,
    generate,
)
from touchline.lab.http_client import DROPPED, RESET, HttpClient
from touchline.lab.records import BETS, BetAttempt, LineWriter, read_lines
from touchline.lab.samples import Sample, Tally, merge

PLAYER = Player("p1", "a token")
PLACED = b'{"bet_id":"b1","odds":"2.10"}'
CHANGED = b'{"code":"ODDS_CHANGED","current_odds":"2.20","current_odds_version":4}'
AWAY = b'{"code":"UNAVAILABLE","retry_after_s":0}'


def orders(server: TinyServer, run_dir: Path, **changed: object) -> Orders:
    """Thirty bettors in a hurry, for a second."""
    now = monotonic_s()
    hurried = Orders(
        address=server.address,
        run_began_s=now,
        starts_at_s=now + 0.1,
        ends_at_s=now + 1.1,
        seed="1",
        keys="k",
        first_user=0,
        users=30,
        players=[PLAYER],
        markets=["m"],
        history=str(run_dir / BETS),
        poll_interval_s=0.3,
        bet_interval_s=1.05,
        balance_interval_s=2.1,
    )
    return msgspec.structs.replace(hurried, **changed)


async def counted(told: Orders, enough: asyncio.Event | None = None) -> dict[str, Sample]:
    """What a generator tells, added up by kind."""
    sums: dict[str, Sample] = {}

    def hear(samples: list[Sample]) -> None:
        for sample in samples:
            if sums.setdefault(sample.kind, sample) is not sample:
                merge(sums[sample.kind], sample)

    await generate(told, hear, enough or asyncio.Event())
    return sums


async def good(request: Request) -> bytes:
    return ok(PLACED, "201 Created") if request.method == "POST" else ok()


async def test_everyone_polls_once_an_interval_and_the_rest_keeps_the_mix(tmp_path: Path) -> None:
    async with TinyServer(good).running() as server:
        sums = await counted(orders(server, tmp_path))
    assert sums[ODDS].offered in range(98, 102)  # 30 bettors, 3.33 intervals, spread evenly
    assert sums[ODDS].statuses == {"200": sums[ODDS].offered}
    assert len(sums[ODDS].latencies_us) == len(sums[ODDS].late_us) == sums[ODDS].offered
    assert 0 < sums[BALANCE].offered < sums[BET].offered < sums[ODDS].offered
    sent = Counter(request.path for request in server.requests)
    assert sent["/odds/m"] == sums[ODDS].offered + 1  # the lobby's look is nobody's poll
    attempts = list(read_lines(tmp_path / BETS, BetAttempt))
    assert len(attempts) == sums[BET].offered
    assert len({attempt.key for attempt in attempts}) == len(attempts)
    assert {(a.status, a.odds, a.odds_version, a.attempt) for a in attempts} == {(201, "2.10", 3, 1)}
    assert all(a.sent_at <= a.answered_at for a in attempts if a.answered_at)


def test_the_intervals_make_the_seeds_mix() -> None:
    rates = [1 / POLL_INTERVAL_S, 1 / BET_INTERVAL_S, 1 / BALANCE_INTERVAL_S]
    assert [rate / sum(rates) for rate in rates] == pytest.approx([0.7, 0.2, 0.1])


def test_a_schedule_has_the_rates_that_it_is_given() -> None:
    schedule = Schedule(Random(1))

    async def fixed(due_s: float) -> None: ...

    async def chance(due_s: float) -> None: ...

    schedule.add(fixed, 3.0, 0.5, fixed=True)
    schedule.add(chance, 10.5, 0.0, fixed=False)
    taken = []
    while schedule.next_s() < 30_000:
        taken.append(schedule.take())
    assert [due_s for _, due_s in taken] == sorted(due_s for _, due_s in taken)
    fixed_due = [due_s for act, due_s in taken if act == fixed]
    assert fixed_due[:3] == [0.5, 3.5, 6.5]
    assert len(taken) - len(fixed_due) == pytest.approx(
        30_000 / 10.5, rel=0.06
    )  # three sigmas of a Poisson process


async def test_what_the_server_keeps_waiting_is_waited_for_from_when_it_was_due(tmp_path: Path) -> None:
    turn = asyncio.Semaphore(1)

    async def one_by_one(request: Request) -> bytes:
        async with turn:
            await asyncio.sleep(0.02)  # the server's own work, which is what is measured
        return await good(request)

    async with TinyServer(one_by_one).running() as server:
        sums = await counted(orders(server, tmp_path))
    assert sums[ODDS].offered in range(98, 102)  # an open loop: nobody waits for an answer to ask again
    assert max(sums[ODDS].latencies_us) > 500_000  # though 20 ms each would be 2 s of work in 1 s


async def test_enough_is_enough(tmp_path: Path) -> None:
    async with TinyServer(good).running() as server:
        enough = asyncio.Event()
        enough.set()
        sums = await counted(orders(server, tmp_path, ends_at_s=monotonic_s() + 3_600), enough)
    assert sums == {}


class Stage:
    """One bettor with a server whose answers a test lists."""

    def __init__(self, run_dir: Path, *bets: bytes | None) -> None:
        self._bets = iter(bets)
        self.server = TinyServer(self._answer)
        self.markets = [MARKET]
        self.tally = Tally(monotonic_s())
        self.history = LineWriter(run_dir / BETS)

    async def _answer(self, request: Request) -> bytes | None:
        if request.method == "GET":
            return ok(self.markets.pop(0) if len(self.markets) > 1 else self.markets[0], head=b"Etag: v\r\n")
        return next(self._bets)

    async def play(self, *acts: str, ends_s: float = 3_600.0) -> dict[str, Sample]:
        """Let the bettor do what is named, and return what was counted."""
        async with self.server.running():
            client = HttpClient(self.server.address, connections_max=2, waiting_max=9, timeout_s=5)
            with self.history:
                now = monotonic_s()
                trade = Trade(client, self.tally, self.history, now, now + ends_s, "k")
                bettor = Bettor(trade, 7, PLAYER, "m", None, "seed")
                for act in acts:
                    await getattr(bettor, act)(monotonic_s())
            await client.close()
        sums: dict[str, Sample] = {}
        for sample in self.tally.take():
            if sums.setdefault(sample.kind, sample) is not sample:
                merge(sums[sample.kind], sample)
        return sums


def kept(run_dir: Path) -> list[BetAttempt]:
    return list(read_lines(run_dir / BETS, BetAttempt))


async def test_a_moved_price_is_offered_again_once_under_another_key(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ok(CHANGED, "409 Conflict"), ok(CHANGED, "409 Conflict"))
    sums = await stage.play("poll", "bet")
    assert (sums[BET].codes, sums[REOFFER].codes) == ({"ODDS_CHANGED": 1}, {"ODDS_CHANGED": 1})
    first, second = kept(tmp_path)
    assert (first.odds, first.odds_version, second.odds, second.odds_version) == ("2.10", 3, "2.20", 4)
    assert first.key != second.key
    assert (first.attempt, second.attempt, first.code) == (1, 1, "ODDS_CHANGED")


async def test_what_was_not_answered_is_sent_again_as_it_was_under_its_key(tmp_path: Path) -> None:
    stage = Stage(tmp_path, None, ok(AWAY, "503 Service Unavailable"), ok(PLACED, "201 Created"))
    sums = await stage.play("poll", "bet")
    assert (sums[BET].errors, sums[BET].codes) == (1, {RESET: 1})
    assert sums[RETRY].statuses == {"503": 1, "201": 1}
    attempts = kept(tmp_path)
    assert [(a.attempt, a.status, a.code) for a in attempts] == [
        (1, None, RESET),
        (2, 503, "UNAVAILABLE"),
        (3, 201, None),
    ]
    assert len({a.key for a in attempts}) == 1
    assert attempts[2].bet == {"bet_id": "b1", "odds": "2.10"}
    bodies = {request.body for request in stage.server.requests if request.method == "POST"}
    assert len(bodies) == 1


async def test_a_bettor_gives_up_after_three_retries(tmp_path: Path) -> None:
    stage = Stage(tmp_path, *[ok(AWAY, "503 Service Unavailable")] * 9)
    await stage.play("poll", "bet")
    assert [a.attempt for a in kept(tmp_path)] == [1, 2, 3, 4]


async def test_nothing_is_sent_again_after_the_end(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ok(CHANGED, "409 Conflict"))
    sums = await stage.play("poll", "bet", ends_s=0.5)
    assert REOFFER not in sums


@pytest.mark.parametrize("shown", [MARKET.replace(b"active", b"suspended"), MARKET.replace(b'"2.10"', b"null")])
async def test_nobody_bets_on_what_is_not_offered(tmp_path: Path, shown: bytes) -> None:
    stage = Stage(tmp_path)
    stage.markets = [shown]
    assert BET not in await stage.play("bet", "poll", "bet")


async def test_a_version_that_goes_back_is_noticed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.markets = [MARKET, MARKET.replace(b'"odds_version":3', b'"odds_version":2'), MARKET]
    sums = await stage.play("poll", "poll", "poll")
    assert sums[ODDS].codes == {WENT_BACK: 1}
    assert b"If-None-Match: v\r\n" in stage.server.requests[-1].head


async def test_a_bet_that_was_dropped_is_in_no_history(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ok(PLACED, "201 Created"))
    async with stage.server.running():
        client = HttpClient(stage.server.address, connections_max=1, waiting_max=1, timeout_s=5)
        with stage.history:
            trade = Trade(client, stage.tally, stage.history, 0.0, 0.0, "k")
            bettor = Bettor(trade, 7, PLAYER, "m", None, "seed")
            await bettor.poll(monotonic_s())
            await client.close()  # from here on nothing may wait
            await bettor.bet(monotonic_s())
    [bet] = [sample for sample in stage.tally.take() if sample.kind == BET]
    assert bet.codes == {DROPPED: 1}
    assert kept(tmp_path) == []
