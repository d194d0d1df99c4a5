"""Volatility: how many bets are refused for a moved price, by how fast prices move and how often clients poll.

Invariant: a cell of the grid is one step that was run; chance's share stands beside it, never in its place.
"""

from collections.abc import Mapping

from touchline.lab.charts import Level, Notes, Series, line_chart
from touchline.lab.evidence import Evidence
from touchline.lab.markup import Markup, number, percent, tag
from touchline.lab.measures import expected_share, refused_share, setting
from touchline.lab.scales import linear_axis, log_axis
from touchline.lab.sections.parts import Section

Grid = Mapping[tuple[float, float], float]  # (poll interval in s, changes a second): share refused
LINE_LOOKS = ("c2", "c1", "c3", "c4", "c5", "c6")


def section(evidence: Evidence) -> Section:
    """Return what the run says of refusals."""
    grid = _grid(evidence)
    if not grid:
        return Section("No bet was answered: nothing can be said of refusals.")
    return Section(_headline(evidence, grid), _detail(grid), _figures(grid), [_heat(grid), _lines(grid)])


def _grid(evidence: Evidence) -> Grid:
    found = {}
    for step in evidence.steps:
        interval, changes = setting(evidence, step, "poll_interval_s"), setting(evidence, step, "changes_per_s")
        share = refused_share(result for result in evidence.results if result.step == step.name)
        if interval is not None and changes is not None and share is not None:
            found[interval, changes] = share
    return found


def _headline(evidence: Evidence, grid: Grid) -> str:
    (interval, changes), most = max(grid.items(), key=lambda cell: cell[1])
    told = f"{evidence.platform} refuses {percent(most)} of bets for a moved price at {_changes(changes)} a second"
    shortest = min(key[0] for key in grid)
    other = grid.get((shortest, changes))
    if shortest == interval or other is None:
        return f"{told}, {_shown(interval)}."
    return f"{told} when polled every {_seconds(interval)}, and still {percent(other)} every {_seconds(shortest)}."


def _detail(grid: Grid) -> str:
    if not any(interval for interval, _ in grid):
        return "A bet carries the version of the price that was pushed last; what is refused was on its way then."
    return (
        "A bet carries the version of the price that its client polled last. In small type: what chance alone "
        "gives, where changes come at random and a bet at any instant between two polls."
    )


def _figures(grid: Grid) -> list[tuple[str, str]]:
    least, most = min(grid.items(), key=lambda cell: cell[1]), max(grid.items(), key=lambda cell: cell[1])
    within = sum(0.10 <= share <= 0.20 for share in grid.values())
    return [
        (f"refused at most ({_changes(most[0][1])}/s, {_shown(most[0][0])})", percent(most[1])),
        (f"refused at least ({_changes(least[0][1])}/s, {_shown(least[0][0])})", percent(least[1])),
        ("cells within the seed's 10 to 20 %", f"{within} of {len(grid)}"),
    ]


def _heat(grid: Grid) -> Markup:
    intervals, rates = sorted({key[0] for key in grid}), sorted({key[1] for key in grid})
    rows = []
    for interval in intervals:
        cells = []
        for rate in rates:
            share = grid.get((interval, rate))
            chance = tag("small", f"chance: {percent(round(expected_share(rate, interval), 2))}")
            style = None if share is None else f"--share:{100 * min(1.0, share) * 0.75:.0f}%"
            cells.append(tag("td", "–" if share is None else percent(share), chance, style=style))
        rows.append(tag("tr", tag("th", _shown(interval), scope="row"), *cells))
    heads = [tag("th", ""), *(tag("th", f"{_changes(rate)}/s", scope="col") for rate in rates)]
    body = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="heat")
    name = "Bets refused because the price moved"
    told = "Down: how often a client polls. Across: how often a market's price changes, a second."
    scroll = tag("div", body, class_="scroll", tabindex="0", role="region", aria_label=name)
    return tag("figure", tag("figcaption", tag("h3", name), tag("p", told)), scroll, class_="card")


def _lines(grid: Grid) -> Markup:
    intervals, rates = sorted({key[0] for key in grid}), sorted({key[1] for key in grid})
    series = []
    for index, interval in enumerate(intervals):
        look = LINE_LOOKS[index % len(LINE_LOOKS)]
        name = _shown(interval)
        series.append(Series(name, [grid.get((interval, rate)) for rate in rates], look, percent))
        chance = [expected_share(rate, interval) for rate in rates]
        series.append(Series(f"{name}, by chance", chance, f"{look} dashed", percent))
    levels = [Level(0.1, ""), Level(0.2, "seed: 10 to 20 %")]
    label = "price changes of a market a second"
    x = log_axis(label, rates) if rates[0] > 0 else linear_axis(label, rates)
    y = linear_axis(
        "share of bets refused", [0.2, *(value for one in series for value in one.values)], text=percent
    )
    summary = "Lines are what was measured, dashes are chance. The more often prices move, the less polling helps."
    return line_chart("Measured and by chance", summary, rates, series, x, y, Notes(levels=levels))


def _changes(rate: float) -> str:
    return f"{number(rate)} change{'' if rate == 1 else 's'}"


def _shown(interval: float) -> str:
    """Return how prices come to a bettor; an interval of 0 stands for pushes."""
    return f"polled every {_seconds(interval)}" if interval else "pushed"


def _seconds(interval: float) -> str:
    return f"{number(interval)} s"
