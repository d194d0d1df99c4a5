"""`touchline feed`: recorded feeds replayed into a running platform.

Exit status: 0 all was taken, 1 the platform refused messages, 2 no platform, no such file or nothing in it.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Annotated, Final, NoReturn, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from touchline.adapters.feeds.betfair import BetfairFeed
from touchline.adapters.feeds.recordings import Malformed, Recording
from touchline.architectures.settings import Settings, SettingsWrong, read_settings
from touchline.core.errors import Outage, Rejection
from touchline.core.feed import AnyMessage
from touchline.edge.replay import PlatformDoor, Replay, ReplayReport
from touchline.flows.sign_in import DEMO_PASSWORD
from touchline.runtime.instance import is_running, read_instance

MALFORMED_SHOWN_MAX: Final = 20
feed_app = typer.Typer(help="Feeds: where odds and results come from.", no_args_is_help=True)
_out: Final = Console(highlight=False)
_err: Final = Console(stderr=True, highlight=False)


class Source(Protocol):
    """Recordings of one kind, read one after another."""

    malformed: Malformed

    def messages(self) -> Iterator[AnyMessage]:
        """Yield every message of every file."""

    def markets(self) -> int:
        """Return how many markets were seen."""

    def bytes_read(self) -> int:
        """Return how much of the files was read."""

    def contents(self) -> str:
        """Say what was found instead where there is no market."""


@dataclass(slots=True)
class BetfairSource:
    """Betfair stream recordings."""

    recordings: Sequence[Recording]
    malformed: Malformed = field(default_factory=Malformed)
    _feeds: list[BetfairFeed] = field(default_factory=list)
    _done_bytes: int = 0
    _reading: Recording | None = None

    def messages(self) -> Iterator[AnyMessage]:
        """See `Source`."""
        for recording in self.recordings:
            feed = BetfairFeed()
            self._feeds.append(feed)
            self._reading = recording
            with recording:
                yield from feed.replay(recording)
            self._reading = None
            self._done_bytes += recording.size_bytes
            self.malformed.add(feed.stats.malformed, recording.path.name if len(self.recordings) > 1 else "")

    def markets(self) -> int:
        """See `Source`."""
        return sum(feed.stats.markets for feed in self._feeds)

    def bytes_read(self) -> int:
        """See `Source`."""
        return self._done_bytes + (self._reading.bytes_read if self._reading else 0)

    def contents(self) -> str:
        """See `Source`."""
        lines = sum(feed.stats.lines for feed in self._feeds)
        others = sorted({op for feed in self._feeds for op in feed.stats.other_lines})
        of_others = f", of other streams ({', '.join(others)})" if others else ""
        return f"{lines} lines{of_others}, {self.malformed.count} of them malformed"


@feed_app.callback()
def feed() -> None:
    """Feeds: where odds and results come from."""


@feed_app.command()
def replay(
    betfair: Annotated[Path | None, typer.Option(metavar="FILE", help="A Betfair stream recording.")] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="More files of the kind.")] = None,
    speed: Annotated[str, typer.Option(metavar="N|max", help="Recorded seconds in a second.")] = "max",
    to: Annotated[str | None, typer.Option(metavar="URL", help="The platform; default: the one here.")] = None,
    username: Annotated[str, typer.Option(help="An account that may feed.")] = "feed",
    password: Annotated[str, typer.Option(help="Its password.")] = DEMO_PASSWORD,
) -> None:
    """Send a recorded feed to a running platform; sending it twice changes nothing."""
    pace = _pace(speed)
    address = to or _address_here()
    if betfair is None:
        _refuse("name a recording: --betfair FILE")
    try:
        recordings = [Recording(path) for path in (betfair, *(more or ()))]
        source = BetfairSource(recordings)
        size_bytes = sum(recording.size_bytes for recording in recordings)
        report = asyncio.run(_replay(source, size_bytes, pace, address, username, password))
    except Rejection as refused:
        _refuse(refused.detail)
    except Outage as outage:
        _refuse(f"{outage}; `touchline up` starts one, --to URL names another")
    names = ", ".join(recording.path.name for recording in recordings)
    _tell(names, source, report)


async def _replay(
    source: Source, size_bytes: int, pace: float | None, address: str, username: str, password: str
) -> ReplayReport:
    report = ReplayReport()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[markets]} markets, {task.fields[sent]} messages"),
        TimeElapsedColumn(),
        console=_err,
        transient=True,
        disable=not _err.is_terminal,
    )
    with bar:
        task = bar.add_task("replaying", total=size_bytes, markets=0, sent=0)

        def progress() -> None:
            bar.update(task, completed=source.bytes_read(), markets=source.markets(), sent=report.sent)

        async with PlatformDoor(address, username, password, report) as door:
            await door.log_in()
            await Replay(door, report, progress).run(source.messages(), pace)
    return report


def _tell(names: str, source: Source, report: ReplayReport) -> None:
    for line in source.malformed.named[:MALFORMED_SHOWN_MAX]:
        _err.print(f"malformed: {line}", markup=False, soft_wrap=True)
    if source.malformed.count > MALFORMED_SHOWN_MAX:
        _err.print(f"malformed: and {source.malformed.count - MALFORMED_SHOWN_MAX} more")
    if report.sent == 0:
        _refuse(f"{names} holds no markets: {source.contents()}")
    retried = f", {report.retries} requests sent again" if report.retries else ""
    _out.print(
        f"{names}: {source.markets()} markets, {report.sent} messages: {report.applied} applied, "
        f"{report.ignored} ignored, {report.refused} refused; {source.malformed.count} malformed{retried}",
        markup=False,
        soft_wrap=True,
    )
    for refusal in report.refusals:
        _err.print(f"refused: {refusal}", markup=False, soft_wrap=True)
    if report.refused:
        raise typer.Exit(1)


def _pace(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        pace = float(speed)
    except ValueError:
        pace = 0.0
    if not isfinite(pace) or pace <= 0:
        _refuse(f"--speed {speed}: give a number above 0 of recorded seconds in a second, or max")
    return pace


def _address_here() -> str:
    """Return the address of the platform that runs from this directory, else where one would be."""
    try:
        settings: Settings = read_settings(os.environ)
    except SettingsWrong as wrong:
        _refuse(str(wrong))
    instance = read_instance(settings.data_dir.expanduser().resolve())
    if instance is not None and is_running(instance):
        return instance.address
    return f"http://127.0.0.1:{settings.port}"


def _refuse(why: str) -> NoReturn:
    _err.print(f"touchline: {why}", markup=False, soft_wrap=True)
    raise typer.Exit(2)
