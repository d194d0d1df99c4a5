"""Charts as inline SVG that stretches to any width, each with a title, a sentence and its numbers in a table.

Invariant: the SVG holds shapes alone, in a box of 1000 by 1000 that is stretched to its place; every word and
number is HTML beside or over it, so that it keeps its size on a phone; a screen reader reads the table instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from touchline.lab.markup import Markup, join, number, table, tag
from touchline.lab.scales import Axis

FAILED_SHOWN_MIN: Final = 0.12  # of a strip's height: one request of thousands is seen too
LABEL_ABOVE_MAX: Final = 0.92  # a level that is higher has its label under it
LOW: Final = 0.2  # a level that is lower has the bands' labels above its own
BAR_CUT: Final = 3.0
DOTS_MAX: Final = 40  # a line of more points is drawn without dots
SIDE: Final = 1000


@dataclass(frozen=True)
class Series:
    """A line's or a layer's values, None where there is none; `look` is a class of report.css."""

    name: str
    values: Sequence[float | None]
    look: str
    text: Callable[[float], str] = number


@dataclass(frozen=True)
class Mark:
    """A vertical line at a value of the horizontal axis."""

    at: float
    label: str
    look: str = "knee"


@dataclass(frozen=True)
class Band:
    """A stretch of the horizontal axis: a fault, or what the seed claims."""

    low: float
    high: float
    label: str
    look: str = "fault"


@dataclass(frozen=True)
class Level:
    """A horizontal line at a value of the vertical axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Notes:
    """What is drawn behind and over the values; `rulers` are named stretches above the plot, a run's steps."""

    marks: Sequence[Mark] = ()
    bands: Sequence[Band] = ()
    levels: Sequence[Level] = ()
    rulers: Sequence[Band] = field(default_factory=tuple)


NO_NOTES: Final = Notes()


def line_chart(
    title: str,
    summary: str,
    xs: Sequence[float],
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    notes: Notes = NO_NOTES,
) -> Markup:
    """Return a figure with a line for each series over `xs`; a line breaks where a value is None."""
    shapes = []
    for one in series:
        points = [
            None if value is None else (x.at(at) * SIDE, (1 - y.at(value)) * SIDE)
            for at, value in zip(xs, one.values, strict=True)
        ]
        shapes.append(tag("path", d=_line(points), class_=f"line {one.look}"))
        if len(xs) <= DOTS_MAX:
            shapes.append(tag("path", d=_dots(points), class_=f"dots {one.look}"))
    return _figure(title, summary, shapes, xs, series, x, y, notes)


def stacked_columns(
    title: str,
    summary: str,
    xs: Sequence[float],
    width: float,
    layers: Sequence[Series],
    x: Axis,
    y: Axis,
    notes: Notes = NO_NOTES,
) -> Markup:
    """Return a figure with a column at each of `xs`, `width` wide to its right, the first layer at the bottom."""
    floors = [0.0] * len(xs)
    shapes = []
    for layer in layers:
        path = []
        for index, value in enumerate(layer.values):
            if value:
                left, right = x.at(xs[index]) * SIDE, x.at(xs[index] + width) * SIDE
                bottom, top = (1 - y.at(floors[index])) * SIDE, (1 - y.at(floors[index] + value)) * SIDE
                path.append(f"M{left:.1f} {bottom:.1f}V{top:.1f}H{right:.1f}V{bottom:.1f}Z")
                floors[index] += value
        shapes.append(tag("path", d="".join(path), class_=f"area {layer.look}"))
    return _figure(title, summary, shapes, xs, layers, x, y, notes)


def strips(
    title: str,
    summary: str,
    xs: Sequence[float],
    rows: Sequence[Series],
    x: Axis,
    fault: Band,
    below: Markup | None = None,
) -> Markup:
    """Return a figure with a strip for each row: a second is as red as the share of 1 that failed in it.

    A value of None is a second in which nothing was asked, and stays empty.
    """
    low, high = x.at(fault.low) * SIDE, max(x.at(fault.high) * SIDE, x.at(fault.low) * SIDE + 4)
    broken = _svg(tag("path", d=f"M{low:.1f} 0V{SIDE}H{high:.1f}V0Z", class_="area fault"))
    lanes = [tag("div", fault.label, class_="lane-name"), tag("div", broken, class_="lane plot thin")]
    for row in rows:
        pairs = list(zip(xs, row.values, strict=True))
        asked = "".join(_column(x, at, 1.0) for at, value in pairs if value is not None)
        failed = "".join(_column(x, at, max(value, FAILED_SHOWN_MIN)) for at, value in pairs if value)
        shapes = (tag("path", d=asked, class_="area good"), tag("path", d=failed, class_="area bad"))
        lanes.append(tag("div", row.name, class_="lane-name"))
        lanes.append(tag("div", _svg(*shapes), class_="lane plot", data_hover=True))
    axis = (tag("div"), _x_ticks(x), tag("div", x.label, class_="x-label"))
    drawn = tag("div", *lanes, *axis, class_="strips", aria_hidden="true") if rows else None
    return _wrap(title, summary, tag("div", drawn, below), xs, rows, x)


def _column(x: Axis, at: float, height: float) -> str:
    top = (1 - height) * SIDE
    return f"M{x.at(at) * SIDE:.1f} {SIDE}V{top:.1f}H{x.at(at + 1) * SIDE:.1f}V{SIDE}Z"


@dataclass(frozen=True)
class Bar:
    """A horizontal bar: what, how much, and what is written at its end and behind that."""

    name: str
    value: float | None
    text: str
    note: str = ""
    look: str = "c1"


def bars(title: str, summary: str, rows: Sequence[Bar]) -> Markup:
    """Return a figure with a horizontal bar a row, a list that reads without it.

    A bar that is `BAR_CUT` times longer than the first one is cut, with a gap in it.
    """
    values = [row.value for row in rows if row.value is not None]
    high = max(values, default=0) or 1
    if rows and rows[0].value:
        high = min(high, BAR_CUT * rows[0].value)
    drawn = []
    for row in rows:
        width = 0.0 if row.value is None else 100 * min(1.0, max(0.0, row.value) / high)
        shapes = [tag("rect", width=f"{width:.2f}%", height="100%", class_=f"area {row.look}")]
        if row.value is not None and row.value > high * 1.001:
            shapes.append(tag("rect", x="92%", width="1.5%", height="100%", class_="cut"))
        value = tag("span", f"{row.text} ", tag("span", row.note), class_="bar-value")
        name = tag("span", row.name, class_="bar-name")
        drawn.append(tag("li", name, tag("svg", *shapes, aria_hidden="true"), value))
    return tag("figure", _caption(title, summary), tag("ul", *drawn, class_="bars"), class_="chart")


def _figure(
    title: str,
    summary: str,
    shapes: Sequence[Markup],
    xs: Sequence[float],
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    notes: Notes,
) -> Markup:
    grid = "".join(f"M0 {(1 - y.at(tick)) * SIDE:.1f}H{SIDE}" for tick in y.ticks())
    marks = [
        tag("path", d=f"M{x.at(mark.at) * SIDE:.1f} 0V{SIDE}", class_=f"mark {mark.look}") for mark in notes.marks
    ]
    levels = [
        tag("path", d=f"M0 {(1 - y.at(level.at)) * SIDE:.1f}H{SIDE}", class_="level") for level in notes.levels
    ]
    edges = "".join(f"M{x.at(ruler.low) * SIDE:.1f} 0V{SIDE}" for ruler in notes.rulers)
    svg = _svg(
        _bands(notes, x),
        tag("path", d=grid, class_="grid"),
        tag("path", d=edges, class_="grid"),
        *levels,
        *marks,
        *shapes,
    )
    frame = tag(
        "div",
        tag("div", y.label, class_="y-label"),
        tag("div", *(_ruler(ruler, x) for ruler in notes.rulers), class_="rulers"),
        tag(
            "div",
            *(tag("span", y.text(tick), style=f"bottom:{y.at(tick):.2%}") for tick in y.ticks()),
            class_="y-ticks",
        ),
        tag("div", svg, *_words(notes, x, y), class_="plot", data_hover=True),
        _x_ticks(x),
        tag("div", x.label, class_="x-label"),
        class_="frame",
        aria_hidden="true",
    )
    keys = tag("div", _legend(series), class_="keys")
    return _wrap(title, summary, join([keys, frame]), xs, series, x)


def _wrap(
    title: str, summary: str, body: Markup, xs: Sequence[float], series: Sequence[Series], x: Axis
) -> Markup:
    rows = [
        [x.text(at), *(None if one.values[index] is None else one.text(one.values[index]) for one in series)]  # type: ignore[arg-type]  # checked beside it
        for index, at in enumerate(xs)
    ]
    numbers = table([x.label, *(one.name for one in series)], rows, ats=[x.at(at) for at in xs], caption=title)
    return tag(
        "figure",
        _caption(title, summary),
        body,
        tag("details", tag("summary", "The numbers"), numbers),
        class_="chart",
    )


def _caption(title: str, summary: str) -> Markup:
    return tag("figcaption", tag("h3", title), tag("p", summary))


def _svg(*shapes: Markup) -> Markup:
    return tag("svg", *shapes, viewBox=f"0 0 {SIDE} {SIDE}", preserveAspectRatio="none")


def _line(points: Sequence[tuple[float, float] | None]) -> str:
    path, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
        else:
            path.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
            pen = "L"
    return "".join(path)


def _dots(points: Sequence[tuple[float, float] | None]) -> str:
    """Return lines of no length: with round ends they are circles, however the box is stretched."""
    return "".join(f"M{point[0]:.1f} {point[1]:.1f}h0" for point in points if point is not None)


def _bands(notes: Notes, x: Axis) -> Markup:
    return join(
        tag(
            "rect",
            x=f"{x.at(band.low) * SIDE:.1f}",
            width=f"{max(2.0, (x.at(band.high) - x.at(band.low)) * SIDE):.1f}",
            height=SIDE,
            class_=f"band {band.look}",
        )
        for band in notes.bands
    )


def _words(notes: Notes, x: Axis, y: Axis) -> list[Markup]:
    """Return the labels that lie over the plot; one in the right half is written to the left of its place."""
    words = [_flag(x.at(mark.at), mark.label, f"flag {mark.look}") for mark in notes.marks]
    lifted = max((y.at(level.at) for level in notes.levels if y.at(level.at) < LOW), default=None)
    foot = "" if lifted is None else f";bottom:calc({lifted:.2%} + 20px)"
    for index, band in enumerate(notes.bands, start=1):
        middle = (x.at(band.low) + x.at(band.high)) / 2
        if band.look == "fault":
            words.append(tag("span", index, class_="badge", style=f"left:{middle:.2%}", title=band.label))
        else:
            words.append(tag("span", band.label, class_=f"under {band.look}", style=f"left:{middle:.2%}{foot}"))
    for level in notes.levels:
        look = "level-name low" if y.at(level.at) > LABEL_ABOVE_MAX else "level-name"
        words.append(tag("span", level.label, class_=look, style=f"bottom:{y.at(level.at):.2%}"))
    return words


def _flag(at: float, label: str, look: str) -> Markup:
    side = f"right:{1 - at:.2%}" if at > 0.5 else f"left:{at:.2%}"
    return tag("span", label, class_=look, style=side)


def _ruler(ruler: Band, x: Axis) -> Markup:
    low, high = x.at(ruler.low), x.at(ruler.high)
    return tag("span", ruler.label, style=f"left:{low:.2%};width:{high - low:.2%}", title=ruler.label)


def _x_ticks(x: Axis) -> Markup:
    ticks = [
        tag("span", x.text(tick), style=f"left:{x.at(tick):.2%}", class_="odd" if index % 2 else None)
        for index, tick in enumerate(x.ticks())
    ]
    return tag("div", *ticks, class_="x-ticks")


def _legend(series: Sequence[Series]) -> Markup | None:
    if len(series) < 2:
        return None
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag("svg", tag("path", d="M0 5H22", class_=f"line {one.look}"), viewBox="0 0 22 10"),
                one.name,
            )
            for one in series
        ),
        class_="legend",
        aria_hidden="true",
    )


def numbered(bands: Sequence[Band]) -> Markup | None:
    """Return the list that the numbers of faults in charts stand for; None without a fault."""
    faults = [(index, band) for index, band in enumerate(bands, start=1) if band.look == "fault"]
    if not faults:
        return None
    return tag(
        "ol", *(tag("li", tag("b", index), tag("span", band.label)) for index, band in faults), class_="faults"
    )
