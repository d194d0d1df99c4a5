"""Each fault of the lab at smoke size, on a running platform: users see what they should, and no money is lost."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.platforms import OwnPlatform
from touchline.lab import faults
from touchline.lab.checker import check
from touchline.lab.clock import monotonic_s
from touchline.lab.desk import Desk
from touchline.lab.faults import EXTENTS, FAULTS, SIPPERS, NotMended, Stage, suffer
from touchline.lab.records import BETS, Fault, LineWriter
from touchline.lab.slips import Slips
from touchline.lab.watch import Seen, Watch

PLAYERS, WATCHING = 8, 4


@pytest.fixture(scope="module")
def own(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform to break."""
    own = OwnPlatform(servers_dir / "faults", settings={"bets_per_minute_max": "1000000"})
    own.up()
    yield own
    own.remove()


@asynccontextmanager
async def stage(own: OwnPlatform, run_dir: Path) -> AsyncIterator[Stage]:
    """A stage on the platform, with bettors and a watch of its own."""
    desk = Desk(own.address)
    with LineWriter(run_dir / BETS) as history:
        slips = Slips(own.address, history, monotonic_s())
        try:
            offer = await desk.open_market()
            bettors = await desk.open_bettors(range(PLAYERS), "10000.00")
            yield Stage(
                extent=EXTENTS["smoke"],
                pids=lambda: {record.name: record.pid for record in own.instance.parts},
                valkey=own.instance.valkey,
                desk=desk,
                slips=slips,
                bettors=bettors[WATCHING:],
                offer=offer,
                watch=Watch(slips, bettors[:WATCHING], offer, "0.10"),
            )
        finally:
            await slips.close()
            await desk.close()


async def suffered(own: OwnPlatform, name: str, run_dir: Path) -> tuple[Fault, dict[str, Any]]:
    """Break something while it is watched, settle what was bet on, and have the checker look."""
    async with stage(own, run_dir) as on:
        async with on.watch.running():
            fault, seen = await suffer(on, *FAULTS[name])
        await on.desk.settle(on.offer.market_id, {"home": "won", "draw": "lost", "away": "lost"})
        await on.desk.until_settled(on.offer.market_id, None, 60)
    checks = await check(own.instance.postgres, run_dir / BETS)
    assert checks.ok, [rule for rule in checks.rules if rule.violations]
    assert {rule.name: rule.checked for rule in checks.rules}["acknowledged"] > 0
    return fault, seen


POLLED, BET = {"200"}, {"201"}
BALANCES = {"200 session", "200 database"}  # without the session cache PostgreSQL answers
AWAY, NO_POD, HUNG = "503 UNAVAILABLE", "502 UNAVAILABLE", "TIMEOUT"


def answers(seen: dict[str, Any]) -> tuple[set[str], set[str], set[str]]:
    """What polls, balances and bets were answered with, each at least once."""
    kinds: list[Seen] = [seen[kind] for kind in ("odds", "balance", "bet")]
    polled, balances, bets = (set(kind.answers) for kind in kinds)
    return polled, balances, bets


@pytest.mark.parametrize("name", ["postgres-killed", "postgres-kept-down"])
async def test_while_postgresql_is_away_balances_go_on(own: OwnPlatform, tmp_path: Path, name: str) -> None:
    _, seen = await suffered(own, name, tmp_path)
    assert answers(seen) == (POLLED | {AWAY}, {"200 session"}, BET | {AWAY})


@pytest.mark.parametrize("name", ["valkey-killed", "valkey-full"])
async def test_without_the_session_cache_everything_goes_on(own: OwnPlatform, tmp_path: Path, name: str) -> None:
    _, seen = await suffered(own, name, tmp_path)
    assert answers(seen) == (POLLED, BALANCES, BET)
    assert seen.get("evicted") != 0


async def test_a_killed_settlement_pays_each_bet_once(own: OwnPlatform, tmp_path: Path) -> None:
    _, seen = await suffered(own, "settlement-killed", tmp_path)
    assert answers(seen) == (POLLED, {"200 session"}, BET)
    assert seen["settled"] == seen["bets"] == EXTENTS["smoke"].bets
    assert [0 < done < seen["bets"] for done in seen["killed_after"]] == [True] * EXTENTS["smoke"].kills


async def test_while_every_pod_is_unhealthy_the_balancer_says_502(own: OwnPlatform, tmp_path: Path) -> None:
    _, seen = await suffered(own, "pods-unhealthy", tmp_path)
    assert answers(seen) == (POLLED | {NO_POD}, {"200 session", NO_POD}, BET | {NO_POD})


async def test_what_frozen_pods_had_begun_is_done_once(own: OwnPlatform, tmp_path: Path) -> None:
    _, seen = await suffered(own, "pods-frozen", tmp_path)
    for found, right in zip(answers(seen), (POLLED, {"200 session"}, BET), strict=True):
        assert right <= found <= right | {NO_POD, HUNG}


async def test_a_client_that_was_cut_off_has_one_bet_by_his_key(own: OwnPlatform, tmp_path: Path) -> None:
    _, seen = await suffered(own, "clients-cut-off", tmp_path)
    assert answers(seen) == (POLLED, {"200 session"}, BET)
    assert seen["with_key"]["placed_twice"] == 0
    assert seen["without_key"]["placed_twice"] > 0  # nothing can tell that he means the same bet


async def test_slow_clients_keep_nobody_from_his_answer(own: OwnPlatform, tmp_path: Path) -> None:
    _, seen = await suffered(own, "clients-slow", tmp_path)
    assert answers(seen) == (POLLED, {"200 session"}, BET)
    assert (seen["slow_senders"], seen["slow_readers"]) == (
        EXTENTS["smoke"].slow,
        EXTENTS["smoke"].slow // SIPPERS,
    )


async def test_a_part_that_does_not_come_back_is_told(
    own: OwnPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "BACK_WITHIN_S", 0.1)
    async with stage(own, tmp_path) as broken:
        with pytest.raises(NotMended, match=r"nothing of that name did not come back in 0\.1 s"):
            await broken.kill("nothing of that name")


def test_every_fault_is_tried_here() -> None:
    text = Path(__file__).read_text("utf-8")
    assert [name for name in FAULTS if f'"{name}"' not in text] == []
