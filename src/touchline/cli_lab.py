"""`touchline lab`: load and faults on a platform, and the report of what came of it.

Exit status: 0 it was run and no rule was broken, 1 a rule was broken (the bet is named), 2 it could not be run or
did not come to its end.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer
from rich.console import Console
from rich.table import Table

from touchline.cli_words import refuse
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.process import PartFailed

if TYPE_CHECKING:  # the lab is imported when it is asked for: it takes a third of a second that `up` need not wait
    from touchline.lab.distant import Server
    from touchline.lab.runner import Asked, Outcome

VIOLATIONS_TOLD_MAX: Final = 10
DATA_DIR: Final = Path(".touchline-lab")
lab_app = typer.Typer(help="The lab: load, faults, and where an architecture breaks.", no_args_is_help=True)
_out: Final = Console(highlight=False)
_err: Final = Console(stderr=True, highlight=False)


@lab_app.callback()
def lab() -> None:
    """The lab: load, faults, and where an architecture breaks."""


@lab_app.command("list")
def list_scenarios() -> None:
    """List what can be run."""
    from touchline.lab.scenarios import SCENARIOS

    table = Table(box=None)
    table.add_column("scenario", style="bold")
    table.add_column("what it shows")
    for scenario in SCENARIOS.values():
        table.add_row(scenario.name, scenario.shows)
    _out.print(table)


@lab_app.command()
def run(
    name: Annotated[str, typer.Argument(help="One of `touchline lab list`.")],
    size: Annotated[str, typer.Option(help="smoke (under a minute) or full")] = "full",
    seed: Annotated[int, typer.Option(help="Of all that is left to chance.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Where the records and the report go.", show_default=False)
    ] = None,
    users: Annotated[str, typer.Option(help="How many bettors; for knee, several: 500,1000,2000")] = "",
    architecture: Annotated[str, typer.Option(help="poll or stream")] = "poll",
    db_latency_ms: Annotated[
        float, typer.Option(help="What a read of PostgreSQL takes longer; writes 5 ×.")
    ] = 0.0,
    generators: Annotated[int, typer.Option(help="Processes of bettors.")] = 2,
    setting: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the platform; repeatable.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the scenario, such as seconds=20; repeatable.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Where the lab's platform keeps everything.")] = DATA_DIR,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with empty books.")] = False,
    running: Annotated[
        bool, typer.Option("--running", help="Load the platform that runs in DATA_DIR, as it is.")
    ] = False,
) -> None:
    """Run a scenario on a platform of the lab's own, check the books, write the report."""
    from touchline.lab.runner import Asked
    from touchline.lab.scenarios import SCENARIOS

    scenario = SCENARIOS.get(name)
    if scenario is None:
        refuse(f"no scenario is called {name}; there are {', '.join(SCENARIOS)}")
    if size not in scenario.sizes:
        refuse(f"--size {size}: one of {', '.join(scenario.sizes)}")
    asked = Asked(
        scenario=scenario,
        data_dir=data_dir,
        size=cast(Literal["smoke", "full"], size),
        seed=seed,
        out=out,
        users=_numbers(users),
        architecture=architecture,
        db_latency_ms=db_latency_ms,
        generators=generators,
        running=running,
        fresh=fresh,
        settings={name.lower().removeprefix("touchline_"): value for name, value in _pairs("setting", setting)},
        changed=dict(_pairs("parameter", parameter)),
    )
    _tell(_run(asked))


@lab_app.command()
def report(run_dir: Annotated[Path, typer.Argument(help="A run's directory.")]) -> None:
    """Write a run's report anew from its records."""
    from touchline.lab.records import RUN, Run, Unreadable, read_whole
    from touchline.lab.report import write

    try:
        written = write(run_dir)
        complete = read_whole(run_dir / RUN, Run).complete
    except Unreadable as unreadable:
        refuse(f"no run can be read in {run_dir}: {unreadable}")
    except OSError as failed:
        refuse(f"the report can't be written: {failed.strerror}")
    _out.print(str(written), markup=False, soft_wrap=True)
    if not complete:
        refuse("the run did not come to its end: this is a report of half a run")


def _run(asked: "Asked") -> "Outcome":
    from touchline.lab.progress import Screen
    from touchline.lab.runner import CannotRun
    from touchline.lab.runner import run as run_scenario

    async def orderly(screen: Screen) -> "Outcome":
        """Run; what would end this process at once ends the run first, which stops what it has started."""
        running = asyncio.ensure_future(run_scenario(asked, screen, _postgres_in))
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        return await running

    try:
        with Screen(_out) as screen:
            return asyncio.run(orderly(screen))
    except CannotRun as cannot:
        refuse(str(cannot))
    except PartFailed as failed:
        refuse(str(failed))
    except (KeyboardInterrupt, asyncio.CancelledError):
        refuse("interrupted: what is recorded is half a run")


def _tell(outcome: "Outcome") -> None:
    from touchline.lab.runner import first_violations

    _out.print(f"report: {outcome.run_dir / 'report.html'}", markup=False, soft_wrap=True)
    if outcome.checks.ok:
        checked = sum(rule.checked for rule in outcome.checks.rules)
        _out.print(f"the money is right: {checked:,} checks, no rule broken")
        return
    for text in first_violations(outcome.checks, VIOLATIONS_TOLD_MAX):
        _err.print(f"✗ {text}", markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _numbers(text: str) -> list[int]:
    try:
        return [int(each) for each in text.split(",")] if text else []
    except ValueError:
        refuse(f"--users {text}: numbers with commas between them")


def _pairs(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    """Return what `NAME=VALUE` pairs name; whether there is such a name is told by whoever has it."""
    found = []
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not equals:
            refuse(f"--{option} {pair}: NAME=VALUE")
        found.append((name.strip(), value.strip()))
    return found


@asynccontextmanager
async def _postgres_in(folder: Path) -> AsyncIterator["Server"]:
    """Yield a PostgreSQL of the embedded kind under `folder`."""
    from touchline.lab.distant import Server

    server = PostgresServer(folder)
    child = await server.start()
    try:
        yield Server(server.dsn, child.pid)
    finally:
        await child.stop()
