"""The ladder: V0 and each mitigation under the same load, side by side.

Invariant: what is compared was measured in the same run; its gain is against the first rung, all switches off.
"""

from collections.abc import Callable, Sequence

from touchline.lab.charts import bars
from touchline.lab.evidence import Evidence
from touchline.lab.markup import Markup, count, listed, milliseconds, number, percent, table, tag
from touchline.lab.measures import refused_share
from touchline.lab.records import Step
from touchline.lab.saturation import cpu_by_group, mean_extra
from touchline.lab.sections.parts import Section

Of = Callable[[Step], float | None]
MATTERS = 0.05  # a smaller change is told as none


def section(evidence: Evidence) -> Section:
    """Return what the run says of each rung."""
    steps = list(evidence.steps)
    if len(steps) < 2:
        return Section("Fewer than two rungs were run: nothing can be compared.")
    measured: list[tuple[str, str, Of, Callable[[float | None], str]]] = [
        ("A poll, 99 of 100", "Shorter is better.", lambda step: _of(evidence, step, "odds"), milliseconds),
        ("A bet, 99 of 100", "Shorter is better.", lambda step: _of(evidence, step, "bet"), milliseconds),
        ("Answers a second", "Longer is better.", lambda step: _rate(evidence, step), _per_s),
        ("Bets refused for a moved price", "Shorter is better.", lambda step: _refused(evidence, step), percent),
        ("Transactions of PostgreSQL a second", "Shorter is better.", lambda step: _work(evidence, step), _per_s),
        (
            "CPU for an answer",
            "Pods, PostgreSQL and Valkey together.",
            lambda step: _cost(evidence, step),
            milliseconds,
        ),
    ]
    charts = [_bars(title, told, steps, what, text) for title, told, what, text in measured]
    users = sorted({step.users for step in steps})
    load = f"Every rung had {number(users[0])} users." if len(users) == 1 else ""
    return Section(
        _headline(evidence, steps),
        f"{load} Each bar is one rung; the change is against {steps[0].name}.".strip(),
        _figures(evidence, steps),
        [tag("div", *(chart for chart in charts if chart is not None), class_="pair"), _rungs(steps)],
    )


def _headline(evidence: Evidence, steps: Sequence[Step]) -> str:
    first = steps[0]
    plain = _of(evidence, first, "odds")
    gains = [(took, step) for step in steps[1:] if (took := _of(evidence, step, "odds")) is not None]
    if plain is None or not gains:
        return f"{count(len(steps), 'rung')} were run; polls were not measured in all of them."
    best, step = min(gains, key=lambda pair: pair[0])
    if best > plain * (1 - MATTERS):
        return f"No rung makes polls faster than {first.name}, {milliseconds(plain)} at p99, under this load."
    told = f"{step.name} takes a poll from {milliseconds(plain)} to {milliseconds(best)} at p99"
    refusals = [(share, rung) for rung in steps[1:] if (share := _refused(evidence, rung)) is not None]
    before = _refused(evidence, first)
    if before and refusals:
        least, rung = min(refusals, key=lambda pair: pair[0])
        if least < before * (1 - MATTERS):
            told += f"; {rung.name} takes refused bets from {percent(before)} to {percent(least)}"
    return told + "."


def _figures(evidence: Evidence, steps: Sequence[Step]) -> list[tuple[str, str]]:
    slower = [step.name for step in steps[1:] if _slower(evidence, steps[0], step)]
    return [
        ("rungs", number(len(steps))),
        ("slower polls than the first rung", listed(slower) if slower else "none"),
    ]


def _slower(evidence: Evidence, first: Step, step: Step) -> bool:
    plain, took = _of(evidence, first, "odds"), _of(evidence, step, "odds")
    return plain is not None and took is not None and took > plain * (1 + MATTERS)


def _of(evidence: Evidence, step: Step, kind: str) -> float | None:
    result = evidence.result(step, kind)
    return None if result is None else result.p99_ms


def _rate(evidence: Evidence, step: Step) -> float:
    return evidence.total(step, lambda result: result.achieved_per_s)


def _refused(evidence: Evidence, step: Step) -> float | None:
    return refused_share(result for result in evidence.results if result.step == step.name)


def _work(evidence: Evidence, step: Step) -> float | None:
    return mean_extra(evidence.during(step), "postgres", "xact_per_s")


def _cost(evidence: Evidence, step: Step) -> float | None:
    cpu = cpu_by_group(evidence.during(step))
    parts = [cpu[group] for group in ("pod", "postgres", "valkey") if group in cpu]
    rate = _rate(evidence, step)
    return sum(parts) * 10 / rate if parts and rate else None  # percent of a core for a second is 10 ms


def _per_s(value: float | None) -> str:
    return "–" if value is None else f"{number(round(value))}/s"


def _bars(
    title: str, told: str, steps: Sequence[Step], what: Of, text: Callable[[float | None], str]
) -> Markup | None:
    values = [what(step) for step in steps]
    if all(value is None for value in values):
        return None
    rows = []
    for index, (step, value) in enumerate(zip(steps, values, strict=True)):
        change = _change(values[0], value) if index else ""
        rows.append((step.name, value, f"{text(value)} {change}".strip(), "c1" if index else "c7"))
    return bars(title, told, rows, title)


def _change(first: float | None, value: float | None) -> str:
    if not first or value is None:
        return ""
    change = value / first - 1
    if abs(change) < MATTERS:
        return "(same)"
    if change >= 1:
        return f"(× {number(round(value / first, 1))})"
    return f"({'+' if change > 0 else '−'}{abs(change) * 100:.0f} %)"


def _rungs(steps: Sequence[Step]) -> Markup:
    rows = [
        [step.name, ", ".join(f"{name}={value}" for name, value in step.settings.items()) or "–", step.users]
        for step in steps
    ]
    inner = table(["rung", "settings", "users"], rows, caption="Rungs")
    return tag("figure", tag("h3", "What is switched on in each rung"), inner, class_="card")
