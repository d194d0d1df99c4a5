"""The books in PostgreSQL as an auditor reads them, all of one instant.

Invariant: each check compares two independent records; that debits equal credits is true by a transfer's shape
and is no check.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import bet_of, settlement_of
from touchline.core.audit import judge

TOLD_PER_CHECK_MAX: Final = 100
READ_AT_ONCE: Final = 5_000
AUDIT_TIMEOUT_S: Final = 600
_QUERIES: Final = Queries("books.sql")
_WORDS: Final = {
    "wallets": "wallet of {user_id}: holds {balance_minor} and owes {debt_minor}, its transfers say "
    "{folded_balance} and {folded_debt}",
    "strangers": "account {account}: moves money and is nobody's",
    "bets": "bet {bet_id}: {status}, stake {stake_minor}, payout {payout_minor}, but its transfers gave the "
    "player {player}, hold {held} and gave the house {house}",
    "owners": "transfer {transfer_id}: told to {user_id} in {currency}, moves an account of {owner} in {held}",
    "currencies": "bet {bet_id}: in {currency}, its player's wallet in {held}",
    "cashier": "player {user_id}: {kind} of {amount_minor} on record, his transfers say {folded}",
    "exposures": "exposure of {market_id} {selection_id}: {liability_minor}, its open bets say {folded_liability}",
    "prices": "bet {bet_id}: {odds_milli} thousandths were not offered by {market_id} at version {odds_version}",
    "history": "market {market_id}: at version {odds_version}, its history holds {kept}, the newest {newest}",
    "decisions": "market {market_id}: {status}, its settlements say otherwise",
    "progress": "settlement {settlement_id}: worked {worked} bets, {bets} stand decided by it",
    "left_over": "bet {bet_id}: still open, though market {market_id} is {status}",
}


class PostgresBooks:
    """The `Books` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def discrepancies(self) -> list[str]:
        """See `ports.Books`. At most `TOLD_PER_CHECK_MAX` of each kind are told."""
        found = []
        async with self._snapshot() as connection:
            for name, words in _WORDS.items():
                rows = await connection.fetch(_QUERIES[name], TOLD_PER_CHECK_MAX, timeout=AUDIT_TIMEOUT_S)
                found += [words.format(**dict(row)) for row in rows]
            found += await self._wrong_payouts(connection)
        return found

    async def sums(self) -> dict[str, int]:
        """See `ports.Books`."""
        async with self._snapshot() as connection:
            return dict(await connection.fetchrow(_QUERIES["sums"], timeout=AUDIT_TIMEOUT_S))

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Any]:
        async with (
            self._database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def _wrong_payouts(self, connection: Any) -> list[str]:
        rows = await connection.fetch(_QUERIES["settlements"], timeout=AUDIT_TIMEOUT_S)
        settlements = {row["settlement_id"]: settlement_of(row) for row in rows}
        found: list[str] = []
        async for row in connection.cursor(_QUERIES["decided"], prefetch=READ_AT_ONCE):
            settlement = settlements.get(row["settlement_id"])
            wrong = judge(bet_of(row), settlement, taken_back=row["taken_back"])
            if wrong and len(found) < TOLD_PER_CHECK_MAX:
                found.append(f"bet {row['bet_id']}: {wrong}")
        return found
