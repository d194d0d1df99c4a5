"""`touchline feed`: recorded feeds replayed into a running platform.

Exit status: 0 all was taken, 1 the platform refused messages, 2 no platform, no such file or nothing in it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from touchline.adapters.feeds.betfair import BetfairFeed
from touchline.adapters.feeds.recordings import Malformed, Recording
from touchline.adapters.feeds.uof import UofFeed
from touchline.cli_words import instance_in, refuse, settings_of
from touchline.core.errors import Outage, Rejection
from touchline.core.feed import AnyMessage
from touchline.edge.replay import PlatformDoor, Replay, ReplayReport
from touchline.flows.sign_in import DEMO_PASSWORD

MALFORMED_SHOWN_MAX: Final = 20
feed_app = typer.Typer(help="Feeds: where odds and results come from.", no_args_is_help=True)
_out: Final = Console(highlight=False)
_err: Final = Console(stderr=True, highlight=False)


class Source:
    """Recordings of one kind, read one after another."""

    def __init__(self, kind: type[BetfairFeed] | type[UofFeed], paths: Sequence[Path]) -> None:
        """Open every file.

        Raises:
            Rejection: MALFORMED: one can't be read.
        """
        self._kind = kind
        self._feeds: list[BetfairFeed | UofFeed] = []
        self._recordings = [Recording(path) for path in paths]
        self.malformed = Malformed()
        self.size_bytes = sum(recording.size_bytes for recording in self._recordings)
        self.bytes_read = 0
        self.names = ", ".join(path.name for path in paths)

    def messages(self) -> Iterator[AnyMessage]:
        """Yield every message of every file."""
        for recording in self._recordings:
            feed = self._kind()
            self._feeds.append(feed)
            before = self.bytes_read
            with recording:
                for message in feed.replay(recording):
                    self.bytes_read = before + recording.bytes_read
                    yield message
            self.bytes_read = before + recording.size_bytes
            self.malformed.add(feed.stats.malformed, recording.path.name if len(self._recordings) > 1 else "")

    @property
    def markets(self) -> int:
        """How many markets were seen."""
        return len({market_id for feed in self._feeds for market_id in feed.stats.market_ids})

    def contents(self) -> str:
        """Say what was found, in a few words."""
        found = "; ".join(feed.contents() for feed in self._feeds)
        return f"{found}; {self.malformed.count} malformed"


@feed_app.callback()
def feed() -> None:
    """Feeds: where odds and results come from."""


@feed_app.command()
def replay(
    betfair: Annotated[Path | None, typer.Option(metavar="FILE", help="A Betfair stream recording.")] = None,
    uof: Annotated[Path | None, typer.Option(metavar="FILE...", help="Unified Odds Feed messages, XML.")] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="More files of the kind.")] = None,
    speed: Annotated[str, typer.Option(metavar="N|max", help="Recorded seconds in a second.")] = "max",
    to: Annotated[str | None, typer.Option(metavar="URL", help="The platform; default: the one here.")] = None,
    username: Annotated[str, typer.Option(help="An account that may feed.")] = "feed",
    password: Annotated[str, typer.Option(help="Its password.")] = DEMO_PASSWORD,
) -> None:
    """Send a recorded feed to a running platform; sending it twice changes nothing."""
    pace = _pace(speed)
    address = to or _address_here()
    first = uof if betfair is None else betfair
    if first is None or (betfair and uof):
        refuse("name what to replay: either --betfair FILE or --uof FILE...")
    try:
        source = Source(UofFeed if betfair is None else BetfairFeed, [first, *(more or ())])
        report = asyncio.run(_replay(source, pace, address, username, password))
    except Rejection as refused:
        refuse(refused.detail)
    except Outage as outage:
        refuse(f"{outage}; `touchline up` starts one, --to URL names another")
    _tell(source, report)


async def _replay(source: Source, pace: float | None, address: str, username: str, password: str) -> ReplayReport:
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
        task = bar.add_task("replaying", total=source.size_bytes, markets=0, sent=0)

        def progress() -> None:
            bar.update(task, completed=source.bytes_read, markets=source.markets, sent=report.sent)

        async with PlatformDoor(address, username, password, report) as door:
            await door.log_in()
            await Replay(door, report, progress).run(source.messages(), pace)
    return report


def _tell(source: Source, report: ReplayReport) -> None:
    for line in source.malformed.named[:MALFORMED_SHOWN_MAX]:
        _err.print(f"malformed: {line}", markup=False, soft_wrap=True)
    if source.malformed.count > MALFORMED_SHOWN_MAX:
        _err.print(f"malformed: and {source.malformed.count - MALFORMED_SHOWN_MAX} more")
    if report.sent == 0:
        refuse(f"{source.names} holds no markets: nothing to replay in {source.contents()}")
    retried = f", {report.retries} requests sent again" if report.retries else ""
    _out.print(
        f"{source.names}: {source.markets} markets, {report.sent} messages: {report.applied} applied, "
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
        refuse(f"--speed {speed}: give a number above 0 of recorded seconds in a second, or max")
    return pace


def _address_here() -> str:
    """Return the address of the platform that runs from this directory, else where one would be."""
    settings = settings_of()
    instance = instance_in(settings.data_dir)
    if instance is not None:
        return instance.address
    return f"http://127.0.0.1:{settings.port}"
