"""Charts over the number of users, a point a step: what was served, how fast, and what it took.

Invariant: a chart over users is drawn only where users are what differs between the steps.
"""

from collections.abc import Callable, Sequence
from typing import Final

from touchline.lab.charts import Band, Level, Mark, Notes, Series, line_chart
from touchline.lab.evidence import Evidence
from touchline.lab.markup import Markup, milliseconds, number, percent
from touchline.lab.records import PRICE, Step, StepResult
from touchline.lab.saturation import (
    BET_P99_MS_MAX,
    HOST,
    POLL_P99_MS_MAX,
    PRICE_P99_MS_MAX,
    SERVED_SHARE_MIN,
    Knee,
    cpu_by_group,
    late_ms,
    part_name,
)
from touchline.lab.scales import Axis, linear_axis, log_axis
from touchline.lab.sections.timeline import GROUP_LOOKS

SEED_USERS: Final = ((1000, 2000, "seed: too much polling"), (3000, 5000, "seed: the ceiling"))
SEED_REQUESTS_PER_S: Final = 500.0
PERCENTILES: Final[tuple[tuple[str, str, Callable[[StepResult], float | None]], ...]] = (
    ("p50", "p50", lambda result: result.p50_ms),
    ("p95", "p95", lambda result: result.p95_ms),
    ("p99", "p99", lambda result: result.p99_ms),
    ("p99.9", "p999", lambda result: result.p999_ms),
)


def rising(evidence: Evidence) -> list[Step]:
    """Return the steps by their users; none where other things differ between them."""
    users = [step.users for step in evidence.steps]
    settings = {tuple(sorted(step.settings.items())) for step in evidence.steps}
    if len(set(users)) != len(users) or len(settings) > 1 or len(users) < 2:
        return []
    return sorted(evidence.steps, key=lambda step: step.users)


def _users_axis(steps: Sequence[Step]) -> Axis:
    return linear_axis("users", [float(step.users) for step in steps])


def _notes(knee: Knee, levels: Sequence[Level] = (), bands: Sequence[Band] = ()) -> Notes:
    marks = []
    if knee.last is not None and knee.first_not is not None:
        marks = [Mark(knee.last.step.users, f"knee: {number(knee.last.step.users)} users")]
    return Notes(marks=marks, bands=bands, levels=levels)


def throughput_chart(evidence: Evidence, steps: Sequence[Step], knee: Knee) -> Markup:
    """Return requests a second offered and answered."""
    users = [float(step.users) for step in steps]
    offered = [evidence.total(step, lambda result: result.offered_per_s) for step in steps]
    achieved = [evidence.total(step, lambda result: result.achieved_per_s) for step in steps]
    whole = _whole
    series = [Series("offered", offered, "c7 dashed", whole), Series("answered", achieved, "c1", whole)]
    most = max(achieved)
    at = steps[achieved.index(most)]
    summary = f"At most {number(round(most))} answers a second, at {number(at.users)} users."
    if knee.first_not is not None:
        first = knee.first_not.step
        share = _share(evidence, first)
        if share < SERVED_SHARE_MIN:
            summary += f" At {number(first.users)} users {percent(share)} of what was asked is answered."
    x, y = _users_axis(steps), linear_axis("requests a second", [*offered, *achieved])
    bands = [
        Band(low, min(high, x.high), label, "claim") for low, high, label in SEED_USERS if low < x.high * 0.95
    ]
    levels = [Level(SEED_REQUESTS_PER_S, "seed: 500 requests/s")] if y.high > SEED_REQUESTS_PER_S else []
    return line_chart("Offered and answered", summary, users, series, x, y, _notes(knee, levels, bands))


def _whole(value: float) -> str:
    return number(round(value))


def _share(evidence: Evidence, step: Step) -> float:
    offered = evidence.total(step, lambda result: result.offered_per_s)
    return evidence.total(step, lambda result: result.achieved_per_s) / offered if offered else 0.0


def percentiles_chart(
    evidence: Evidence, steps: Sequence[Step], knee: Knee, kind: str, title: str, bound_ms: float
) -> Markup | None:
    """Return the latency percentiles of one kind; None where none was measured."""
    users = [float(step.users) for step in steps]
    found = [evidence.price(step) if kind == PRICE else evidence.result(step, kind) for step in steps]
    series = [
        Series(name, [None if result is None else what(result) for result in found], look, milliseconds)
        for name, look, what in PERCENTILES
    ]
    values = [value for one in series for value in one.values if value is not None]
    if not values:
        return None
    p99 = series[2].values
    kept = [step.users for step, value in zip(steps, p99, strict=True) if value is not None and value <= bound_ms]
    bound = milliseconds(bound_ms)
    summary = (
        f"p99 stays within {bound} up to {number(max(kept))} users." if kept else f"p99 is above {bound} at once."
    )
    late = max((late_ms(evidence, step) for step in steps), default=0.0)
    summary += f" Of it, the load generator's own lateness: at most {milliseconds(late)}."
    x, y = _users_axis(steps), log_axis("ms, from the intended send time", [*values, bound_ms], text=milliseconds)
    notes = _notes(knee, [Level(bound_ms, f"service level: {bound}")])
    return line_chart(title, summary, users, series, x, y, notes)


def cpu_chart(evidence: Evidence, steps: Sequence[Step], knee: Knee) -> Markup | None:
    """Return what CPU each group of parts took; None where nothing was metered."""
    cpu = [cpu_by_group(evidence.during(step)) for step in steps]
    totals: dict[str, float] = {}
    for of_step in cpu:
        for group, value in of_step.items():
            totals[group] = max(value, totals.get(group, 0.0))
    groups = [group for group in GROUP_LOOKS if totals.get(group, 0.0) >= 1]
    if not groups:
        return None
    names = [("the whole machine" if group == HOST else part_name(group)) for group in groups]
    series = [
        Series(name, [of_step.get(group) for of_step in cpu], GROUP_LOOKS[group], _percents)
        for name, group in zip(names, groups, strict=True)
    ]
    limit = max(1, evidence.run.hardware.cores) * 100.0
    x = _users_axis(steps)
    y = linear_axis("CPU, one core is 100 %", [limit, *totals.values()], text=_percents)
    summary = knee.ran_out.figures if knee.ran_out else "No meter shows a resource that was used up."
    notes = _notes(knee, [Level(limit, "all cores")])
    return line_chart("What it took", summary, [float(step.users) for step in steps], series, x, y, notes)


def _percents(value: float) -> str:
    return f"{value:.0f} %"


def step_charts(evidence: Evidence, knee: Knee) -> list[Markup | None]:
    """Return every chart over users; none where users are not what differs."""
    steps = rising(evidence)
    if not steps:
        return []
    if any(evidence.pushed(step) for step in steps):
        title = "How long a new price takes to a bettor"
        polls = percentiles_chart(evidence, steps, knee, PRICE, title, PRICE_P99_MS_MAX)
    else:
        polls = percentiles_chart(evidence, steps, knee, "odds", "How long a poll takes", POLL_P99_MS_MAX)
    bets = percentiles_chart(evidence, steps, knee, "bet", "How long a bet takes", BET_P99_MS_MAX)
    return [throughput_chart(evidence, steps, knee), polls, bets, cpu_chart(evidence, steps, knee)]
