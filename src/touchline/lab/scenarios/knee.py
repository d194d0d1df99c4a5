"""The knee: users rise until the platform no longer serves them, then the bend between is sought by halving.

Invariant: the knee is what the report calls one: the last step that was served before the first that was not.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from touchline.lab.evidence import read_evidence
from touchline.lab.records import StepResult
from touchline.lab.saturation import Knee, find_knee
from touchline.lab.scenario import Lab, Load, Scenario

ACHIEVED_SHARE_MIN: Final = 0.95  # below it, or beyond the next, more users would only wait longer
P99_MS_MAX: Final = 1_000.0
GROWTH: Final = 2
HALVINGS_MAX: Final = 3
NEAR: Final = 1.1  # users of the two steps around the knee: halving them further says no more


async def find(lab: Lab) -> None:
    """Raise the users, then halve."""
    for users in rising(lab.parameter("users"), lab.parameter("users_max")):
        if overloaded(await climb(lab, users)):
            break
    for _ in range(lab.parameter("halvings")):
        between = halfway(find_knee(read_evidence(lab.run_dir)))
        if between is None:
            break
        await climb(lab, between)
    conclude(lab, find_knee(read_evidence(lab.run_dir)))


def rising(given: Sequence[int], users_max: int) -> Iterator[int]:
    """Yield the users to try: those given; where that is one, it and its doubles up to `users_max`."""
    yield from given
    if len(given) == 1:
        users = given[0] * GROWTH
        while users <= users_max:
            yield users
            users *= GROWTH


async def climb(lab: Lab, users: int) -> list[StepResult]:
    """Let so many users bet for a while."""
    load = Load(users=users, changes_per_s=lab.parameter("changes_per_s"))
    return await lab.step(f"{users:,} users", load, lab.parameter("seconds"), warm_s=lab.parameter("warm_s"))


def overloaded(results: Sequence[StepResult]) -> bool:
    """Tell whether more users would only wait longer."""
    offered = sum(result.offered_per_s for result in results)
    achieved = sum(result.achieved_per_s for result in results)
    slow = any((result.p99_ms or 0.0) > P99_MS_MAX for result in results)
    return slow or achieved < ACHIEVED_SHARE_MIN * offered


def halfway(knee: Knee) -> int | None:
    """Return the users halfway between the last step that was served and the first that was not; None if near."""
    if knee.last is None or knee.first_not is None:
        return None
    low, high = knee.last.step.users, knee.first_not.step.users
    return None if high <= NEAR * low else (low + high) // 2


def conclude(lab: Lab, knee: Knee) -> None:
    """Put on record where the knee is, and what ran out there."""
    if knee.last is not None:
        lab.find("knee_users", knee.last.step.users)
        rates = [one.achieved_per_s for one in lab.recorder.results if one.step == knee.last.step.name]
        lab.find("knee_per_s", round(sum(rates), 1))
        lab.screen.tell(f"the knee is at {knee.last.step.users:,} users, {sum(rates):,.0f} requests/s")
    if knee.first_not is not None:
        lab.find("not_served", {"users": knee.first_not.step.users, "wants": list(knee.first_not.wants)})
        ran_out = "no meter says what" if knee.ran_out is None else knee.ran_out.clause
        lab.find("ran_out", ran_out)
        lab.screen.tell(f"at {knee.first_not.step.users:,} users {'; '.join(knee.first_not.wants)}: {ran_out}")
    else:
        lab.screen.tell("every step was served: the knee is beyond them")


KNEE: Final = Scenario(
    name="knee",
    shows="how many users the platform serves, and what runs out first",
    act=find,
    many_users=True,
    sizes={
        "smoke": {
            "users": [40, 120],
            "seconds": 6,
            "warm_s": 1,
            "halvings": 0,
            "users_max": 120,
            "changes_per_s": 0.2,
        },
        "full": {
            "users": [250],
            "seconds": 30,
            "warm_s": 5,
            "halvings": HALVINGS_MAX,
            "users_max": 16_000,
            "changes_per_s": 0.1,
        },
    },
)
