"""The ladder: V0, each mitigation alone, all together, then V1, under the same bettors in one run.

Invariant: a rung differs from the first in the settings it names and in nothing else; what can't be run on this
machine is on record with the reason. V1's bettors, prices and bets are those of V0, but nobody polls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from touchline.lab.platform import PlatformAway
from touchline.lab.scenario import Lab, Load, Scenario
from touchline.lab.trials import lose_answers, outlive_postgres, settle_open_bets

OFF: Final[Mapping[str, str]] = {
    "odds_cache": "none",
    "odds_etag": "false",
    "odds_tolerance_pct": "0",
    "idempotency": "optional",
    "settlement": "sequential",
    "odds_breaker": "false",
    "pooler": "none",
    "read_replica": "none",
}
LOST, SETTLED, AWAY = "lost_answers", "settlement", "outage"
TRIED: Final = (LOST, SETTLED, AWAY)
# What the platform says where it can't have a part.
ABSENT: Final = ("there is no pgbouncer here", "copies a PostgreSQL of our own")
ALL: Final = "all together"
V1: Final = "V1"


@dataclass(frozen=True)
class Rung:
    """A rung: what it switches on, and what is tried on it beside the load."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    trials: tuple[str, ...] = ()
    part: bool = False  # it needs a part that not every machine has


RUNGS: Final = (
    Rung("V0", trials=TRIED),
    Rung("B1 odds cache", {"odds_cache": "redis"}),
    Rung("B2 ETag", {"odds_etag": "true"}),
    Rung("B3 tolerance", {"odds_tolerance_pct": "2.5"}),
    Rung("B4 keys required", {"idempotency": "required"}, (LOST,)),
    Rung("B5 settlement in sets", {"settlement": "set"}, (SETTLED,)),
    Rung("B6 breaker", {"odds_breaker": "true"}, (AWAY,)),
    Rung("B7 PgBouncer", {"pooler": "pgbouncer"}, part=True),
    Rung("B7 replica", {"read_replica": "own"}, part=True),
)


async def climb(lab: Lab) -> None:
    """Load one rung after another, then all that could be run together, then V1."""
    asked: list[str] = lab.parameter("rungs")
    together: dict[str, str] = {}
    for rung in RUNGS:
        if rung.name in asked:
            there = await _stand_on(lab, rung)
        else:
            there = not rung.part
        together |= rung.settings if there else {}
    if ALL in asked:
        await _stand_on(lab, Rung(ALL, together, TRIED))
    if V1 in asked:
        lab.screen.doing("restarting as V1")
        await lab.move_to("stream")
        await _load(lab, Rung(V1, {"architecture": "stream"}, TRIED))


async def _stand_on(lab: Lab, rung: Rung) -> bool:
    """Run the platform as a rung wants it, load it and try it; tell whether it could be run.

    Raises:
        PlatformAway: it failed to start, and not for a part that this machine has not.
    """
    wanted = {**OFF, **rung.settings}
    if not wanted.items() <= lab.platform.settings.items():
        lab.screen.doing(f"restarting as {rung.name}")
        try:
            await lab.restart(wanted)
        except PlatformAway as away:
            if not any(why in str(away) for why in ABSENT):
                raise
            why = str(away).splitlines()[-1].lstrip("✗ ")
            lab.find("skipped", {**lab.run.findings.get("skipped", {}), rung.name: why})
            lab.screen.tell(f"  {rung.name}: skipped: {why}")
            return False
    await _load(lab, rung)
    return True


async def _load(lab: Lab, rung: Rung) -> None:
    """Load a rung and try it."""
    [users] = lab.parameter("users")
    load = Load(users=users, changes_per_s=lab.parameter("changes_per_s"))
    seconds, warm_s = lab.parameter("seconds"), lab.parameter("warm_s")
    await lab.step(rung.name, load, seconds, warm_s=warm_s, settings=rung.settings)
    for trial in rung.trials:
        found = await _try(lab, rung, trial)
        trials = lab.run.findings.get("trials", {})
        lab.find("trials", {**trials, trial: {**trials.get(trial, {}), rung.name: found}})
        lab.screen.tell(f"  {_told(trial, found)}")


async def _try(lab: Lab, rung: Rung, trial: str) -> dict[str, Any]:
    lab.screen.doing(f"{rung.name}: {trial.replace('_', ' ')}")
    if trial == LOST:
        return await lose_answers(lab, lab.parameter("cut_off"))
    if trial == SETTLED:
        return await settle_open_bets(lab, rung.name, lab.parameter("open_bets"))
    return await outlive_postgres(lab, rung.name, lab.parameter("away_s"))


def _told(trial: str, found: Mapping[str, Any]) -> str:
    if trial == LOST:
        twice = [f"{found[name]['placed_twice']} twice {name.replace('_', ' ')}" for name in found]
        return f"bets asked for again after a lost answer: {', '.join(twice)}"
    if trial == SETTLED:
        return f"{found['settled']:,} of {found['bets']:,} bets settled in {found['seconds']:,.1f} s"
    polls, bets = found["polls"], found["bets"]
    told = f"polls {polls['done']} answered, {polls['stale']} with old odds that say so, {polls['failed']} failed"
    return f"PostgreSQL away: {told}; bets {bets['done']} answered, {bets['failed']} refused or lost"


LADDER: Final = Scenario(
    name="ladder",
    shows="what each mitigation gains, alone and all together, and V1, under the same load",
    act=climb,
    sizes={
        "smoke": {
            "rungs": ["V0", ALL, V1],
            "users": [60],
            "seconds": 3,
            "warm_s": 2,
            "changes_per_s": 0.3,
            "open_bets": 150,
            "cut_off": 12,
            "away_s": 2.5,
        },
        "full": {
            "rungs": [*(rung.name for rung in RUNGS), ALL, V1],
            "users": [600],
            "seconds": 15,
            "warm_s": 5,
            "changes_per_s": 0.1,
            "open_bets": 3_000,
            "cut_off": 100,
            "away_s": 10.0,
        },
    },
    settings=OFF,
    own_platform=True,
    architectures=("poll",),
)
