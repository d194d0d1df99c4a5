"""Each fault of the lab on `stream` at smoke size: odds are pushed on, users see what they should."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.test_faults import PLAYERS, WATCHING
from tests.platforms import OwnPlatform
from touchline.adapters.shards import ANSWER_S
from touchline.lab.checker import check
from touchline.lab.clock import monotonic_s
from touchline.lab.desk import Desk
from touchline.lab.faults import EXTENTS, Extent, Stage, suffer
from touchline.lab.records import BETS, Fault, LineWriter
from touchline.lab.slips import Slips
from touchline.lab.stream_faults import PART, STALLED_SHARE, STREAM_FAULTS
from touchline.lab.ticker import Ticker
from touchline.lab.watch import Seen, Watch

SKIPPED = {"relay-killed"}  # there is a relay only with Kafka


@pytest.fixture(scope="module")
def own(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform to break."""
    settings = {"architecture": "stream", "bets_per_minute_max": "1000000"}
    own = OwnPlatform(servers_dir / "stream-faults", settings=settings)
    own.up()
    yield own
    own.remove()


@asynccontextmanager
async def stage(own: OwnPlatform, run_dir: Path, extent: Extent) -> AsyncIterator[Stage]:
    """A stage on the platform, with bettors, a watch and a ticker of its own."""
    desk = Desk(own.address)
    with LineWriter(run_dir / BETS) as history:
        slips = Slips(own.address, history, monotonic_s())
        try:
            offer, ticked = await desk.open_market(), await desk.open_market()
            bettors = await desk.open_bettors(range(PLAYERS), "10000.00")
            ticker = Ticker(slips.http, await desk.token("feed"), ticked.market_id)
            async with ticker.running(own.address):
                yield Stage(
                    extent=extent,
                    pids=lambda: {record.name: record.pid for record in own.instance.parts},
                    valkey=own.instance.valkey,
                    desk=desk,
                    slips=slips,
                    bettors=bettors[WATCHING:],
                    offer=offer,
                    watch=Watch(slips, bettors[:WATCHING], offer, "0.10", ticker),
                )
        finally:
            await slips.close()
            await desk.close()


async def suffered(
    own: OwnPlatform, name: str, run_dir: Path, extent: Extent = EXTENTS["smoke"]
) -> tuple[Fault, dict[str, Any]]:
    """Break something while it is watched, settle what was bet on, and have the checker look."""
    async with stage(own, run_dir, extent) as on:
        async with on.watch.running():
            fault, seen = await suffer(on, *STREAM_FAULTS[name])
        await on.desk.settle(on.offer.market_id, {"home": "won", "draw": "lost", "away": "lost"})
        await on.desk.until_settled(on.offer.market_id, None, 60)
    checks = await check(own.instance.postgres, run_dir / BETS, stream={on.offer.market_id: 1})
    assert checks.ok, [rule for rule in checks.rules if rule.violations]
    assert {rule.name: rule.checked for rule in checks.rules}["acknowledged"] > 0
    return fault, seen


POLLED, BALANCE, BET, PUSHED = {"200"}, {"200 session"}, {"201"}, {"200"}
BALANCES = {"200 session", "200 database"}  # without the session cache PostgreSQL answers
AWAY, NO_POD, CUT, HUNG = "503 UNAVAILABLE", "502 UNAVAILABLE", "RESET", "TIMEOUT"


def answers(seen: dict[str, Any]) -> tuple[set[str], set[str], set[str], set[str]]:
    """What polls, balances, bets and pushes were answered with, each at least once."""
    kinds: list[Seen] = [seen[kind] for kind in ("odds", "balance", "bet", "push")]
    polled, balances, bets, pushes = (set(kind.answers) for kind in kinds)
    return polled, balances, bets, pushes


async def test_while_postgresql_is_away_odds_are_polled_and_pushed_on(own: OwnPlatform, tmp_path: Path) -> None:
    # Longer than a bet waits for its writer, so that some are refused and do not only come late.
    away = replace(EXTENTS["smoke"], hold_s=ANSWER_S + 3)
    _, seen = await suffered(own, "postgres-kept-down", tmp_path, away)
    assert answers(seen) == (POLLED, BALANCE, BET | {AWAY}, PUSHED)


async def test_bets_may_wait_out_a_postgresql_that_is_soon_back(own: OwnPlatform, tmp_path: Path) -> None:
    _, seen = await suffered(own, "postgres-killed", tmp_path)
    polled, balances, bets, pushes = answers(seen)
    assert (polled, balances, pushes) == (POLLED, BALANCE, PUSHED)
    assert BET <= bets <= BET | {AWAY}


async def test_without_the_authority_on_odds_polls_go_on_and_nothing_is_bet(
    own: OwnPlatform, tmp_path: Path
) -> None:
    _, seen = await suffered(own, "odds-killed", tmp_path)
    polled, balances, bets, pushes = answers(seen)
    assert (polled, balances) == (POLLED, BALANCE)
    assert BET <= bets <= BET | {AWAY}
    assert PUSHED <= pushes <= PUSHED | {AWAY, HUNG}


@pytest.mark.parametrize("name", ["valkey-killed", "valkey-full"])
async def test_without_the_session_cache_everything_goes_on(own: OwnPlatform, tmp_path: Path, name: str) -> None:
    _, seen = await suffered(own, name, tmp_path)
    assert answers(seen) == (POLLED, BALANCES, BET, PUSHED)


async def test_a_subscriber_of_a_killed_gateway_goes_on_where_he_was(own: OwnPlatform, tmp_path: Path) -> None:
    _, seen = await suffered(own, "gateway-killed", tmp_path)
    polled, balances, bets, pushes = answers(seen)
    assert (polled, balances, bets) == (POLLED, BALANCE, BET)
    assert PUSHED <= pushes <= PUSHED | {HUNG}
    assert seen["subscription"]["connection_lost"] == 1
    assert seen["subscription"]["made"] == 1


@pytest.mark.parametrize("name", ["writer-killed", "history-killed"])
async def test_a_killed_writer_or_history_worker_costs_no_poll_and_no_push(
    own: OwnPlatform, tmp_path: Path, name: str
) -> None:
    _, seen = await suffered(own, name, tmp_path)
    polled, balances, bets, pushes = answers(seen)
    assert (polled, balances, pushes) == (POLLED, BALANCE, PUSHED)
    assert BET <= bets <= (BET | {AWAY} if name == "writer-killed" else BET)


@pytest.mark.parametrize("name", ["settlement-killed", "writer-killed-paying"])
async def test_a_part_that_is_killed_while_it_pays_pays_each_bet_once(
    own: OwnPlatform, tmp_path: Path, name: str
) -> None:
    _, seen = await suffered(own, name, tmp_path)
    assert seen["settled"] == seen["bets"] == EXTENTS["smoke"].bets
    assert seen["killed_after"][0] == 0
    assert answers(seen)[3] == PUSHED


@pytest.mark.parametrize("name", ["pod-killed", "pods-unhealthy", "pods-frozen"])
async def test_what_pods_had_begun_is_done_once(own: OwnPlatform, tmp_path: Path, name: str) -> None:
    _, seen = await suffered(own, name, tmp_path)
    for found, right in zip(answers(seen), (POLLED, BALANCE, BET, PUSHED), strict=True):
        assert right <= found <= right | {AWAY, NO_POD, CUT, HUNG}


async def test_a_client_that_was_cut_off_has_one_bet_by_his_key(own: OwnPlatform, tmp_path: Path) -> None:
    _, seen = await suffered(own, "clients-cut-off", tmp_path)
    assert answers(seen) == (POLLED, BALANCE, BET, PUSHED)
    assert seen["with_key"] == {"meant": 24, "placed": 24, "placed_twice": 0}
    assert "without_key" not in seen  # a bet without one is refused


@pytest.mark.parametrize("name", ["clients-slow", "subscribers-stalled"])
async def test_slow_clients_keep_nobody_from_his_answer(own: OwnPlatform, tmp_path: Path, name: str) -> None:
    _, seen = await suffered(own, name, tmp_path)
    assert answers(seen) == (POLLED, BALANCE, BET, PUSHED)
    if name == "subscribers-stalled":
        assert seen["stalled_subscribers"] == EXTENTS["smoke"].slow // STALLED_SHARE


def test_every_fault_is_tried_here_and_needs_a_part_that_there_is(own: OwnPlatform) -> None:
    text = Path(__file__).read_text("utf-8")
    assert [name for name in STREAM_FAULTS if f'"{name}"' not in text] == []
    there = {record.name for record in own.instance.parts}
    assert {name for name, part in PART.items() if part not in there} == SKIPPED
