"""Compare: V0 and V1 one after the other, under the same users, the same bets and the same prices.

Invariant: what is left to chance is the same on both, so that they differ in nothing but what is compared.
"""

import asyncio
from typing import Any, Final

from touchline.lab.bettors import BET
from touchline.lab.desk import Desk
from touchline.lab.evidence import ARCHITECTURES
from touchline.lab.measures import refused_share
from touchline.lab.open_bets import place_open_bets
from touchline.lab.scenario import Lab, Load, Scenario
from touchline.lab.scenarios.settlement import LOOK_S, limit_of, settle_market

COMPARED: Final = ("poll", "stream")


async def compare(lab: Lab) -> None:
    """Let bettors bet on one, settle an event under them, and do the same on the other."""
    for architecture in COMPARED:
        if lab.platform.instance.architecture != architecture:
            await lab.move_to(architecture)
        await _load(lab, architecture)


async def _load(lab: Lab, architecture: str) -> None:
    name, [users] = ARCHITECTURES[architecture], lab.parameter("users")
    [market_id] = await lab.maker.open_markets(1)
    placed = await place_open_bets(lab, market_id, lab.parameter("open_bets"))
    seconds, warm_s = lab.parameter("seconds"), lab.parameter("warm_s")
    for rate in lab.parameter("changes_per_s"):
        load = Load(users=users, changes_per_s=rate, bet_interval_s=lab.parameter("bet_interval_s"))
        settings = {"architecture": architecture, "changes_per_s": f"{rate:g}"}
        results = await lab.step(f"{name}, {rate:g}/s", load, seconds, warm_s=warm_s, settings=settings)
        share = refused_share(result for result in results if result.kind == BET)
        lab.screen.tell(f"  refused for a moved price: {'no bets' if share is None else f'{share:.2%}'}")
    desk = Desk(lab.platform.instance.address)
    found: dict[str, Any] = {}
    try:

        async def meanwhile() -> None:
            await asyncio.sleep(LOOK_S)
            found.update(await settle_market(lab, desk, market_id, limit_of(placed)))

        settling = {"architecture": architecture, "settling": "true"}
        await lab.step(f"{name}, settling", load, limit_of(placed), settings=settling, meanwhile=meanwhile)
    finally:
        await desk.close()
    lab.find(f"settlement on {name}", found)


COMPARE: Final = Scenario(
    name="compare",
    shows="V0 and V1 side by side: how old odds are, what is refused, how fast bets and settlement are",
    act=compare,
    sizes={
        "smoke": {
            "users": [80],
            "seconds": 6,
            "warm_s": 3,
            "changes_per_s": [0.5],
            "bet_interval_s": 4.0,
            "open_bets": 200,
        },
        "full": {
            "users": [400],
            "seconds": 35,
            "warm_s": 6,
            "changes_per_s": [0.1, 0.5, 2.0],
            "bet_interval_s": 10.5,
            "open_bets": 10_000,
        },
    },
    own_platform=True,
    in_turn=True,
)
