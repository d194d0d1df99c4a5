"""What a rung of the ladder is for and load alone does not show: lost answers, a settlement, an outage.

Invariant: every bet of a trial is in the run's history, and the platform is whole again when a trial is over.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from touchline.lab.clock import monotonic_s
from touchline.lab.desk import Desk
from touchline.lab.faults import (
    BACK_WITHIN_S,
    EXTENTS,
    Extent,
    NotMended,
    Stage,
    cut_clients_off,
    keep_killing_postgres,
)
from touchline.lab.open_bets import place_open_bets
from touchline.lab.records import Fault, LineWriter
from touchline.lab.scenario import Lab
from touchline.lab.slips import Bettor, Offer, Slips
from touchline.lab.watch import Watch

BETTORS: Final = range(2)
FUNDS: Final = "10000.00"
STAKE: Final = "0.10"
RESULTS: Final = {"home": "won", "draw": "lost", "away": "lost"}
LOOK_S: Final = 0.1
SLOWEST_BETS_PER_S: Final = 20  # a settlement that is slower has stopped
GRACE_S: Final = 60.0


async def lose_answers(lab: Lab, clients: int) -> dict[str, Any]:
    """Break so many clients off before their bet's answer, each asking again; return what they have then.

    Half of them name a key, half do not.
    """
    async with _stage(lab, replace(EXTENTS[lab.size], cut_off=clients)) as stage:
        found = await cut_clients_off(stage)
    for one in found.values():
        one["placed_twice"] = max(0, one["placed_twice"])  # what is refused is not placed at all
    return found


async def settle_open_bets(lab: Lab, rung: str, bets: int) -> dict[str, Any]:
    """Place so many bets on a market of their own and settle it; return how long that took."""
    async with _stage(lab, EXTENTS[lab.size]) as stage:
        market_id = stage.offer.market_id
        placed = await place_open_bets(lab, market_id, bets, name=f"open {rung}")
        lab.screen.doing("settling", 0, placed)
        began_s = monotonic_s()
        await stage.desk.settle(market_id, RESULTS)
        settled = await stage.desk.until_settled(market_id, None, GRACE_S + placed / SLOWEST_BETS_PER_S)
        took_s = monotonic_s() - began_s
    return {"bets": placed, "settled": settled, "seconds": round(took_s, 2)}


async def outlive_postgres(lab: Lab, rung: str, hold_s: float) -> dict[str, Any]:
    """Keep PostgreSQL away for `hold_s`; return what polls and bets meet meanwhile, and when it is over.

    Raises:
        NotMended: it is not over in `BACK_WITHIN_S`.
    """
    async with _stage(lab, replace(EXTENTS[lab.size], hold_s=hold_s)) as stage:
        bettor = stage.bettors[0]
        await stage.slips.get(bettor, f"/odds/{stage.offer.market_id}")
        polls, bets = Looks(), Looks()
        at_s = stage.slips.elapsed_s()
        killing = asyncio.create_task(keep_killing_postgres(stage))
        try:
            await _look_until_done(killing, stage.slips, bettor, stage.offer, polls, bets)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        found = killing.result()
        back_s = await _until_back(stage.slips, bettor, stage.offer)
        until_s = round(stage.slips.elapsed_s(), 3)
    lab.fault(Fault(at_s=round(at_s, 3), until_s=until_s, what=f"PostgreSQL kept down, {rung}"))
    return {"seconds": hold_s, **found, "polls": polls.told(), "bets": bets.told(), "back_s": round(back_s, 2)}


@dataclass(slots=True)
class Looks:
    """What requests of one kind met: done, done with old odds that say so, refused or lost."""

    done: int = 0
    stale: int = 0
    failed: int = 0
    slowest_ms: float = 0.0

    def count(self, status: int | None, took_s: float, *, stale: bool = False) -> None:
        """Count one; a refusal below 500 is an answer like any other."""
        self.slowest_ms = max(self.slowest_ms, 1000 * took_s)
        if status is None or status >= 500:
            self.failed += 1
        elif stale:
            self.stale += 1
        else:
            self.done += 1

    def told(self) -> dict[str, Any]:
        """Return it as it goes on record."""
        counted = {"done": self.done, "stale": self.stale, "failed": self.failed}
        return {**counted, "slowest_ms": round(self.slowest_ms, 1)}


async def _look_until_done(
    killing: "asyncio.Task[Any]", slips: Slips, bettor: Bettor, offer: Offer, polls: Looks, bets: Looks
) -> None:
    """Poll and bet ten times a second, whatever becomes of it, until `killing` is over; wait for the answers."""
    pending: set[asyncio.Task[None]] = set()
    while not killing.done():
        for look in (_poll(slips, bettor, offer, polls), _bet(slips, bettor, offer, bets)):
            task = asyncio.create_task(look)
            pending.add(task)
            task.add_done_callback(pending.discard)
        await asyncio.wait({killing}, timeout=LOOK_S)
    if pending:
        await asyncio.wait(pending)


async def _poll(slips: Slips, bettor: Bettor, offer: Offer, polls: Looks) -> None:
    began_s = monotonic_s()
    status, _, document = await slips.get(bettor, f"/odds/{offer.market_id}")
    polls.count(status, monotonic_s() - began_s, stale="stale_since" in document)


async def _bet(slips: Slips, bettor: Bettor, offer: Offer, bets: Looks) -> None:
    began_s = monotonic_s()
    sent = await slips.send(bettor, slips.ask(bettor, offer, STAKE, key=f"look {offer.market_id} {began_s}"))
    bets.count(sent.status, monotonic_s() - began_s)


async def _until_back(slips: Slips, bettor: Bettor, offer: Offer) -> float:
    """Return after how many seconds polls and bets are done again as if nothing had been."""
    began_s = monotonic_s()
    while monotonic_s() < began_s + BACK_WITHIN_S:
        polls, bets = Looks(), Looks()
        await asyncio.gather(_poll(slips, bettor, offer, polls), _bet(slips, bettor, offer, bets))
        if polls.done and bets.done:
            return monotonic_s() - began_s
        await asyncio.sleep(LOOK_S)
    raise NotMended(f"{BACK_WITHIN_S:g} s after PostgreSQL was let be it was still away")


@asynccontextmanager
async def _stage(lab: Lab, extent: Extent) -> AsyncIterator[Stage]:
    """Yield a market and two players of a trial's own."""
    instance = lab.platform.instance
    desk = Desk(instance.address)
    with LineWriter(lab.history) as history:
        slips = Slips(instance.address, history, lab.began_s)
        try:
            offer = await desk.open_market()
            bettors = await desk.open_bettors(BETTORS, FUNDS)
            yield Stage(
                extent=extent,
                pids=lab.platform.pids,
                valkey=instance.valkey,
                desk=desk,
                slips=slips,
                bettors=bettors,
                offer=offer,
                watch=Watch(slips, bettors, offer, STAKE),
            )
        finally:
            await slips.close()
            await desk.close()
