"""`touchline rebuild`: the books worked out anew from the facts of `stream`'s ledger.

Exit status: 0 the tables are what facts say, 1 they are not, 2 it was asked for wrongly or could not be done.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from touchline.adapters.postgres.archive import PostgresArchiveStore
from touchline.cli_words import dsn_of, refuse
from touchline.core.errors import Fault, Outage
from touchline.flows.rebuild_state import Rewritten, Verified
from touchline.flows.rebuild_state import rebuild as rebuild_tables
from touchline.flows.rebuild_state import verify as verify_tables

rebuild_app = typer.Typer(help="Work the books out anew from the facts.", invoke_without_command=True)


@rebuild_app.callback()
def rebuild(
    verify: Annotated[bool, typer.Option("--verify", help="Compare only, and write nothing.")] = False,
    from_snapshots: Annotated[
        bool, typer.Option("--from-snapshots", help="Quicker: wallets, open bets and exposures only.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where the platform keeps everything.")] = None,
) -> None:
    """Compare every wallet, bet, transfer and movement with the facts; without --verify, write them anew before.

    Writing needs the shards' writers to be stopped. Transfers are compared and never written.
    """
    if from_snapshots and not verify:
        refuse("--from-snapshots is a way to --verify")
    try:
        written, found = asyncio.run(_work(dsn_of(data_dir), from_snapshots=from_snapshots, writes=not verify))
    except Outage as away:
        refuse(f"{away}")
    except Fault as fault:
        refuse(f"the facts can't be folded: {fault}")
    out = Console(highlight=False)
    if written is not None:
        out.print(f"written anew: {written.rows:,} rows, {written.exposures:,} exposures")
    out.print(f"{found.facts:,} facts in {found.shards} shards: {found.players:,} players, {found.bets:,} bets")
    for difference in found.differences:
        out.print(f"[red]✗[/] {escape(difference)}", soft_wrap=True)
    if found.differences:
        raise typer.Exit(1)
    out.print("the tables hold what the facts say")


async def _work(dsn: str, *, from_snapshots: bool, writes: bool) -> tuple[Rewritten | None, Verified]:
    store = PostgresArchiveStore(dsn)
    written = await rebuild_tables(store) if writes else None
    return written, await verify_tables(store, from_snapshots=from_snapshots)
