"""Measures of load: what was served, how fast, what ran out, what was refused.

Invariant: a measure reads the run's records alone, and is None where they don't hold it; a reason names what was
measured or how the thing works, and praises nothing.
"""

import math
from collections.abc import Callable, Iterable
from typing import Final

from touchline.lab.evidence import Evidence, answers
from touchline.lab.markup import milliseconds, number, percent
from touchline.lab.measured import Measured
from touchline.lab.records import Step, StepResult
from touchline.lab.saturation import cpu_by_group, find_knee, part_name

USERS_MIN_FOR_RATES: Final = 50  # fewer, and chance moves a rate more than 20 %
GROWS: Final = 1.05  # more answers than a step before by this much: the ceiling isn't reached
POLL_INTERVAL_S: Final = 3.0


def nothing(evidence: Evidence) -> Measured | None:
    """Return None: no run of the lab measures it."""
    return None


def polls_at_1000(evidence: Evidence) -> Measured | None:
    """Return how many polls a second 1,000 users make."""
    return _at_1000(evidence, "odds", "It checks the load: each virtual user polls every three seconds.")


def bets_at_1000(evidence: Evidence) -> Measured | None:
    """Return how many bets a second 1,000 users place."""
    why = (
        "70 % polls and 20 % bets make 95 bets/s beside 333 polls/s; the seed's 67 is a fifth of the polls alone."
    )
    return _at_1000(evidence, "bet", why)


def _at_1000(evidence: Evidence, kind: str, why: str) -> Measured | None:
    if evidence.run.scenario in ("volatility", "faults"):  # other intervals, other mixes
        return None
    found = [result for result in evidence.results if result.kind == kind and result.users >= USERS_MIN_FOR_RATES]
    users = sum(result.users for result in found)
    if not users:
        return None
    rate = 1000 * sum(result.offered_per_s for result in found) / users
    return Measured(f"{number(round(rate))}/s", why, rate)


def requests_served(evidence: Evidence) -> Measured | None:
    """Return the requests a second of the last step that was served."""
    if evidence.run.scenario not in ("knee", "soak"):
        return None
    knee = find_knee(evidence)
    if knee.last is None:
        return None
    rate = evidence.total(knee.last.step, _achieved)
    above = knee.first_not is None
    return Measured(f"{'at least ' * above}{number(round(rate))}/s", _why_rate(evidence), rate, at_least=above)


def _why_rate(evidence: Evidence) -> str:
    lightest = min(evidence.steps, key=lambda step: step.users)
    p50 = evidence.of_step(lightest, lambda result: result.p50_ms)
    if p50.get("odds") is None or p50.get("bet") is None:
        return "The seed takes 15 ms for a poll's read and about 100 ms for a bet."
    took = f"{milliseconds(p50['odds'])} and {milliseconds(p50['bet'])}"
    shared = f"{evidence.run.hardware.cores} cores shared with the load"
    return f"The seed takes 15 ms a poll and 100 ms a bet; here they take {took}, on {shared}."


def users_served(evidence: Evidence) -> Measured | None:
    """Return the users of the last step that was served."""
    if evidence.run.scenario != "knee":
        return None
    knee = find_knee(evidence)
    if knee.last is None and knee.first_not is None:
        return None
    why = f"At {number(knee.first_not.step.users)} users {knee.first_not.wants[0]}." if knee.first_not else ""
    if knee.last is None:
        return Measured("none of the steps", why, 0.0)
    users = knee.last.step.users
    above = knee.first_not is None
    return Measured(f"{'at least ' * above}{number(users)} users", why, users, at_least=above)


def users_ceiling(evidence: Evidence) -> Measured | None:
    """Return the users beyond which more of them get no more answers."""
    steps = sorted(evidence.steps, key=lambda step: step.users)
    if evidence.run.scenario != "knee" or len(steps) < 2:
        return None
    best = steps[0]
    for step in steps[1:]:
        if evidence.total(step, _achieved) >= GROWS * evidence.total(best, _achieved):
            best = step
    if best is steps[-1]:
        why = "Answers still grew at the last step."
        return Measured(f"at least {number(best.users)} users", why, best.users, at_least=True)
    rate = number(round(evidence.total(best, _achieved)))
    return Measured(f"{number(best.users)} users", f"Beyond {rate} answers/s more users get no more.", best.users)


def database_runs_out(evidence: Evidence) -> Measured | None:
    """Return whether what ran out first is the database."""
    knee = find_knee(evidence)
    if evidence.run.scenario != "knee" or knee.ran_out is None or knee.first_not is None:
        return None
    cpu = cpu_by_group(evidence.during(knee.first_not.step))
    names = ("postgres", "pod", "generator")
    shares = ", ".join(f"{part_name(name)} {cpu[name]:.0f} %" for name in names if name in cpu)
    holds = knee.ran_out.name in ("database connections", "row locks")
    return Measured(knee.ran_out.name, f"CPU, one core being 100 %: {shares}.", holds=holds)


def balancer_stands(evidence: Evidence) -> Measured | None:
    """Return whether the balancer took less CPU than the pods, in the step that was not served."""
    knee = find_knee(evidence)
    if evidence.run.scenario != "knee" or knee.first_not is None:
        return None
    cpu = cpu_by_group(evidence.during(knee.first_not.step))
    if "balancer" not in cpu or "pod" not in cpu:
        return None
    text = f"{cpu['balancer']:.0f} % of a core"
    return Measured(text, f"The pods take {cpu['pod']:.0f} % beside it.", holds=cpu["balancer"] < cpu["pod"])


def poll_p99_ms(evidence: Evidence) -> Measured | None:
    """Return a poll's p99 at the last step that was served."""
    return _at_knee(evidence, "odds")


def bet_p99_ms(evidence: Evidence) -> Measured | None:
    """Return a bet's p99 at the last step that was served."""
    return _at_knee(evidence, "bet")


def _at_knee(evidence: Evidence, kind: str) -> Measured | None:
    if evidence.run.scenario not in ("knee", "soak"):
        return None
    last = find_knee(evidence).last
    result = None if last is None else evidence.result(last.step, kind)
    if last is None or result is None or result.p99_ms is None:
        return None
    why = f"At {number(last.step.users)} users, the last step that was served."
    return Measured(milliseconds(result.p99_ms), why, result.p99_ms)


def poll_p50_ms(evidence: Evidence) -> Measured | None:
    """Return a poll's median at the lightest step."""
    return _unloaded(evidence, "odds", "PostgreSQL is on the same machine and the row in its memory")


def bet_p50_ms(evidence: Evidence) -> Measured | None:
    """Return a bet's median at the lightest step."""
    return _unloaded(evidence, "bet", "The transaction's statements and its commit are all on one machine")


def _unloaded(evidence: Evidence, kind: str, why: str) -> Measured | None:
    if evidence.run.scenario != "knee" or not evidence.steps:
        return None
    lightest = min(evidence.steps, key=lambda step: step.users)
    result = evidence.result(lightest, kind)
    if result is None or result.p50_ms is None:
        return None
    why = f"{why}; the median at {number(lightest.users)} users, HTTP included."
    return Measured(milliseconds(result.p50_ms), why, result.p50_ms)


def refused_share(results: Iterable[StepResult], code: str = "ODDS_CHANGED") -> float | None:
    """Return the share of the answered bets in `results` that were refused with `code`; None without bets."""
    bets = [result for result in results if result.kind == "bet"]
    answered = sum(sum(answers(result.statuses).values()) for result in bets)
    return sum(result.codes.get(code, 0) for result in bets) / answered if answered else None


def setting(evidence: Evidence, step: Step, name: str) -> float | None:
    """Return a step's number, or the whole run's, by its name; None where there is none."""
    value = step.settings.get(name, evidence.run.parameters.get(name))
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def expected_share(changes_per_s: float, poll_interval_s: float) -> float:
    """Return the share of bets that meet a moved price, if changes and bets fall at random between two polls.

    Changes are a Poisson process; a bet comes at any instant of the interval alike: 1 − (1 − e^−λT) / λT.
    """
    many = changes_per_s * poll_interval_s
    return 0.0 if many <= 0 else 1 - (1 - math.exp(-many)) / many


def _refusals(evidence: Evidence) -> list[tuple[float, float]]:
    """Return (changes a second, share refused) of each step of a volatility run with the seed's poll interval."""
    found = []
    for step in evidence.steps if evidence.run.scenario == "volatility" else ():
        changes = setting(evidence, step, "changes_per_s")
        interval = setting(evidence, step, "poll_interval_s")
        share = refused_share(result for result in evidence.results if result.step == step.name)
        if None not in (changes, share) and interval == POLL_INTERVAL_S:
            found.append((changes or 0.0, share or 0.0))
    return sorted(found)


def volatile_refusals(evidence: Evidence) -> Measured | None:
    """Return the share of bets refused for a moved price, at the lowest rate of one change a second or more."""
    volatile = [pair for pair in _refusals(evidence) if pair[0] >= 1]
    if not volatile or evidence.run.architecture != "poll":
        return None
    changes, share = volatile[0]
    model = percent(expected_share(changes, POLL_INTERVAL_S))
    why = (
        f"By chance alone {model} of bets meet a moved price at {number(changes)} changes/s and a poll every 3 s; "
        "10 to 20 % need one change in 14 down to 7 s."
    )
    return Measured(f"{percent(share)} at {number(changes)}/s", why, share)


def peak_refusals(evidence: Evidence) -> Measured | None:
    """Return the greatest share of bets refused for a moved price."""
    found = _refusals(evidence)
    if not found or evidence.run.architecture != "poll":
        return None
    changes, share = max(found, key=lambda pair: pair[1])
    return Measured(percent(share), f"At {number(changes)} changes/s, the most that was tried.", holds=share > 0.2)


def pushed_refusals(evidence: Evidence) -> Measured | None:
    """Return the share of bets refused for a moved price, where odds are pushed."""
    pushed = {step.name for step in evidence.steps if evidence.pushed(step)}
    share = refused_share(result for result in evidence.results if result.step in pushed)
    return None if share is None else Measured(percent(share), "Wherever they were pushed.", holds=share < 0.02)


def pushed_price_p99_ms(evidence: Evidence) -> Measured | None:
    """Return how long a pushed price takes to a bettor at p99, in the step where it was longest."""
    return _longest(evidence, evidence.price, "From when the price was made until its frame came")


def pushed_bet_p99_ms(evidence: Evidence) -> Measured | None:
    """Return how long a bet takes at p99 where odds are pushed, in the step where it was longest."""
    return _longest(evidence, lambda step: evidence.result(step, "bet"), "HTTP and the durable commit included")


def _longest(evidence: Evidence, of: Callable[[Step], StepResult | None], why: str) -> Measured | None:
    if evidence.run.scenario in ("faults", "knee"):  # something was broken, or too much was asked
        return None
    found = [(result.p99_ms, step) for step in evidence.steps if evidence.pushed(step) and (result := of(step))]
    known = [(took, step) for took, step in found if took is not None]
    if not known:
        return None
    took, step = max(known, key=lambda pair: pair[0])
    return Measured(milliseconds(took), f"{why}; p99 in the step {step.name}.", took)


def _achieved(result: StepResult) -> float:
    return result.achieved_per_s
