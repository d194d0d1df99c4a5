"""Settlement: one market with many open bets is decided while bettors go on betting elsewhere.

Invariant: the open bets are placed as any customer places them, over HTTP, and are in the history with the others.
"""

import asyncio
from typing import Any, Final

from touchline.lab.desk import Desk
from touchline.lab.open_bets import place_open_bets
from touchline.lab.records import METERS, LineWriter, Meter
from touchline.lab.scenario import Lab, Load, Scenario

RESULTS: Final = {"home": "won", "draw": "lost", "away": "lost"}
LOOK_S: Final = 0.5
SLOWEST_BETS_PER_S: Final = 20  # a settlement that is slower has stopped
GRACE_S: Final = 60.0
PART: Final = "settlement progress"


async def settle(lab: Lab) -> None:
    """Fill a market, let bettors bet elsewhere, and decide it under them."""
    [market_id] = await lab.maker.open_markets(1)
    bets = lab.parameter("open_bets")
    placed = await place_open_bets(lab, market_id, bets)
    lab.find("open_bets", placed)
    [users] = lab.parameter("users")
    load = Load(users=users, changes_per_s=lab.parameter("changes_per_s"))
    await lab.step("before", load, lab.parameter("seconds"), warm_s=lab.parameter("warm_s"))
    limit_s = limit_of(placed)
    desk = Desk(lab.platform.instance.address)
    try:

        async def meanwhile() -> None:
            await asyncio.sleep(LOOK_S)
            await settle_market(lab, desk, market_id, limit_s)

        await lab.step("settling", load, limit_s, meanwhile=meanwhile)
    finally:
        await desk.close()
    await lab.step("after", load, lab.parameter("seconds"))


def limit_of(bets: int) -> float:
    """Return the seconds after which a settlement of so many bets has stopped."""
    return GRACE_S + bets / SLOWEST_BETS_PER_S


async def settle_market(lab: Lab, desk: Desk, market_id: str, limit_s: float) -> dict[str, Any]:
    """Decide the market and watch until every bet is paid, or `limit_s` has passed; return what came of it."""
    began_s, done, total, finished = lab.now_s(), 0, 0, False
    with LineWriter(lab.run_dir / METERS) as meters:
        await desk.settle(market_id, RESULTS)
        while not finished and lab.now_s() < began_s + limit_s:
            await asyncio.sleep(LOOK_S)
            done, total, finished = await desk.bets_settled(market_id)
            extra: dict[str, Any] = {"bets_done": done, "bets_total": total}
            at_s = round(lab.now_s(), 3)
            meters.append(Meter(t_s=at_s, part=PART, cpu_percent=0.0, rss_mib=0.0, threads=0, extra=extra))
            meters.flush()
    took_s = round(lab.now_s() - began_s, 2)
    found = {"bets": total, "settled": done, "seconds": took_s, "finished": finished}
    lab.find("settlement", found)
    lab.screen.tell(f"  {done:,} of {total:,} bets settled in {took_s:,.1f} s, {done / max(took_s, 0.01):,.0f}/s")
    return found


SETTLEMENT: Final = Scenario(
    name="settlement",
    shows="how long many open bets take to settle, and what bettors notice of it",
    act=settle,
    sizes={
        "smoke": {"users": [60], "open_bets": 300, "seconds": 6, "warm_s": 1, "changes_per_s": 0.2},
        "full": {"users": [500], "open_bets": 50_000, "seconds": 30, "warm_s": 5, "changes_per_s": 0.1},
    },
)
