"""The command line: `touchline up`, and what to do with a platform that runs.

Exit status: 0 it is done, 1 it could not be done, 2 it was asked for wrongly or there is no platform to ask.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from rich.console import Console
from rich.markup import escape

from touchline import __version__
from touchline.adapters.postgres.books import PostgresBooks
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.migrations import Phase
from touchline.adapters.postgres.migrations import migrate as apply_migrations
from touchline.architectures.parts import Listening
from touchline.architectures.settings import SettingsWrong
from touchline.cli_deadletters import deadletters_app
from touchline.cli_feed import feed_app
from touchline.cli_lab import lab_app
from touchline.cli_rebuild import rebuild_app
from touchline.cli_words import dsn_of, instance_in, refuse, settings_of
from touchline.core.errors import Fault, Outage
from touchline.flows.reconcile_ledger import Reconciliation
from touchline.flows.reconcile_ledger import reconcile as reconcile_books
from touchline.runtime.addresses import LOCALHOST, is_own
from touchline.runtime.console import Progress, show_failure, show_ready, status_table
from touchline.runtime.control import NotRunning, Request, failure_of
from touchline.runtime.instance import Instance
from touchline.runtime.launch import Failed, Show, request, start_detached, stop
from touchline.runtime.platform import PartStatus
from touchline.runtime.process import CannotStart, PartFailed
from touchline.runtime.role import UnknownRole, run_role
from touchline.runtime.supervisor import supervise

app = typer.Typer(
    help="A live sports betting platform.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(feed_app, name="feed")
app.add_typer(lab_app, name="lab")
app.add_typer(rebuild_app, name="rebuild")
app.add_typer(deadletters_app, name="deadletters")
_out: Final = Console()
_err: Final = Console(stderr=True)

DataDir = Annotated[Path | None, typer.Option(help="Where the platform keeps everything.", show_default=False)]


def _tell_version(asked: bool) -> None:
    if asked:
        _out.print(f"touchline {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def touchline(
    version: Annotated[
        bool, typer.Option("--version", help="Tell the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """A live sports betting platform."""


@app.command()
def up(
    architecture: Annotated[str | None, typer.Option(help="poll or stream", show_default=False)] = None,
    pods: Annotated[str | None, typer.Option(help="How many pods.", show_default=False)] = None,
    port: Annotated[str | None, typer.Option(help="Where clients connect.", show_default=False)] = None,
    feed: Annotated[str | None, typer.Option(help="demo or none", show_default=False)] = None,
    kafka: Annotated[str | None, typer.Option(help="HOST:PORT of a cluster: stream.", show_default=False)] = None,
    data_dir: DataDir = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget every bet, price and account first.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it is ready; it runs on.")] = False,
) -> None:
    """Start the platform; Ctrl-C stops it."""
    settings = settings_of(
        architecture=architecture, pods=pods, port=port, feed=feed, kafka=kafka, data_dir=data_dir
    )
    try:
        with Progress(_out, "starting") as progress:
            if detach:
                start_detached(settings, fresh=fresh, tell=progress.tell)
                instance = instance_in(settings.data_dir)
                if instance is not None:
                    show_ready(_out, instance)
                return

            def ready(started: Instance) -> None:
                progress.rest()
                show_ready(_out, started)
                _out.print("Ctrl-C stops it")

            asyncio.run(supervise(settings, fresh=fresh, tell=progress.tell, ready=ready))
    except CannotStart as refused:
        refuse(str(refused))
    except PartFailed as failed:
        show_failure(_err, failure_of(failed))
        raise typer.Exit(1) from None
    except Failed as failed:
        show_failure(_err, failed.failure)
        raise typer.Exit(1) from None


@app.command()
def down(data_dir: DataDir = None) -> None:
    """Stop the platform: balancer, pods, workers, Valkey, PostgreSQL."""
    settings = settings_of(data_dir=data_dir)
    try:
        with Progress(_out, "stopping") as progress:
            stopped = stop(settings.data_dir, progress.tell)
    except Failed as failed:
        show_failure(_err, failed.failure)
        raise typer.Exit(1) from None
    _out.print("stopped" if stopped else "nothing was running")


@app.command()
def status(
    follow: Annotated[bool, typer.Option("--follow", help="Go on telling what happens to the parts.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show every part; exit status 1 where the platform is not running or a part does not answer."""
    instance = instance_in(settings_of(data_dir=data_dir).data_dir)
    if instance is None:
        _out.print("not running")
        raise typer.Exit(1)
    seen: list[PartStatus] = []

    def show(parts: list[PartStatus]) -> None:
        seen.extend(parts)
        _out.print(status_table(instance, parts))

    _ask(instance, Request("watch" if follow else "status"), show)
    if not all(part.healthy for part in seen):
        raise typer.Exit(1)


@app.command()
def restart(
    rolling: Annotated[bool, typer.Option("--rolling", help="One pod after another: no request fails.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Restart pods and workers, on the code that is installed now."""
    instance = instance_in(settings_of(data_dir=data_dir).data_dir)
    if instance is None:
        refuse("nothing is running; `touchline up` starts it")
    _ask(instance, Request("restart", rolling=rolling))
    _out.print("restarted")


@app.command()
def migrate(
    phase: Annotated[str, typer.Option(help="before or after the new code is started, or both")] = "both",
    data_dir: DataDir = None,
) -> None:
    """Bring the database's schema to what this code needs."""
    if phase not in ("before", "after", "both"):
        refuse(f"--phase {phase}: one of before, after, both")
    phases = ("before", "after") if phase == "both" else (phase,)
    dsn = dsn_of(data_dir)
    try:
        applied = asyncio.run(apply_migrations(dsn, cast(tuple[Phase, ...], phases)))
    except Outage as away:
        refuse(f"{away}, or a lock was not to be had in time: run it again")
    except Fault as fault:
        _err.print(f"[red]{escape(str(fault))}[/]")
        raise typer.Exit(1) from None
    _out.print("\n".join(applied) if applied else "nothing to do")


@app.command()
def reconcile(data_dir: DataDir = None) -> None:
    """Compare the books with themselves; exit status 0 only where every record agrees."""
    try:
        found = asyncio.run(_reconcile(dsn_of(data_dir)))
    except Outage as away:
        refuse(f"{away}: is the platform running?")
    for name, amount in found.sums.items():
        _out.print(f"{name:>12} {amount:>16,}", highlight=False)
    for discrepancy in found.discrepancies:
        _out.print(f"[red]✗[/] {escape(discrepancy)}", highlight=False)
    if found.discrepancies:
        _out.print(f"the books do not balance: {len(found.discrepancies)} discrepancies")
        raise typer.Exit(1)
    _out.print("the books balance")


@app.command(hidden=True)
def role(
    name: str,
    port: Annotated[int, typer.Option()] = 0,
    stream_port: Annotated[int, typer.Option()] = 0,
    host: Annotated[str, typer.Option(help="An IPv4 address of this machine, where it listens.")] = LOCALHOST,
) -> None:
    """Be one of the platform's own processes; started by the supervisor, or by another one."""
    if not is_own(host):
        refuse(f"--host {host}: name one IPv4 address of this machine that the others can reach")
    try:
        run_role(settings_of(), name, Listening(port, stream_port, host))
    except UnknownRole as unknown:
        refuse(str(unknown))
    except SettingsWrong as wrong:
        refuse(*wrong.problems)
    except Outage as away:
        _err.print(f"{away}")
        raise typer.Exit(1) from None


def main() -> None:
    """Run the command line."""
    app()


async def _reconcile(dsn: str) -> Reconciliation:
    database = await Database.connect(dsn, pool_size=1, name="touchline reconcile")
    try:
        return await reconcile_books(PostgresBooks(database))
    finally:
        await database.close()


def _ask(instance: Instance, asked: Request, show: Show | None = None) -> None:
    try:
        with Progress(_out, asked.verb) as progress:
            asyncio.run(request(instance, asked, progress.tell, show))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except NotRunning:
        refuse("the supervisor does not answer; `touchline down` ends what is left, then start again")
    except Failed as failed:
        show_failure(_err, failed.failure)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    main()
