"""HTML put together from values, and numbers as a person reads them.

Invariant: text becomes HTML in `tag` and in nothing else, and is escaped there; only `Markup` passes as it is.
"""

import html
import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

_VOID: Final = frozenset({"meta", "link", "br", "path", "line", "rect", "circle"})  # no end tag, or closed at once
_UNIT: Final = re.compile(r"(?<=\d) (?=(?:ms|s|min|MiB)\b|%)")
_SHORT: Final = ((1e9, "G"), (1e6, "M"))

Cell = "str | float | Markup | None"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element; `class_`, `data_x` stand for `class`, `data-x`; None and False leave an attribute out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    """Return the children beside each other; what is not `Markup` is escaped, None is nothing."""
    written = (child if isinstance(child, Markup) else _escape(child) for child in children if child is not None)
    return Markup("".join(written))


def _escape(child: object) -> str:
    """Return text as HTML, with each number and its unit on one line."""
    return _UNIT.sub("\u00a0", html.escape(str(child)))


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    ats: Sequence[float] | None = None,
    caption: str | None = None,
) -> Markup:
    """Return a table that scrolls sideways in its own box; a row's first cell names it.

    `ats` places each row on its chart's horizontal axis, 0 to 1.
    """
    body = []
    for index, row in enumerate(rows):
        cells = [tag("th", row[0], scope="row"), *(_cell(value) for value in row[1:])]
        body.append(tag("tr", *cells, data_at=None if ats is None else f"{ats[index]:.4f}"))
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    named = None if caption is None else tag("caption", caption)
    inner = tag("table", named, head, tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption or heads[0])


def _cell(value: object) -> Markup:
    if value is None:
        return tag("td", "–", class_="none")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return tag("td", number(value), class_="num")
    return tag("td", value)


def number(value: float) -> str:
    """Return three significant digits or the whole number: 1,350, 86.4, 0.0123; a thin hyphen where it is none."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    for unit, suffix in _SHORT:
        if size >= 10 * unit:
            return f"{value / unit:,.1f} {suffix}"
    if size >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    places = 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{places}f}".rstrip("0").rstrip(".") or "0"


def exact(value: float) -> str:
    """Return a round value of an axis as it is, to two places: 1,000, 37.5."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def milliseconds(value: float | None) -> str:
    """Return a time in the unit that it is read in: 0.8 ms, 120 ms, 1.2 s, 3 min 20 s."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 1000:
        return f"{number(value)} ms"
    if value < 120_000:
        return f"{number(value / 1000)} s"
    minutes, rest = divmod(round(value / 1000), 60)
    return f"{minutes:,} min {rest} s" if rest else f"{minutes:,} min"


def seconds(value: float | None) -> str:
    """Return a time in seconds as `milliseconds` does."""
    return milliseconds(None if value is None else value * 1000)


def percent(share: float | None) -> str:
    """Return a share of 1 in percent; what is not nothing is never told as 0, nor what is not all as 100."""
    if share is None or not math.isfinite(share):
        return "–"
    points = share * 100
    if 0 < points < 0.01:
        return "<0.01 %"
    if 99.99 < points < 100:
        return ">99.99 %"
    places = 0 if 10 <= points <= 90 else 1 if 1 <= points <= 99 else 2
    return f"{round(points, places):g} %"


def change_ms(before: float | None, after: float | None) -> str:
    """Return two times beside each other: 24.4 → 31 ms."""
    first, second = milliseconds(before), milliseconds(after)
    unit = second.partition(" ")[2]
    return (
        f"{first.removesuffix(' ' + unit)} → {second}"
        if first.partition(" ")[2] == unit
        else f"{first} → {second}"
    )


def count(amount: int, one: str, many: str | None = None) -> str:
    """Return `1 bet`, `2 bets`."""
    return f"{number(amount)} {one if amount == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
