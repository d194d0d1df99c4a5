"""Soak: whether a platform that runs for long answers at the end as it did at the beginning.

Invariant: beginning and end are the same share of the run, and the first seconds, when caches fill, are neither.
"""

from collections.abc import Sequence
from statistics import fmean, median
from typing import Final

from touchline.lab.charts import Series, line_chart
from touchline.lab.evidence import Evidence
from touchline.lab.fault_measures import answered
from touchline.lab.markup import Markup, change_ms, listed, milliseconds, number, percent, seconds
from touchline.lab.records import Meter
from touchline.lab.saturation import GENERATOR, HOST, group_of, part_name
from touchline.lab.scales import linear_axis
from touchline.lab.sections.parts import Section
from touchline.lab.sections.timeline import GROUP_LOOKS, time_axis, time_notes

END_SHARE: Final = 0.2
WARM_SHARE: Final = 0.05
GROWS: Final = 1.2


def section(evidence: Evidence) -> Section:
    """Return what the run says of time."""
    length = evidence.end_s - evidence.begin_s
    users = max((step.users for step in evidence.steps), default=0)
    begin, end = _p99(evidence)
    what = "prices" if evidence.run.architecture == "stream" else "polls"
    headline = f"{evidence.platform} served {number(users)} users for {seconds(length)}"
    if begin is not None and end is not None:
        course = "the same as" if end < begin * GROWS and begin < end * GROWS else "beside"
        first, last = milliseconds(begin), milliseconds(end)
        took = f"{what} take {last} at p99 at the end, {course} {first} at the beginning"
        headline += f"; {took}"
    growth = _growth(evidence)
    figures = []
    if evidence.asked:
        share = sum(answered(second) for second in evidence.seconds) / evidence.asked
        figures.append(("of all requests answered", percent(share)))
    if begin is not None and end is not None:
        figures.append((f"{what}' p99, beginning → end", change_ms(begin, end)))
    figures += [(f"memory: {part_name(group)}", f"{a:,.0f} → {b:,.0f} MiB") for group, (a, b) in growth.items()]
    chart = _memory_chart(evidence)
    return Section(headline + ".", "", figures[:6], [] if chart is None else [chart])


def _p99(evidence: Evidence) -> tuple[float | None, float | None]:
    polls = evidence.seconds_by_kind.get("odds") or evidence.prices
    seen = [(s.t_s, s.p99_ms) for s in polls if s.p99_ms is not None]
    return _ends(evidence, seen)


def _ends(evidence: Evidence, seen: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Return the medians of what was seen at the beginning of a run and at its end."""
    length = evidence.end_s - evidence.begin_s
    warm = evidence.begin_s + length * WARM_SHARE
    begin = [value for at, value in seen if warm <= at < warm + length * END_SHARE]
    end = [value for at, value in seen if at >= evidence.end_s - length * END_SHARE]
    return (median(begin) if begin else None), (median(end) if end else None)


def _growth(evidence: Evidence) -> dict[str, tuple[float, float]]:
    """Return the platform's largest groups' memory at the beginning and at the end, in MiB."""
    found = {}
    for group in {group_of(meter.part) for meter in evidence.meters} - {HOST, GENERATOR}:
        begin, end = _ends(evidence, _memory(evidence.meters, group))
        if begin is not None and end is not None:
            found[group] = (begin, end)
    return dict(sorted(found.items(), key=lambda item: -item[1][1])[:3])


def _memory(meters: Sequence[Meter], group: str) -> list[tuple[float, float]]:
    sums: dict[int, dict[str, float]] = {}
    for meter in meters:
        if group_of(meter.part) == group:
            sums.setdefault(int(meter.t_s), {})[meter.part] = meter.rss_mib
    return [(float(at), sum(parts.values())) for at, parts in sorted(sums.items())]


def _memory_chart(evidence: Evidence) -> Markup | None:
    present = {group_of(meter.part) for meter in evidence.meters}
    groups = [group for group in GROUP_LOOKS if group in present and group != HOST]
    if not groups:
        return None
    memory = {group: _memory(evidence.meters, group) for group in groups}
    series = [
        Series(
            part_name(group),
            evidence.columns(memory[group]),
            GROUP_LOOKS[group],
            lambda value: f"{value:,.0f} MiB",
        )
        for group in groups
    ]
    means = listed([f"{part_name(group)} {fmean(v for _, v in memory[group]):,.0f} MiB" for group in groups])
    y = linear_axis("MiB", [value for one in series for value in one.values])
    x, notes = time_axis(evidence), time_notes(evidence)
    return line_chart("Memory by part", f"On the average: {means}.", evidence.column_starts, series, x, y, notes)
