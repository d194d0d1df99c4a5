"""The knee: how many users are served, and what runs out then.

Invariant: the number in the headline is a step that was run, never one between two steps.
"""

from typing import Final

from touchline.lab.evidence import Evidence
from touchline.lab.markup import milliseconds, number, percent
from touchline.lab.measures import refused_share
from touchline.lab.records import Step
from touchline.lab.saturation import LATE_P99_MS_MAX, Knee, find_knee, wants_text
from touchline.lab.sections.by_step import step_charts
from touchline.lab.sections.parts import Section

OTHERS_PERCENT_MAX: Final = 20.0  # of one core; beyond it the platform did not have the machine


def section(evidence: Evidence) -> Section:
    """Return what the run says of the knee."""
    knee = find_knee(evidence)
    charts = [chart for chart in step_charts(evidence, knee) if chart is not None]
    return Section(_headline(evidence, knee), _detail(evidence, knee), _figures(evidence, knee), charts)


def _headline(evidence: Evidence, knee: Knee) -> str:
    who = f"{evidence.platform} on this machine"
    end = "" if knee.ran_out is None else f"then {knee.ran_out.clause}"
    if knee.last is None and knee.first_not is None:
        return f"{who} was not loaded: no step has a result."
    if knee.last is None and knee.first_not is not None:
        users = number(knee.first_not.step.users)
        return f"{who} does not serve even {users} users" + (f": {end.removeprefix('then ')}." if end else ".")
    assert knee.last is not None
    users, polls = number(knee.last.step.users), _polls(evidence, knee.last.step)
    if knee.first_not is None:
        return f"{who} serves all of the {users} users that were tried ({polls}); nothing ran out."
    end = end or f"at {number(knee.first_not.step.users)} users {wants_text(knee.first_not)}"
    return f"{who} serves {users} users ({polls}); {end}."


def _detail(evidence: Evidence, knee: Knee) -> str:
    told = []
    if knee.first_not is not None:
        told.append(f"At {number(knee.first_not.step.users)} users {wants_text(knee.first_not)}.")
        if knee.ran_out is None:
            told.append("No meter shows a resource that was used up.")
        if knee.ran_out is not None and knee.ran_out.others_percent > OTHERS_PERCENT_MAX:
            others = f"{knee.ran_out.others_percent:.0f} % of a core"
            told.append(
                f"Processes that are not part of the run took {others} meanwhile: alone it may serve more."
            )
        if knee.first_not.late_ms > LATE_P99_MS_MAX:
            late = milliseconds(knee.first_not.late_ms)
            told.append(f"The load generator itself was late by {late} at p99 there: it shares the machine.")
    pushed = any(evidence.pushed(step) for step in evidence.steps)
    odds, counted = ("new prices", "made or due") if pushed else ("polls", "due")
    told.append(
        f"Served means: 98 % of what is asked is answered, {odds} take at most 200 ms and bets 500 ms at p99, "
        f"counted from the instant at which they were {counted}."
    )
    return " ".join(told)


def _polls(evidence: Evidence, step: Step) -> str:
    """Return how many polls a second were answered, or prices pushed."""
    pushed = evidence.pushed(step)
    result = evidence.price(step) if pushed else evidence.result(step, "odds")
    rate = 0.0 if result is None else result.achieved_per_s
    return f"{number(round(rate))} {'pushes' if pushed else 'polls'}/s"


def _figures(evidence: Evidence, knee: Knee) -> list[tuple[str, str]]:
    if knee.last is None:
        return []
    step = knee.last.step
    p99 = evidence.of_step(step, lambda result: result.p99_ms)
    rate = evidence.total(step, lambda result: result.achieved_per_s)
    share = refused_share(result for result in evidence.results if result.step == step.name)
    return [
        ("users served", number(step.users)),
        ("requests answered a second", number(round(rate))),
        _odds_figure(evidence, step),
        ("a bet, 99 of 100", milliseconds(p99.get("bet"))),
        ("bets refused, price moved", percent(share)),
    ]


def _odds_figure(evidence: Evidence, step: Step) -> tuple[str, str]:
    if not evidence.pushed(step):
        result = evidence.result(step, "odds")
        return "a poll, 99 of 100", milliseconds(None if result is None else result.p99_ms)
    price = evidence.price(step)
    return "a new price to a bettor, 99 of 100", milliseconds(None if price is None else price.p99_ms)
