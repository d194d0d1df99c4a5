"""What PostgreSQL holds of odds whose authority is elsewhere, for that authority to be rebuilt from.

Invariant: who looks is the only one to, until the transaction ends, and nothing is recorded meanwhile.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.odds_history import QUERIES
from touchline.adapters.postgres.rows import event_of, market_of
from touchline.core.event import Event
from touchline.core.ids import MarketId
from touchline.core.market import Market

AT_ONCE_MAX: Final = 500
_LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)


async def hold(connection: Any) -> None:
    """Be the only one to look, until the transaction ends."""
    await connection.execute(QUERIES["hold_restoring"])


async def next_entry(connection: Any) -> int:
    """Return the cursor of the first change that is not on record; none is recorded until the transaction ends."""
    return int(await connection.fetchval(QUERIES["next_entry"]))


async def newest_versions(connection: Any, limit: int) -> dict[MarketId, int]:
    """Return the versions of the markets that changed last."""
    rows = await connection.fetch(QUERIES["newest_versions"], limit)
    return {MarketId(row["market_id"]): row["odds_version"] for row in rows}


async def decided_versions(database: Database, market_ids: Sequence[MarketId]) -> dict[MarketId, int]:
    """Return the versions of those of some markets that are on record as decided."""
    rows = await database.fetch(QUERIES["decided_versions"], list(market_ids))
    return {MarketId(row["market_id"]): row["odds_version"] for row in rows}


async def events(connection: Any) -> AsyncIterator[Sequence[Event]]:
    """Yield all events, some at a time, the first made first."""
    after = (_LONG_AGO, "")
    while rows := await connection.fetch(QUERIES["events_made"], *after, AT_ONCE_MAX):
        yield [event_of(row) for row in rows]
        after = (rows[-1]["created_at"], rows[-1]["event_id"])


async def markets(connection: Any) -> AsyncIterator[Sequence[tuple[Market, int]]]:
    """Yield all markets, some at a time, the undecided with the highest version of them on any record."""
    after = ""
    while rows := await connection.fetch(QUERIES["markets_known"], after, AT_ONCE_MAX):
        yield [(market_of(row), row["highest"] or row["odds_version"]) for row in rows]
        after = rows[-1]["market_id"]
