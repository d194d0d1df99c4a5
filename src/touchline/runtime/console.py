"""What a person sees of the platform's start, stop and state."""

from types import TracebackType
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from touchline.runtime.control import Failure
from touchline.runtime.instance import Instance
from touchline.runtime.keeper import Notice, State
from touchline.runtime.platform import PartStatus

DEMO_LOGINS: Final = ("alice", "bob", "trader", "feed")
_MARKS: Final = {
    State.READY: "[green]✓[/]",
    State.STOPPED: "[dim]■[/]",
    State.DOWN: "[red]✗[/]",
}


class Progress:
    """A line for each thing done, and below it what is under way."""

    def __init__(self, console: Console, doing: str) -> None:
        self._console = console
        self._doing = doing
        self._waiting: dict[str, None] = {}
        self._status = console.status(doing)

    def __enter__(self) -> "Progress":
        """Begin to show."""
        self._status.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _raised: object, _at: TracebackType | None) -> None:
        """Show no more."""
        self.rest()

    def rest(self) -> None:
        """Nothing is under way any more; what is told from now on still gets its line."""
        self._status.stop()

    def tell(self, notice: Notice) -> None:
        """Show what happened to a part."""
        if notice.state is State.STARTING:
            self._waiting[notice.part] = None
        else:
            self._waiting.pop(notice.part, None)
            detail = f" [dim]{escape(notice.detail)}[/]" if notice.detail else ""
            self._console.print(f"{_MARKS[notice.state]} {notice.part} {notice.state}{detail}", highlight=False)
        self._status.update(f"{self._doing}: {', '.join(self._waiting)}" if self._waiting else self._doing)


def show_ready(console: Console, instance: Instance) -> None:
    """Print where the platform is, and how to get in."""
    address = instance.address
    console.print(f"\ntouchline is ready at [bold]{address}[/]; trader's desk at {address}/desk", soft_wrap=True)
    if instance.demo:
        console.print(f"demo logins: {', '.join(DEMO_LOGINS)}; password demo", highlight=False)


def show_failure(console: Console, failure: Failure) -> None:
    """Print which part failed, why, the end of its log, and what to do."""
    console.print(f"[red]✗ {escape(failure.part)}[/]: {escape(failure.why)}", highlight=False, soft_wrap=True)
    if failure.tail:
        console.print(f"[dim]{escape(failure.tail)}[/]", highlight=False, soft_wrap=True)
    if failure.remedy:
        console.print(f"→ {escape(failure.remedy)}", highlight=False, soft_wrap=True)


def status_table(instance: Instance, parts: list[PartStatus]) -> Table:
    """Return the parts as a table."""
    table = Table(title=f"touchline {instance.architecture} at {instance.address}")
    for column in ("part", "state", "health"):
        table.add_column(column)
    for column in ("pid", "port", "uptime", "restarts"):
        table.add_column(column, justify="right")
    for part in parts:
        health = "[green]ok[/]" if part.healthy else "[red]no answer[/]"
        uptime, restarts = _duration(part.uptime_s), str(part.restarts)
        table.add_row(part.name, part.state, health, str(part.pid or "-"), str(part.port), uptime, restarts)
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {rest:02}s"
