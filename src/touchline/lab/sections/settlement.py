"""Settlement: how fast bets are paid, and what bettors feel of it meanwhile.

Invariant: the time is from the first bet that was paid to the last, as the meters saw it, to a second.
"""

from touchline.lab.charts import Series, line_chart
from touchline.lab.evidence import POINTS_MAX, Evidence
from touchline.lab.fault_measures import SETTLEMENT_BETS, progress, settling, slowed
from touchline.lab.markup import Markup, change_ms, count, milliseconds, number, seconds
from touchline.lab.scales import linear_axis
from touchline.lab.sections.parts import Section
from touchline.lab.sections.timeline import time_axis, time_notes


def section(evidence: Evidence) -> Section:
    """Return what the run says of settlement."""
    found = settling(evidence)
    chart = progress_chart(evidence)
    charts = [] if chart is None else [chart]
    if found is None:
        return Section(f"{evidence.platform} settled no bet that a meter saw.", charts=charts)
    bets, took_s = found.bets, found.took_s
    headline = (
        f"{evidence.platform} settles {number(bets)} bets in {seconds(took_s)} ({number(bets / took_s)} a second)"
    )
    polls, placed = slowed(evidence, "odds"), slowed(evidence, "bet")
    headline += "." if polls is None else f"; {_felt('a poll', *polls)}."
    figures = [
        ("bets settled a second", number(bets / took_s)),
        ("for one bet", milliseconds(1000 * took_s / bets)),
        (f"50,000 bets at this rate (seed: {seconds(50)})", seconds(took_s * SETTLEMENT_BETS / bets)),
    ]
    if polls is not None:
        figures.append(("polls' p99 before and meanwhile", change_ms(*polls)))
    if placed is not None:
        figures.append(("bets' p99 before and meanwhile", change_ms(*placed)))
    detail = "Bets of one event, settled while bettors go on betting on others."
    return Section(headline, detail, figures, charts)


def _felt(what: str, before: float, during: float) -> str:
    ratio = during / before if before else 1.0
    if ratio < 1.1:
        return f"{what} takes no longer meanwhile ({milliseconds(during)} at p99)"
    return f"{what} takes {milliseconds(during)} at p99 meanwhile, {milliseconds(before)} before"


def progress_chart(evidence: Evidence) -> Markup | None:
    """Return bets settled over time; None where no meter saw any."""
    points = progress(evidence)
    if not points:
        return None
    found = settling(evidence)
    if found is not None and found.begin_s < points[0][0]:
        points = [(found.begin_s, 0.0, points[0][2]), *points]
    xs = [at for at, _, _ in points]
    done: list[float | None] = [value for _, value, _ in points]
    total: list[float | None] = [value for _, _, value in points]
    if len(points) > POINTS_MAX:
        done = evidence.columns(((at, value) for at, value, _ in points), max)
        total = evidence.columns(((at, value) for at, _, value in points), max)
        xs = evidence.column_starts
    series = [Series("to settle", total, "c7 dashed"), Series("settled", done, "c1")]
    last = points[-1]
    left = last[2] - last[1]
    fate = "all of them were settled" if left <= 0 else f"{number(left)} were left at the end"
    summary = f"{count(int(last[2]), 'bet')}; {fate}."
    y = linear_axis("bets", [*total, *done])
    notes = time_notes(evidence)
    return line_chart("Settlement", summary, xs, series, time_axis(evidence), y, notes)
