"""Measured in turns, A B A B, against a yardstick of the same run: medians, spread, and their ratio."""

import statistics
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROUNDS = 3
Measure = Callable[[], Awaitable[float]]


async def in_turns(title: str, yardstick: tuple[str, Measure], ours: tuple[str, Measure], bar: float) -> float:
    """Measure both in turns, print rates and ratio beside the bar, and return the ratio of the medians."""
    rates: dict[str, list[float]] = {yardstick[0]: [], ours[0]: []}
    with Progress(transient=True) as progress:
        task = progress.add_task(title, total=2 * ROUNDS)
        for _ in range(ROUNDS):
            for name, measure in (yardstick, ours):
                rates[name].append(await measure())
                progress.advance(task)
    table = Table(title=title)
    for column in ("", "median a second", "lowest", "highest", "ratio", "bar"):
        table.add_column(column, justify="left" if not column else "right")
    ratio = statistics.median(rates[ours[0]]) / statistics.median(rates[yardstick[0]])
    for name, measured in rates.items():
        mine = name == ours[0]
        table.add_row(
            name,
            f"{statistics.median(measured):,.0f}",
            f"{min(measured):,.0f}",
            f"{max(measured):,.0f}",
            f"{ratio:.2f}" if mine else "",
            f"{bar:.2f}" if mine else "",
        )
    Console().print(table)
    return ratio
