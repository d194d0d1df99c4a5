"""The ladder: V0, each mitigation and V1 under the same load, side by side.

Invariant: what is compared was measured in the same run; its gain is against the first rung, all switches off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from touchline.lab.charts import Bar, bars
from touchline.lab.evidence import Evidence
from touchline.lab.markup import Markup, count, milliseconds, number, percent, table, tag
from touchline.lab.measures import refused_share
from touchline.lab.records import Step, StepResult
from touchline.lab.saturation import cpu_by_group, mean_extra
from touchline.lab.sections.parts import Section
from touchline.lab.sections.trials import skipped, trial_charts

MATTERS: Final = 0.05  # a smaller change is told as none
SERVING: Final = frozenset(
    {"pod", "postgres", "valkey", "pgbouncer", "replica", "gateway", "writer", "odds", "history", "relay"}
)
REFUSED: Final = "Bets refused for a moved price"
NEW_PRICE: Final = "A new price at its bettor, 99 of 100"
FIGURES_MAX: Final = 6


@dataclass(frozen=True)
class Compared:
    """One figure of every rung."""

    title: str
    told: str
    of: Callable[[Step], float | None]
    text: Callable[[float | None], str]
    everywhere: bool = True  # else only rungs that have it are shown


def section(evidence: Evidence) -> Section:
    """Return what the run says of each rung."""
    steps = list(evidence.steps)
    if len(steps) < 2:
        return Section("Fewer than two rungs were run: nothing can be compared.")
    compared = _compared(evidence)
    told = [one for one in compared if any(one.of(step) is not None for step in steps)]
    charts = [_bars(one, steps) for one in told if one.everywhere]
    users = sorted({step.users for step in steps})
    load = f"Every rung had {number(users[0])} users. " if len(users) == 1 else ""
    pushed = "Nobody polls V1: its prices are pushed. " if any(map(evidence.pushed, steps)) else ""
    change = f"the change is against {steps[0].name}."
    detail = f"{load}{pushed}Each bar is one rung; {change}{skipped(evidence)}"
    tried = trial_charts(evidence)
    charts += [*tried[:1], *(_bars(one, steps) for one in told if not one.everywhere), *tried[1:]]  # by height
    charts.append(_rungs(evidence, steps))
    return Section(_headline(evidence, compared, steps), detail, _figures(compared, steps), charts)


def _compared(evidence: Evidence) -> list[Compared]:
    return [
        Compared(
            "A poll, 99 of 100", "Shorter is better.", lambda step: _p99(evidence, step, "odds"), milliseconds
        ),
        Compared("A bet, 99 of 100", "Shorter is better.", lambda step: _p99(evidence, step, "bet"), milliseconds),
        Compared(REFUSED, "Shorter is better.", lambda step: _refused(evidence, step), percent),
        Compared("PostgreSQL's transactions", "Shorter is better.", lambda step: _work(evidence, step), _per_s),
        Compared(
            NEW_PRICE, "From when it was made. Shorter is better.", lambda step: _age(evidence, step), milliseconds
        ),
        Compared(
            "CPU for a user",
            "In a second, of pods and what they ask; shorter is better.",
            lambda step: _cost(evidence, step),
            milliseconds,
        ),
        Compared("Requests answered", "Of those asked.", lambda step: _answered(evidence, step), percent),
        Compared("PostgreSQL's CPU", "Of one core.", lambda step: _cpu(evidence, step), _cores),
        Compared("Polls answered 304", "Without a body.", lambda step: _unchanged(evidence, step), percent, False),
        Compared("The replica's lag", "Mean of looks.", lambda step: _lag(evidence, step), milliseconds, False),
    ]


def _best(compared: Compared, steps: Sequence[Step]) -> tuple[Step, float, float] | None:
    """Return the first rung that is as good as any, what it has and what V0 has; None where none gains."""
    first = compared.of(steps[0])
    found = [(step, value) for step in steps[1:] if (value := compared.of(step)) is not None]
    if not first or not found:
        return None
    least = min(value for _, value in found)
    if least > first * (1 - MATTERS):
        return None
    step, value = next((step, value) for step, value in found if value <= least + first * MATTERS)
    return step, value, first


def _headline(evidence: Evidence, compared: Sequence[Compared], steps: Sequence[Step]) -> str:
    polls, refused, ages = compared[0], compared[2], next(one for one in compared if one.title == NEW_PRICE)
    first = polls.of(steps[0])
    if first is None:
        return f"{count(len(steps), 'rung')} were run; polls were not measured in all of them."
    polled = [step for step in steps if not evidence.pushed(step)]
    told = []
    if best := _best(polls, polled):
        step, value, first = best
        told.append(f"{step.name} takes a poll from {milliseconds(first)} to {milliseconds(value)} at p99")
    else:
        told.append(f"No rung makes polls faster than {steps[0].name}, {milliseconds(first)} at p99")
    if best := _best(refused, polled):
        step, value, first = best
        told.append(f"{step.name} takes refused bets from {percent(first)} to {percent(value)}")
    pushed = next((step for step in steps if evidence.pushed(step)), None)
    if pushed is not None and ages.of(pushed) is not None and refused.of(pushed) is not None:
        before = "" if ages.of(steps[0]) is None else f" instead of {milliseconds(ages.of(steps[0]))}"
        shown = f"shows a new price within {milliseconds(ages.of(pushed))}{before}"
        told.append(f"{pushed.name} refuses {percent(refused.of(pushed))} and {shown}")
    headline = "; ".join(told)
    return f"{headline[:1].upper()}{headline[1:]}."


def _figures(compared: Sequence[Compared], steps: Sequence[Step]) -> list[tuple[str, str]]:
    found = []
    for one in compared[:FIGURES_MAX]:
        best = _best(one, steps)
        if best is not None:
            step, value, first = best
            found.append((f"{one.title}, by {step.name}", f"{_change(first, value)}"))
    return found


def _p99(evidence: Evidence, step: Step, kind: str) -> float | None:
    result = evidence.result(step, kind)
    return None if result is None else result.p99_ms


def _rate(evidence: Evidence, step: Step) -> float:
    return evidence.total(step, lambda result: result.achieved_per_s)


def _answered(evidence: Evidence, step: Step) -> float | None:
    offered = evidence.total(step, lambda result: result.offered_per_s)
    return _rate(evidence, step) / offered if offered else None


def _age(evidence: Evidence, step: Step) -> float | None:
    price = evidence.price(step)
    return None if price is None else price.p99_ms


def _refused(evidence: Evidence, step: Step) -> float | None:
    return refused_share(result for result in evidence.results if result.step == step.name)


def _work(evidence: Evidence, step: Step) -> float | None:
    return mean_extra(evidence.during(step), "postgres", "xact_per_s")


def _cost(evidence: Evidence, step: Step) -> float | None:
    parts = [cpu for group, cpu in cpu_by_group(evidence.during(step)).items() if group in SERVING]
    return sum(parts) * 10 / step.users if parts else None  # percent of a core for a second is 10 ms


def _cpu(evidence: Evidence, step: Step) -> float | None:
    return cpu_by_group(evidence.during(step)).get("postgres")


def _unchanged(evidence: Evidence, step: Step) -> float | None:
    """Return the share of polls that were answered 304; None where none was."""
    polls = evidence.result(step, "odds")
    unchanged = 0 if polls is None else polls.statuses.get("304", 0)
    return unchanged / sum(polls.statuses.values()) if polls is not None and unchanged else None


def _lag(evidence: Evidence, step: Step) -> float | None:
    lag_s = mean_extra(evidence.during(step), "pool", "replica_lag_s")
    return None if lag_s is None else 1000 * lag_s


def _cores(value: float | None) -> str:
    return "–" if value is None else f"{number(round(value))} %"


def _per_s(value: float | None) -> str:
    return "–" if value is None else f"{number(round(value))}/s"


def _bars(compared: Compared, steps: Sequence[Step]) -> Markup:
    first = compared.of(steps[0])
    rows = []
    for index, step in enumerate(steps):
        value = compared.of(step)
        if value is None and not compared.everywhere:
            continue
        note = _change(first, value) if index else ""
        rows.append(Bar(step.name, value, compared.text(value), note, "c1" if index else "c7"))
    return bars(compared.title, compared.told, rows)


def _change(first: float | None, value: float | None) -> str:
    if not first or value is None:
        return ""
    change = value / first - 1
    if abs(change) < MATTERS:
        return "same"
    if change >= 1:
        return f"× {number(round(value / first, 1))}"
    return f"{'+' if change > 0 else '−'}{percent(abs(change))}"


def _rungs(evidence: Evidence, steps: Sequence[Step]) -> Markup:
    rows = [
        [
            step.name,
            ", ".join(f"{name}={value}" for name, value in step.settings.items()) or "–",
            step.users,
            _per_s(_rate(evidence, step)),
            *(_both(evidence.result(step, kind)) for kind in ("odds", "bet")),
            _both(evidence.price(step)),
            percent(_refused(evidence, step)),
            _per_s(_work(evidence, step)),
        ]
        for step in steps
    ]
    heads = ["rung", "settings", "users", "answered", "a poll", "a bet", "a new price", "refused", "transactions"]
    inner = table(heads, rows, caption="Rungs")
    return tag("figure", tag("h3", "Every rung: half and 99 of 100 took at most"), inner, class_="card")


def _both(result: StepResult | None) -> str:
    """Return the median and the p99 of one kind."""
    return "–" if result is None else f"{milliseconds(result.p50_ms)}, {milliseconds(result.p99_ms)}"
