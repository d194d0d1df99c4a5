"""Soak: one load for long, with a market settled now and then: what grows, what leaks, what slows down."""

from typing import Final

from touchline.lab.desk import Desk
from touchline.lab.scenario import Lab, Load, Scenario

RESULTS: Final = {"home": "lost", "draw": "lost", "away": "won"}
SETTLED_WITHIN_S: Final = 600.0


async def soak(lab: Lab) -> None:
    """Go on and on; after each stretch the oldest market is settled and a new one takes its place."""
    [users] = lab.parameter("users")
    load = Load(users=users, changes_per_s=lab.parameter("changes_per_s"))
    desk = Desk(lab.platform.instance.address)
    settled = 0
    try:
        for stretch in range(1, lab.parameter("stretches") + 1):
            await lab.step(f"stretch {stretch}", load, lab.parameter("seconds"), warm_s=lab.parameter("warm_s"))
            oldest = lab.markets.pop(0)
            lab.markets += await lab.maker.open_markets(1)
            await desk.settle(oldest, RESULTS)
            settled += await desk.until_settled(oldest, None, SETTLED_WITHIN_S)
            lab.find("settled_bets", settled)
    finally:
        await desk.close()


SOAK: Final = Scenario(
    name="soak",
    shows="what grows, leaks or slows down under one load for an hour",
    act=soak,
    sizes={
        "smoke": {"users": [60], "stretches": 2, "seconds": 8, "warm_s": 1, "changes_per_s": 0.2},
        "full": {"users": [500], "stretches": 12, "seconds": 300, "warm_s": 2, "changes_per_s": 0.1},
    },
)
