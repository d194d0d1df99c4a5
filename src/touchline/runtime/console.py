"""What a person sees of the platform's start, stop and state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from touchline.runtime.control import Failure
from touchline.runtime.instance import Instance
from touchline.runtime.keeper import Notice, State, Tell
from touchline.runtime.platform import PartStatus

DEMO_LOGINS: Final = ("alice", "bob", "trader", "feed")
_MARKS: Final = {
    State.READY: "[green]✓[/]",
    State.STOPPED: "[dim]■[/]",
    State.DOWN: "[red]✗[/]",
}


@contextmanager
def telling(console: Console, doing: str) -> Iterator[Tell]:
    """Show what is under way while it is, and a line for each thing done."""
    waiting: dict[str, None] = {}
    with console.status(doing) as status:

        def tell(notice: Notice) -> None:
            if notice.state is State.STARTING:
                waiting[notice.part] = None
            else:
                waiting.pop(notice.part, None)
                detail = f" [dim]{escape(notice.detail)}[/]" if notice.detail else ""
                console.print(f"{_MARKS[notice.state]} {notice.part} {notice.state}{detail}", highlight=False)
            status.update(f"{doing}: {', '.join(waiting)}" if waiting else doing)

        yield tell


def show_ready(console: Console, instance: Instance) -> None:
    """Print where the platform is, and how to get in."""
    console.print(
        f"\ntouchline is ready at [bold]{instance.address}[/]; trader's desk at {instance.address}/desk",
        soft_wrap=True,
    )
    if instance.demo:
        console.print(f"demo logins: {', '.join(DEMO_LOGINS)}; password demo", highlight=False)


def show_failure(console: Console, failure: Failure) -> None:
    """Print which part failed, why, the end of its log, and what to do."""
    console.print(f"[red]✗ {escape(failure.part)}[/]: {escape(failure.why)}", highlight=False)
    if failure.tail:
        console.print(f"[dim]{escape(failure.tail)}[/]", highlight=False)
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
