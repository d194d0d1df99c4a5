"""Compare: V0 and V1 side by side, and both beside what the seed claims of them.

Invariant: what stands side by side was asked for by the same users at the same rate of changes; the bar for
refused bets (a tenth of V0's, and below 2 %) is told of each rate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from touchline.lab.charts import Bar, Level, Notes, Series, bars, line_chart
from touchline.lab.evidence import ARCHITECTURES, Evidence
from touchline.lab.markup import Markup, listed, milliseconds, number, percent, seconds, table, tag
from touchline.lab.measures import POLL_INTERVAL_S, expected_share, refused_share, setting
from touchline.lab.records import Step, StepResult
from touchline.lab.saturation import HOST, OTHERS, cpu_by_group, mean_extra, part_name
from touchline.lab.scales import linear_axis, log_axis
from touchline.lab.sections.parts import Section

LOOKS: Final = {"poll": "c2", "stream": "c1"}
SHARE_OF_V0_MAX: Final = 0.1
SHARE_MAX: Final = 0.02
BOUND: Final = "the bar: a tenth of V0's, and below 2 %"


@dataclass(frozen=True)
class Side:
    """One architecture: its steps with changing prices, slowest first, and the one in which an event settled."""

    architecture: str
    steps: Sequence[Step]
    settling: Step | None

    @property
    def name(self) -> str:
        """What it is called."""
        return ARCHITECTURES.get(self.architecture, self.architecture)


def section(evidence: Evidence) -> Section:
    """Return what the run says of both."""
    sides = [_side(evidence, architecture) for architecture in LOOKS]
    if not all(side.steps for side in sides):
        return Section("Fewer than two architectures were run: nothing can be compared.")
    v0, v1 = sides
    charts = [
        _odds(evidence, sides),
        _refused_chart(evidence, v0, v1),
        _bets(evidence, sides),
        _settled(evidence, sides),
        _database(evidence, sides),
        _cpu(evidence, sides),
        _claimed(evidence, sides),
    ]
    users = number(max(step.users for step in evidence.steps))
    detail = (
        f"{users} users, the same seed, bets and balances at the same rates on both; on V0 each polls every 3 s, "
        "on V1 prices are pushed and nobody polls. A bet is at the price that its bettor was shown last."
    )
    drawn = [chart for chart in charts if chart is not None]
    return Section(_headline(evidence, v0, v1), detail, _figures(evidence, v0, v1), drawn)


def _side(evidence: Evidence, architecture: str) -> Side:
    own = [step for step in evidence.steps if evidence.architecture(step) == architecture]
    steps = [step for step in own if "changes_per_s" in step.settings]
    settling = next((step for step in own if "settling" in step.settings), None)
    return Side(architecture, sorted(steps, key=lambda step: _rate(evidence, step)), settling)


def _rate(evidence: Evidence, step: Step) -> float:
    return setting(evidence, step, "changes_per_s") or 0.0


def _refused(evidence: Evidence, step: Step) -> float | None:
    return refused_share(result for result in evidence.results if result.step == step.name)


def pairs(evidence: Evidence, v0: Side, v1: Side) -> list[tuple[float, float, float]]:
    """Return (changes a second, share of bets refused by V0, by V1) of each rate that both have."""
    of_v1 = {_rate(evidence, step): _refused(evidence, step) for step in v1.steps}
    found = []
    for step in v0.steps:
        first, second = _refused(evidence, step), of_v1.get(_rate(evidence, step))
        if first is not None and second is not None:
            found.append((_rate(evidence, step), first, second))
    return found


def kept(first: float, second: float) -> bool:
    """Tell whether V1 refuses below a tenth of what V0 refuses, and below 2 %."""
    return second < SHARE_OF_V0_MAX * first and second < SHARE_MAX


def _headline(evidence: Evidence, v0: Side, v1: Side) -> str:
    found = pairs(evidence, v0, v1)
    told = []
    if found:
        rate, first, second = found[0]
        every = f"at {number(rate)} changes a second of each market"
        refused = f"V1 refuses {percent(second)} of bets for a moved price where V0 refuses {percent(first)}"
        told.append(f"{refused}, {every}")
    prices = [evidence.price(side.steps[0]) for side in (v0, v1)]
    if all(price is not None and price.p50_ms is not None for price in prices):
        took = [milliseconds(price.p50_ms) for price in prices if price is not None]
        told.append(f"a new price takes {took[1]} to a bettor, {took[0]} by polls")
    return f"{'; '.join(told)}." if told else "Neither bets nor prices were seen on both sides."


def _figures(evidence: Evidence, v0: Side, v1: Side) -> list[tuple[str, str]]:
    figures = []
    for rate, first, second in pairs(evidence, v0, v1):
        verdict = "kept" if kept(first, second) else "not kept"
        shares = f"{percent(first)} → {percent(second)}"
        figures.append((f"refused at {number(rate)}/s; {BOUND}: {verdict}", shares))
    took = [_p(evidence.result(side.steps[0], "bet"), 99) for side in (v0, v1)]
    figures.append(("a bet, 99 of 100", " → ".join(milliseconds(value) for value in took)))
    times = [_settlement(evidence, side) for side in (v0, v1)]
    if all(times):
        rates = [number(round(time["settled"] / max(0.01, time["seconds"]))) for time in times]
        figures.append(("bets settled a second", " → ".join(rates)))
    return figures


def _p(result: StepResult | None, percentile: int) -> float | None:
    if result is None:
        return None
    return result.p50_ms if percentile == 50 else result.p99_ms


def _both_percentiles(of_sides: Sequence[tuple[Side, StepResult | None]]) -> list[Bar]:
    """Return a bar of each side for the slowest of a hundred, then for half, so that neighbours compare."""
    rows = []
    for percentile, told in ((99, "99 of 100"), (50, "half of them")):
        for side, result in of_sides:
            value = _p(result, percentile)
            rows.append(Bar(f"{side.name}, {told}", value, milliseconds(value), "", LOOKS[side.architecture]))
    return rows


def _odds(evidence: Evidence, sides: Sequence[Side]) -> Markup:
    rows = _both_percentiles([(side, evidence.price(side.steps[0])) for side in sides])
    polls = evidence.result(sides[0].steps[0], "odds")
    summary = "From the instant at which a price was made until a bettor has it on his screen."
    if polls is not None:
        took = f"{milliseconds(polls.p50_ms)} at p50 and {milliseconds(polls.p99_ms)} at p99"
        summary += f" A poll itself takes {took}; what is old is what it waits for."
    return bars("How old a new price is when it is seen", summary, rows)


def _refused_chart(evidence: Evidence, v0: Side, v1: Side) -> Markup | None:
    found = pairs(evidence, v0, v1)
    if not found:
        return None
    rates = [rate for rate, _, _ in found]
    told = [f"{number(rate)}/s: {'kept' if kept(first, second) else 'not kept'}" for rate, first, second in found]
    summary = f"By changes a second of each market; {BOUND}. {listed(told)}."
    if len(found) == 1:
        shares = zip((v0, v1), found[0][1:], strict=True)
        rows = [Bar(side.name, share, percent(share), "", LOOKS[side.architecture]) for side, share in shares]
        return bars("Bets refused because the price moved", summary, rows)
    chance = [expected_share(rate, POLL_INTERVAL_S) for rate in rates]
    series = [
        Series("V0, polled every 3 s", [first for _, first, _ in found], LOOKS["poll"], percent),
        Series("V0, by chance", chance, f"{LOOKS['poll']} dashed", percent),
        Series("V1, pushed", [second for _, _, second in found], LOOKS["stream"], percent),
    ]
    values = [value for one in series for value in one.values]
    y = linear_axis("share of bets refused", values, text=percent)
    x = log_axis("price changes of a market a second", rates)
    notes = Notes(levels=[Level(SHARE_MAX, "2 %")])
    return line_chart("Bets refused because the price moved", summary, rates, series, x, y, notes)


def _bets(evidence: Evidence, sides: Sequence[Side]) -> Markup:
    rows = _both_percentiles([(side, evidence.result(side.steps[0], "bet")) for side in sides])
    accepted = []
    for side in sides:
        step = side.steps[0]
        result = evidence.result(step, "bet")
        rate = 0.0 if result is None else result.statuses.get("201", 0) / (step.ends_s - step.starts_s)
        accepted.append(f"{side.name} {number(round(rate, 1))}/s")
    summary = f"From when it was due until its answer, refusals too. Accepted: {listed(accepted)}."
    return bars("How long a bet takes", summary, rows)


def _settlement(evidence: Evidence, side: Side) -> dict[str, Any]:
    found = evidence.run.findings.get(f"settlement on {side.name}")
    return found if isinstance(found, dict) and found.get("finished") and found.get("seconds") else {}


def _settled(evidence: Evidence, sides: Sequence[Side]) -> Markup | None:
    rows = []
    for side in sides:
        found = _settlement(evidence, side)
        if found:
            each = f"{number(round(found['settled'] / found['seconds']))} a second"
            name = f"{side.name}, {number(found['bets'])} bets"
            rows.append(Bar(name, found["seconds"], seconds(found["seconds"]), each, LOOKS[side.architecture]))
    return bars("Settling an event while bettors bet", "Shorter is better.", rows) if rows else None


def _database(evidence: Evidence, sides: Sequence[Side]) -> Markup | None:
    rows = []
    for side in sides:
        for step in side.steps:
            value = mean_extra(evidence.during(step), "postgres", "xact_per_s")
            text = "–" if value is None else f"{number(round(value))}/s"
            rows.append(Bar(step.name, value, text, "", LOOKS[side.architecture]))
    if all(row.value is None for row in rows):
        return None
    return bars("PostgreSQL's transactions", "Shorter is better: polls of V1 reach no database.", rows)


def _cpu(evidence: Evidence, sides: Sequence[Side]) -> Markup | None:
    used = [cpu_by_group(evidence.during(side.steps[0])) for side in sides]
    named = {group for one in used for group in one} - {HOST, OTHERS}
    groups = sorted((group for group in named if _most(used, group) >= 1), key=lambda group: -_most(used, group))
    if not groups:
        return None
    rows = [[part_name(group), *(_percents(one.get(group)) for one in used)] for group in groups]
    rows.append(["the whole machine", *(_percents(one.get(HOST)) for one in used)])
    inner = table(["part", *(side.name for side in sides)], rows, caption="CPU by part")
    told = f"One core is 100 %; in the steps {listed([side.steps[0].name for side in sides])}."
    return tag("figure", tag("figcaption", tag("h3", "CPU by part"), tag("p", told)), inner, class_="card")


def _most(used: Sequence[dict[str, float]], group: str) -> float:
    return max(one.get(group, 0.0) for one in used)


def _percents(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} %"


@dataclass(frozen=True)
class Claimed:
    """A line of the seed's comparison: what it claims of each, and what this run measures of a side."""

    about: str
    claimed: tuple[str, str]
    measured: Callable[[Evidence, Side], str | None]


def _claimed(evidence: Evidence, sides: Sequence[Side]) -> Markup:
    heads = ["", *(f"{side.name}, {word}" for side in sides for word in ("claimed", "measured"))]
    rows = []
    for line in CLAIMED:
        cells = [line.about]
        for side, claimed in zip(sides, line.claimed, strict=True):
            cells += [claimed, line.measured(evidence, side) or "not in this run"]
        rows.append(cells)
    inner = table(heads, rows, caption="The seed's comparison")
    told = "Claims are of clouds with load of their own; here both share one machine with the load."
    head = tag("figcaption", tag("h3", "The seed's comparison, claimed and measured"), tag("p", told))
    return tag("figure", head, inner, class_="card")


def _odds_told(evidence: Evidence, side: Side) -> str | None:
    step = side.steps[0]
    result = evidence.price(step) if evidence.pushed(step) else evidence.result(step, "odds")
    return _told(result, "a push" if evidence.pushed(step) else "a poll")


def _bet_told(evidence: Evidence, side: Side) -> str | None:
    return _told(evidence.result(side.steps[0], "bet"), "")


def _told(result: StepResult | None, what: str) -> str | None:
    if result is None or result.p99_ms is None:
        return None
    return f"{what} {milliseconds(result.p50_ms)} at p50, {milliseconds(result.p99_ms)} at p99".strip()


def _throughput_told(evidence: Evidence, side: Side) -> str:
    step = side.steps[0]
    rate = evidence.total(step, lambda result: result.achieved_per_s)
    price = evidence.price(step)
    pushes = f" and {number(round(price.achieved_per_s))} pushes/s" if price and evidence.pushed(step) else ""
    return f"{number(round(rate))} requests/s{pushes} offered and served; knee finds the most"


def _served_told(evidence: Evidence, side: Side) -> str | None:
    offered = sum(evidence.total(step, lambda result: result.offered_per_s) for step in side.steps)
    achieved = sum(evidence.total(step, lambda result: result.achieved_per_s) for step in side.steps)
    return f"{percent(achieved / offered)} answered, nothing broken; faults breaks it" if offered else None


def _refused_told(evidence: Evidence, side: Side) -> str:
    shares = [(_rate(evidence, step), _refused(evidence, step)) for step in side.steps]
    return ", ".join(f"{percent(share)} at {number(rate)}/s" for rate, share in shares if share is not None)


def _unmeasured(evidence: Evidence, side: Side) -> None:
    return None


CLAIMED: Final = (
    Claimed("latency of odds", ("50 to 200 ms", "under 100 ms"), _odds_told),
    Claimed("latency of a bet", ("100 to 300 ms", "under 200 ms"), _bet_told),
    Claimed("bets refused, price moved", ("10 to 20 %, volatile", "under 2 %"), _refused_told),
    Claimed("throughput", ("about 2,000 requests/s", "350,000 requests/s at the peak"), _throughput_told),
    Claimed("reliability", ("99 %", "99.9 %"), _served_told),
    Claimed("cost a month", ("$730", "$3,500"), _unmeasured),
)
