"""Charts over a run's time: load, latency, refusals, CPU, connections.

Invariant: all of them have the same horizontal axis, with the steps above it and the faults across it.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from touchline.lab.charts import Band, Level, Notes, Series, line_chart, stacked_columns
from touchline.lab.evidence import KINDS, Evidence
from touchline.lab.fault_measures import answered, stretch
from touchline.lab.markup import Markup, count, exact, listed, milliseconds, number, percent, seconds
from touchline.lab.records import Second
from touchline.lab.saturation import HOST, connections_max, cpu_by_group, extra, group_of, part_name
from touchline.lab.scales import Axis, linear_axis, log_axis

REASONS_MAX: Final = 6  # drawn apart; the rest is one layer
LOOKS: Final = {"odds": "c2", "bet": "c1", "balance": "c3", "subscribe": "c5"}
GROUP_LOOKS: Final = {
    HOST: "c7 dashed",
    "pod": "c1",
    "postgres": "c2",
    "generator": "c3",
    "balancer": "c4",
    "valkey": "c5",
    "settlement": "c6",
    "gateway": "c1 dashed",
    "writer": "c6 dashed",
    "history": "c2 dashed",
    "odds": "c5 dashed",
    "relay": "c4 dashed",
}
GROUPS_MAX: Final = 7
CONNECTIONS: Final = (  # what, of which group of parts, which of its extras, look
    ("busy, as the pods say", "pool", "in_use", "c1"),
    ("busy, as PostgreSQL says", "postgres", "active", "c2"),
    ("idle, as PostgreSQL says", "postgres", "idle", "c7 dashed"),
    ("waiting for a lock", "postgres", "waiting_on_locks", "c3"),
)
RULER_LETTERS: Final = 60  # of a chart's whole width
MINUTES_FROM_S: Final = 600.0  # a longer run is told in minutes
REASON_LOOKS: Final = {
    "ODDS_CHANGED": "c2",
    "MARKET_SUSPENDED": "c3",
    "INSUFFICIENT_BALANCE": "c5",
    "RATE_LIMITED": "c6",
    "UNAVAILABLE": "c4",
    "TIMEOUT": "bad",
    "RESET": "bad",
    "REFUSED": "bad",
}
REASONS: Final = {
    "ODDS_CHANGED": "price moved",
    "MARKET_SUSPENDED": "market suspended",
    "MARKET_CLOSED": "market closed",
    "INSUFFICIENT_BALANCE": "balance too low",
    "RATE_LIMITED": "too many bets a minute",
    "UNAVAILABLE": "platform unavailable",
    "EXPOSURE_EXCEEDED": "liability limit",
    "TIMEOUT": "no answer in time",
    "RESET": "connection cut",
    "REFUSED": "connection refused",
    "DROPPED": "not sent, no room in the generator",
}


def time_axis(evidence: Evidence) -> Axis:
    """Return the axis of the whole run, in seconds since its start."""
    begin, end = evidence.begin_s, max(evidence.begin_s + 1.0, evidence.end_s)
    if end - begin < MINUTES_FROM_S:
        return Axis("seconds since the start", begin, end, text=exact)
    return Axis("minutes since the start", begin, end, unit=60.0, text=lambda second: exact(second / 60))


def time_notes(evidence: Evidence, levels: Sequence[Level] = ()) -> Notes:
    """Return the steps and the faults of the run, to be drawn on its time."""
    bands = [Band(*stretch(fault), fault_label(fault.what, fault.at_s)) for fault in evidence.run.faults]
    return Notes(bands=bands, levels=levels, rulers=_rulers(evidence))


def _rulers(evidence: Evidence) -> list[Band]:
    """Return the steps, named by their users if these differ, else by name, or by number if that is too long."""
    steps = evidence.run.steps
    if len(steps) < 2:
        return []
    shortest = min((step.ends_s - step.starts_s for step in steps), default=0.0) / max(
        1.0, evidence.end_s - evidence.begin_s
    )
    labels = [step.name for step in steps]
    if len({step.users for step in steps}) == len(steps):
        labels = [number(step.users) for step in steps]
    elif max(map(len, labels), default=0) > shortest * RULER_LETTERS:
        labels = [str(index) for index in range(1, len(steps) + 1)]
    return [Band(step.starts_s, step.ends_s, label) for step, label in zip(steps, labels, strict=True)]


def fault_label(what: str, at_s: float) -> str:
    """Return what happened, and when."""
    return f"{what[:1].upper()}{what[1:]}, at {at_s:.0f} s"


def load_chart(evidence: Evidence) -> Markup | None:
    """Return requests a second over time: offered, and answered; None where none was."""
    if not evidence.asked:
        return None
    offered = evidence.columns(_per_second(evidence, "offered"))
    got = evidence.columns(_per_second(evidence, "answered"))
    series = [
        Series("offered", offered, "c7 dashed", lambda value: number(round(value))),
        Series("answered", got, "c1", lambda value: number(round(value))),
    ]
    asked = evidence.asked
    lost = asked - sum(answered(second) for second in evidence.seconds)
    fate = (
        "all were answered" if not lost else f"{number(lost)} were not answered, {percent(lost / asked)} of them"
    )
    summary = f"{count(asked, 'request')} were offered; {fate}."
    y = linear_axis("requests a second", offered + got)
    return line_chart(
        "Load over time", summary, evidence.column_starts, series, time_axis(evidence), y, time_notes(evidence)
    )


def _per_second(evidence: Evidence, what: str) -> list[tuple[float, float | None]]:
    sums: dict[int, float] = defaultdict(float)
    for second in evidence.seconds:
        sums[second.t_s] += second.offered if what == "offered" else answered(second)
    return list(sums.items())


def latency_chart(evidence: Evidence) -> Markup | None:
    """Return each kind's p99 over time; None where nothing was answered."""
    series, worst = [], []
    for kind in evidence.kinds:
        seen = [
            (second.t_s, second.p99_ms) for second in evidence.seconds_by_kind[kind] if second.p99_ms is not None
        ]
        if seen:
            at, most = max(seen, key=lambda pair: pair[1])
            worst.append(f"{kind_name(kind)} {milliseconds(most)} (at {seconds(at)})")
            values = evidence.columns(seen, max)
            series.append(Series(kind_name(kind), values, LOOKS.get(kind, "c6"), milliseconds))
    if any(evidence.pushed(step) for step in evidence.steps):
        prices = evidence.columns(((second.t_s, second.p99_ms) for second in evidence.prices), max)
        series.append(Series("new prices, until they are seen", prices, "c4", milliseconds))
    if not series:
        return None
    late = evidence.columns(
        ((second.t_s, second.late_p99_ms) for second in evidence.seconds if second.late_p99_ms), max
    )
    series.append(Series("of it the generator's lateness", late, "c7 dashed", milliseconds))
    y = log_axis("ms, from the intended send time", (v for one in series for v in one.values), text=milliseconds)
    summary = f"p99 of each second. The slowest: {listed(worst)}."
    title = "Latency over time"
    return line_chart(title, summary, evidence.column_starts, series, time_axis(evidence), y, time_notes(evidence))


def kind_name(kind: str) -> str:
    """Return what requests of a kind are called."""
    return KINDS.get(kind, kind)


def refusals_chart(evidence: Evidence) -> Markup | None:
    """Return the bets that were not accepted, by reason, over time; None where all were."""
    bets = evidence.seconds_by_kind.get("bet", [])
    totals: Counter[str] = Counter()
    for second in bets:
        totals.update(reasons(second))
    if not totals:
        return None
    apart = [reason for reason, _ in totals.most_common(REASONS_MAX)]
    layers = []
    used = [REASON_LOOKS.get(reason, "") for reason in apart]
    free = (look for look in ("c6", "c1", "c5", "c3", "c4", "c2", "c7") if look not in used)
    for reason in apart:
        pairs = [(second.t_s, float(reasons(second).get(reason, 0))) for second in bets]
        look = REASON_LOOKS.get(reason) or next(free)
        layers.append(Series(reason_name(reason), evidence.columns(pairs), look))
    if len(totals) > REASONS_MAX:
        rest = [(s.t_s, float(sum(n for r, n in reasons(s).items() if r not in apart))) for s in bets]
        layers.append(Series("other reasons", evidence.columns(rest), "c7"))
    heights = [sum(layer.values[index] or 0 for layer in layers) for index in range(len(evidence.column_starts))]
    offered = sum(second.offered for second in bets)
    told = [f"{reason_name(reason)} {percent(amount / offered)}" for reason, amount in totals.most_common(3)]
    summary = f"{percent(totals.total() / offered)} of {count(offered, 'bet')} were not accepted: {listed(told)}."
    x, y = time_axis(evidence), linear_axis("bets a second", heights)
    starts = evidence.column_starts
    title = "Bets that were not accepted, by reason"
    return stacked_columns(title, summary, starts, evidence.column_s, layers, x, y, time_notes(evidence))


def reasons(second: Second) -> Counter[str]:
    """Return why bets of a second were not accepted, by code; what came without one is counted too."""
    found = Counter(second.codes)
    refused = sum(amount for status, amount in second.statuses.items() if status >= "400")
    found["no reason given"] = max(0, refused + second.errors - found.total())
    return +found


def reason_name(reason: str) -> str:
    """Return a refusal's code in words; one that we don't know as it is."""
    return REASONS.get(reason, reason)


def cpu_chart(evidence: Evidence) -> Markup | None:
    """Return the CPU of each group of parts over time; None where nothing was metered."""
    if not evidence.meters:
        return None
    by_second: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for meter in evidence.meters:
        by_second[group_of(meter.part), int(meter.t_s)][meter.part] = meter.cpu_percent
    means = {group: mean for group, mean in cpu_by_group(evidence.meters).items() if mean or group == HOST}
    groups = sorted(means, key=lambda group: (group == HOST, -means[group]))[:GROUPS_MAX]
    if HOST in means and HOST not in groups:
        groups[-1] = HOST
    used = [GROUP_LOOKS.get(group, "") for group in groups]
    free = (look for look in ("c6", "c5", "c4", "c3", "c2", "c1", "c7") if look not in used)
    series = []
    for group in groups:
        pairs = [(float(at), sum(parts.values())) for (name, at), parts in by_second.items() if name == group]
        name = "the whole machine" if group == HOST else part_name(group)
        series.append(Series(name, evidence.columns(pairs), GROUP_LOOKS.get(group) or next(free), _percents))
    cores = max(1, evidence.run.hardware.cores)
    level = Level(cores * 100, count(cores, "core"))
    values = [cores * 100.0, *(value for one in series for value in one.values)]
    y = linear_axis("CPU, one core is 100 %", values, text=_percents)
    most = [f"{one.name} {_percents(means[group])}" for group, one in zip(groups, series, strict=True)]
    summary = f"On the average: {listed(most)}."
    notes = time_notes(evidence, [level])
    return line_chart("CPU by part", summary, evidence.column_starts, series, time_axis(evidence), y, notes)


def _percents(value: float) -> str:
    return f"{value:.0f} %"


def connections_chart(evidence: Evidence) -> Markup | None:
    """Return the database's connections over time, as the pods and as PostgreSQL see them; None without any."""
    found = [
        Series(name, evidence.columns(_sums(evidence, group, key)), look, lambda value: number(round(value)))
        for name, group, key, look in CONNECTIONS
    ]
    series = [one for one in found if any(value is not None for value in one.values)]
    if not series:
        return None
    room = max((connections_max(evidence, step) or 0 for step in evidence.steps), default=0)
    most = max((value for value in series[0].values if value is not None), default=0)
    level = [Level(room, f"all that the pods may hold: {room}")] if room else []
    y = linear_axis("connections", [float(room), *(value for one in series for value in one.values)])
    waited = max((value for _, value in _sums(evidence, "pool", "waiting") if value), default=0)
    summary = f"At most {number(round(most))} were busy" + (
        f" of the {room} that the pods may hold." if room else "."
    )
    if waited:
        summary += f" Up to {count(round(waited), 'request')} waited for one."
    notes = time_notes(evidence, level)
    return line_chart(
        "Database connections", summary, evidence.column_starts, series, time_axis(evidence), y, notes
    )


def _sums(evidence: Evidence, group: str, key: str) -> list[tuple[float, float | None]]:
    """Return (second, one of the extras summed over a group's parts)."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for meter in evidence.meters:
        value = extra(meter, key) if group_of(meter.part) == group else None
        if value is not None:
            found[int(meter.t_s)][meter.part] = value
    return [(float(at), sum(parts.values())) for at, parts in sorted(found.items())]
