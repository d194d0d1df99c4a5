"""`touchline deadletters`: what settlement could not carry out, and telling it to try again.

Exit status: 0 it is done, or there are none, 1 there are some, or one can't be replayed, 2 it was asked for
wrongly or there is no database to ask.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.dead_letters import PostgresDeadLetters
from touchline.adapters.system import SystemClock
from touchline.cli_words import dsn_of, refuse
from touchline.core.errors import Outage
from touchline.ports.settling import LETTERS_SHOWN_MAX, DeadLetter

NONE: Final = "no dead letters"
deadletters_app = typer.Typer(help="Settlements that could not be carried out.", no_args_is_help=True)
DataDir = Annotated[Path | None, typer.Option(help="Where the platform keeps everything.", show_default=False)]
T = TypeVar("T")


@deadletters_app.callback()
def deadletters() -> None:
    """Settlements that could not be carried out."""


@deadletters_app.command("list")
def show(data_dir: DataDir = None) -> None:
    """Show every dead letter and why it is one; exit status 1 where there are any."""
    letters = _ask(data_dir, lambda store: store.waiting(LETTERS_SHOWN_MAX))
    if not letters:
        _out().print(NONE)
        return
    table = Table("letter", "market", "settlement", "attempts", "failed at", "why")
    for letter in letters:
        failed_at = letter.failed_at.isoformat(sep=" ", timespec="seconds")
        settlement = "" if letter.settlement_id is None else str(letter.settlement_id)
        market = letter.market_id or f"shard {letter.shard}"
        number, attempts = str(letter.letter_id), str(letter.attempts)
        table.add_row(number, market, settlement, attempts, failed_at, escape(letter.why))
    _out().print(table)
    raise typer.Exit(1)


@deadletters_app.command()
def replay(
    letter: Annotated[int | None, typer.Argument(metavar="[LETTER]", help="One, by its number.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every one, in order.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Tell of dead letters once more, so that settlement tries them again."""
    if (letter is None) is not every:
        refuse("name a letter, or all of them with --all")
    told = _ask(data_dir, lambda store: _replay(store, letter))
    if not told:
        _out().print(NONE)
    for number, replayed in told:
        _out().print(f"letter {number}: {'told of once more' if replayed else 'there is none to replay'}")
    if not all(replayed for _, replayed in told):
        raise typer.Exit(1)


async def _replay(store: PostgresDeadLetters, letter: int | None) -> Sequence[tuple[int, bool]]:
    waiting: Sequence[DeadLetter] = await store.waiting(LETTERS_SHOWN_MAX) if letter is None else ()
    numbers = [one.letter_id for one in waiting] if letter is None else [letter]
    at = SystemClock().now()
    return [(number, await store.replay(number, at)) for number in numbers]


def _ask(data_dir: Path | None, question: Callable[[PostgresDeadLetters], Awaitable[T]]) -> T:
    """Return what the letters of the running platform, or of the settings' database, answer."""

    async def ask(dsn: str) -> T:
        database = await Database.connect(dsn, pool_size=1, name="touchline deadletters")
        try:
            return await question(PostgresDeadLetters(database))
        finally:
            await database.close()

    try:
        return asyncio.run(ask(dsn_of(data_dir)))
    except Outage as away:
        refuse(f"{away}: is the platform running?")


def _out() -> Console:
    return Console(highlight=False)
