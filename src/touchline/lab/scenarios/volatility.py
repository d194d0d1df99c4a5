"""Volatility: how many bets are refused because the price moved, by its changes a second and by the polls."""

from typing import Final

from touchline.lab.bettors import BET
from touchline.lab.generator import POLL_INTERVAL_S
from touchline.lab.measures import expected_share, refused_share
from touchline.lab.scenario import Lab, Load, Scenario

PUSHED_S: Final = 0.0  # the poll interval that stands for pushes


async def vary(lab: Lab) -> None:
    """Try every rate of changes with every poll interval; with none where prices are pushed."""
    found = []
    [users] = lab.parameter("users")
    for interval_s in [PUSHED_S] if lab.pushed else lab.parameter("poll_intervals_s"):
        for changes_per_s in lab.parameter("changes_per_s"):
            load = Load(
                users=users,
                changes_per_s=changes_per_s,
                poll_interval_s=interval_s or POLL_INTERVAL_S,
                bet_interval_s=lab.parameter("bet_interval_s"),
            )
            results = await lab.step(
                f"{changes_per_s:g}/s, " + ("pushed" if lab.pushed else f"polls {interval_s:g} s"),
                load,
                lab.parameter("seconds"),
                warm_s=lab.parameter("warm_s"),
                settings={"changes_per_s": f"{changes_per_s:g}", "poll_interval_s": f"{interval_s:g}"},
            )
            share = refused_share(result for result in results if result.kind == BET)
            found.append(
                {
                    "changes_per_s": changes_per_s,
                    "poll_interval_s": interval_s,
                    "refused_share": share,
                    "by_chance": round(expected_share(changes_per_s, interval_s), 4),
                }
            )
            lab.find("grid", found)
            lab.screen.tell(f"  refused for a moved price: {'no bets' if share is None else f'{share:.1%}'}")


VOLATILITY: Final = Scenario(
    name="volatility",
    shows="how many bets are refused because the price moved meanwhile",
    act=vary,
    sizes={
        "smoke": {
            "users": [80],
            "seconds": 6,
            "warm_s": 3,  # every user has polled once
            "changes_per_s": [0.1, 2.0],
            "poll_intervals_s": [3.0],
            "bet_interval_s": 4.0,
        },
        "full": {
            "users": [400],
            "seconds": 12,
            "warm_s": 6,
            "changes_per_s": [0.05, 0.2, 0.5, 1.0, 3.0],
            "poll_intervals_s": [1.0, 3.0, 6.0],
            "bet_interval_s": 10.5,
        },
    },
)
