"""The checker: sets what clients saw beside the books, and names every bet that breaks a rule.

Invariant: it only reads, the books of one instant, with statements and arithmetic of its own; whatever the run's
length, it holds one page of the books and one part of the history in memory.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import asyncpg

from touchline.lab.bets_judged import RecordedBet, StaleBet, Tolerance, judge_player, milli
from touchline.lab.histories import read_players
from touchline.lab.payouts_judged import decision_of, judge_payout, worked_bet_of
from touchline.lab.records import BetAttempt, Checks
from touchline.lab.statements import read_statements
from touchline.lab.stream_judged import judge_facts, judge_history, versions_missing
from touchline.lab.verdicts import BOOKS, STREAM, Rule, Tally

ROWS_AT_ONCE: Final = 2_000
PLAYERS_AT_ONCE: Final = 200
STATEMENT_TIMEOUT_S: Final = 600
WRITTEN_WITHIN_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 30
_SQL: Final = read_statements("checker.sql")


class CannotCheck(Exception):
    """The books can't be read, or not so that the order of money is certain."""


async def check(
    dsn: str, history: Path, tolerance: Tolerance | None = None, *, stream: Mapping[str, int] | None = None
) -> Checks:
    """Return the verdict on the books at `dsn`, a PostgreSQL, and on `history`, a run's bets.jsonl.

    Every settlement must be carried out before: a bet that is still open on a settled market breaks a rule. Where
    the odds' authority is elsewhere and the ledger a log of facts, `stream` holds the newest version of some
    markets: the books are read once it is written down.

    Raises:
        CannotCheck: see there.
        Unreadable: a line of the history is no attempt.
    """
    tally = Tally(BOOKS if stream is None else (*BOOKS, *STREAM))
    if stream is not None:
        await _await_history(dsn, stream)
    async with reading_books(dsn) as books:
        for attempts in _pages(history):
            await _check_players(books, attempts, tolerance or Tolerance(), tally)
        await _check_payouts(books, tally)
        await _check_money(books, tally)
        if stream is not None:
            await judge_history(books, tally)
            await judge_facts(books, tally)
    return tally.checks()


async def _await_history(dsn: str, versions: Mapping[str, int]) -> None:
    async with _connected(dsn) as books:
        missing = await versions_missing(books, versions, WRITTEN_WITHIN_S)
    if missing:
        market_id, version = min(missing.items())
        raise CannotCheck(f"version {version} of {market_id} was not written down in {WRITTEN_WITHIN_S:g} s")


@asynccontextmanager
async def reading_books(dsn: str) -> AsyncIterator[Any]:
    """Yield a connection that sees the books of one instant and can't write."""
    async with _connected(dsn) as connection:
        if await connection.fetchval(_SQL["timekeeping"]) != "on":
            raise CannotCheck("PostgreSQL must run with track_commit_timestamp = on for the checker")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Any]:
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_S,
            server_settings={"application_name": "touchline checker"},
        )
        try:
            yield connection
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as failed:
        raise CannotCheck(f"the books can't be read: {failed}") from failed


def _pages(history: Path) -> Iterator[list[list[BetAttempt]]]:
    players = read_players(history)
    while page := list(islice(players, PLAYERS_AT_ONCE)):
        yield page


async def _check_players(
    books: Any, page: Sequence[Sequence[BetAttempt]], tolerance: Tolerance, tally: Tally
) -> None:
    """Judge some players by their bets, which come in the players' order."""
    of_player = {attempts[0].player_id: attempts for attempts in page}
    bets: dict[str, list[RecordedBet]] = {player_id: [] for player_id in of_player}
    async for row in books.cursor(_SQL["bets_of_players"], list(of_player), prefetch=ROWS_AT_ONCE):
        bets[row["user_id"]].append(RecordedBet(**row))
    for player_id, attempts in of_player.items():
        for stale in judge_player(attempts, bets[player_id], tolerance, tally):
            if not await _is_excused(books, stale, tolerance):
                tally.add([(Rule.PRICES, str(stale))])


async def _is_excused(books: Any, stale: StaleBet, tolerance: Tolerance) -> bool:
    """Tell whether some price in force between request and answer was as near as the tolerance wants."""
    if not tolerance.odds_pct:
        return False
    bet = stale.bet
    rows = await books.fetch(
        _SQL["odds_between"], bet.market_id, bet.selection_id, stale.sent_at, stale.answered_at
    )
    return any(stale.excused_at(milli(row["odds"]), tolerance) for row in rows)


async def _check_payouts(books: Any, tally: Tally) -> None:
    decisions = {row["settlement_id"]: decision_of(row) async for row in books.cursor(_SQL["settlements"])}
    async for row in books.cursor(_SQL["worked_bets"], prefetch=ROWS_AT_ONCE):
        tally.count(Rule.PAYOUTS)
        tally.add(judge_payout(worked_bet_of(row), decisions))


async def _check_money(books: Any, tally: Tally) -> None:
    wallets = await books.fetchval(_SQL["wallets"])
    tally.count(Rule.WALLETS, wallets)
    tally.count(Rule.BALANCES, wallets)
    async for row in books.cursor(_SQL["overdrawn"]):
        why = "" if row["bet_id"] is None else f", with bet {row['bet_id']}"
        tally.add([(Rule.WALLETS, f"{row['account']}: at {row['balance_minor']} at {row['at']}{why}")])
    async for row in books.cursor(_SQL["balances"]):
        held = "nobody's" if row["held_minor"] is None else f"holds {row['held_minor']}"
        tally.add([(Rule.BALANCES, f"{row['account']}: {held}, its transfers say {row['moved_minor']}")])
    async for row in books.cursor(_SQL["cashier"]):
        said = f"{row['kind']} of {row['recorded_minor']} on record, the transfers say {row['moved_minor']}"
        tally.add([(Rule.BALANCES, f"{row['user_id']}: {said}")])
