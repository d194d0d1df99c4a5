"""What a run shows while it goes on: a bar for the step, with its rates and p99, and a line for its end.

Invariant: it changes nothing; where there is no terminal it prints the lines alone.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from touchline.lab.recorder import Live
from touchline.lab.records import Step, StepResult


class Screen:
    """The progress of a run on `console`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[how]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def tell(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def doing(self, what: str, done: float = 0, total: float | None = None, how: str = "") -> None:
        """Show what is being done, and how much of it."""
        if self._task is None:
            self._task = self._bar.add_task(what, total=total, how=how)
        self._bar.update(self._task, description=what, completed=done, total=total, how=how)

    def counted(self, what: str, done: int, total: int) -> None:
        """Show how many of something are done."""
        self.doing(what, done, total, f"{done} of {total}")

    def step(self, step: Step, now_s: float, live: Live) -> None:
        """Show how a step goes."""
        done, total = now_s - step.starts_s, step.ends_s - step.starts_s
        p99 = "" if live.p99_ms is None else f", p99 {live.p99_ms:,.0f} ms"
        rates = f"{live.offered_per_s:,.0f}/s offered, {live.achieved_per_s:,.0f}/s answered"
        how = f"{step.users:,} users, {rates}{p99}"
        self.doing(step.name, max(0.0, done), total, how)

    def ended(self, step: Step, results: Sequence[StepResult]) -> None:
        """Print what came of a step."""
        offered = sum(result.offered_per_s for result in results)
        achieved = sum(result.achieved_per_s for result in results)
        p99 = [f"{result.kind} {result.p99_ms:,.0f}" for result in results if result.p99_ms is not None]
        self.tell(
            f"{step.name}: {step.users:,} users, {offered:,.0f}/s offered, {achieved:,.0f}/s answered, "
            f"p99 ms: {', '.join(p99) or 'none'}"
        )
