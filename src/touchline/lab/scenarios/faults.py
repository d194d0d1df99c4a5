"""Faults: everything that can be broken is broken, one thing after another, while bettors bet.

Invariant: what users saw of a fault is on record before the next one begins; at the end every market is settled,
so that the checker sees each bet paid.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, Final

from touchline.lab.desk import Desk
from touchline.lab.faults import EXTENTS, FAULTS, WHOLE_WITHIN_S, Breaking, Extent, Stage, suffer
from touchline.lab.records import LineWriter
from touchline.lab.scenario import Lab, Load, Scenario
from touchline.lab.slips import Slips
from touchline.lab.stream_faults import STREAM_FAULTS, part_of
from touchline.lab.ticker import Ticker
from touchline.lab.watch import Seen, Watch

WATCHING: Final = 4  # players who watch
SUFFERING: Final = 6  # players whom faults happen to
FUNDS: Final = "100000.00"
STAKE: Final = "0.10"
RESULTS: Final = {"home": "won", "draw": "lost", "away": "lost"}
SETTLED_WITHIN_S: Final = 600.0


async def break_everything(lab: Lab) -> None:
    """Break one thing after another in one step, and settle everything after it."""
    extent = Extent(**{name: lab.parameter(name) for name in Extent.__slots__})
    instance = lab.platform.instance
    desk = Desk(instance.address)
    with LineWriter(lab.history) as history:
        slips = Slips(instance.address, history, lab.began_s)
        try:
            offer = await desk.open_market()
            bettors = await desk.open_bettors(range(WATCHING + SUFFERING), FUNDS)
            ticker = None
            if lab.pushed:
                ticked = await desk.open_market()
                ticker = Ticker(slips.http, await desk.token("feed"), ticked.market_id)
            stage = Stage(
                extent=extent,
                pids=lab.platform.pids,
                valkey=instance.valkey,
                desk=desk,
                slips=slips,
                bettors=bettors[WATCHING:],
                offer=offer,
                watch=Watch(slips, bettors[:WATCHING], offer, STAKE, ticker),
            )

            faults = _faults(lab)

            async def meanwhile() -> None:
                following = nullcontext() if ticker is None else ticker.running(instance.address)
                async with following, stage.watch.running():
                    await _suffer_all(lab, stage, faults)

            [users] = lab.parameter("users")
            load = Load(users=users, changes_per_s=lab.parameter("changes_per_s"))
            await lab.step("faults", load, len(faults) * (extent.hold_s + 2 * WHOLE_WITHIN_S), meanwhile=meanwhile)
            for market_id in (*lab.markets, offer.market_id):
                await desk.settle(market_id, RESULTS)
            for market_id in (*lab.markets, offer.market_id):
                await desk.until_settled(market_id, None, SETTLED_WITHIN_S)
        finally:
            await slips.close()
            await desk.close()


def _faults(lab: Lab) -> list[tuple[str, Breaking]]:
    """Return what can be broken in the platform that runs; tell what can't."""
    if not lab.pushed:
        return list(FAULTS.values())
    there = lab.platform.pids()
    skipped = [what for name, (what, _) in STREAM_FAULTS.items() if part_of(name) not in {None, *there}]
    for what in skipped:
        lab.screen.tell(f"  {what}: skipped, there is no such part in this platform")
    lab.find("skipped", skipped)
    return [fault for fault in STREAM_FAULTS.values() if fault[0] not in skipped]


async def _suffer_all(lab: Lab, stage: Stage, faults: Sequence[tuple[str, Breaking]]) -> None:
    observations: list[dict[str, Any]] = []
    for what, breaking in faults:
        lab.screen.doing(what, len(observations), len(faults))
        fault, seen = await suffer(stage, what, breaking)
        observations.append(seen)
        lab.fault(fault)
        lab.find("observations", observations)
        lab.screen.tell(f"  {what}: {', '.join(_told(kind, seen[kind]) for kind in stage.watch.kinds)}")


def _told(kind: str, seen: Seen | None) -> str:
    if seen is None or not seen.unavailable_s:
        return f"{kind} never failed"
    again = "" if seen.whole_again_s is None else f", served again after {seen.whole_again_s:.1f} s"
    return f"{kind} failed for {seen.unavailable_s:.1f} s{again}"


FAULTS_SCENARIO: Final = Scenario(
    name="faults",
    shows="what users see while servers die and clients misbehave, and that no money is lost",
    act=break_everything,
    sizes={
        "smoke": {"users": [40], "changes_per_s": 0.2, **asdict(EXTENTS["smoke"])},
        "full": {"users": [300], "changes_per_s": 0.1, **asdict(EXTENTS["full"])},
    },
    own_platform=True,
)
