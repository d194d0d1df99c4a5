"""What an authority on odds elsewhere changed, recorded in PostgreSQL behind it.

Invariant: entries and how far they have come are written in one transaction; what comes again changes nothing.
"""

from collections.abc import Sequence
from typing import Any, Final

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import selections_text
from touchline.core.event import Event
from touchline.core.ids import EventId, MarketId
from touchline.core.market import Market
from touchline.ports.history import HistoryEntry

QUERIES: Final = Queries("odds_history.sql")


class PostgresOddsBooks:
    """The `OddsBooks` port: `odds_history`, and the tables `odds` and `events` as others read them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, entries: Sequence[HistoryEntry]) -> int:
        """See `ports.history.OddsBooks`. Of two recorders the second waits here, and finds what the first did."""
        async with self._database.transaction() as connection:
            first = await connection.fetchval(QUERIES["next_entry"])
            new = [entry for entry in entries if entry.cursor >= first]
            if not new:
                return 0
            await _record_events(connection, new)
            await _record_markets(connection, new)
            await connection.execute(QUERIES["go_on"], new[-1].cursor + 1)
            return len(new)


async def _record_events(connection: Any, entries: Sequence[HistoryEntry]) -> None:
    latest: dict[EventId, tuple[Event, HistoryEntry]] = {}
    made: dict[EventId, HistoryEntry] = {}
    for entry in entries:
        if isinstance(entry.changed, Event):
            latest[entry.changed.event_id] = (entry.changed, entry)
            made.setdefault(entry.changed.event_id, entry)
    if not latest:
        return
    events = [latest[event_id] for event_id in sorted(latest)]  # in one order: others lock some of them too
    names = [event.event_id for event, _ in events]
    statuses = [event.status.value for event, _ in events]
    await connection.execute(
        QUERIES["record_events"],
        names,
        [event.name for event, _ in events],
        [event.sport for event, _ in events],
        [event.competition for event, _ in events],
        statuses,
        [event.start_time for event, _ in events],
        [event.score for event, _ in events],
        [event.clock for event, _ in events],
        [made[name].at for name in names],
    )
    await connection.execute(QUERIES["record_ends"], names, statuses, [entry.at for _, entry in events])
    await connection.execute(QUERIES["forget_ends"], names, statuses)


async def _record_markets(connection: Any, entries: Sequence[HistoryEntry]) -> None:
    versions = [(entry.changed, entry.at) for entry in entries if isinstance(entry.changed, Market)]
    if not versions:
        return
    by_id: dict[MarketId, Market] = {market.market_id: market for market, _ in versions}
    latest = [by_id[market_id] for market_id in sorted(by_id)]
    await connection.execute(
        QUERIES["record_markets"],
        [market.market_id for market in latest],
        [market.event_id for market in latest],
        [market.name for market in latest],
        [market.market_type for market in latest],
        [selections_text(market) for market in latest],
        [market.odds_version for market in latest],
        [market.status.value for market in latest],
        [market.bet_delay_ms for market in latest],
        [market.priced_at for market in latest],
        [market.updated_at for market in latest],
    )
    await connection.execute(
        QUERIES["record_versions"],
        [market.market_id for market, _ in versions],
        [market.odds_version for market, _ in versions],
        [selections_text(market) for market, _ in versions],
        [market.status.value for market, _ in versions],
        [market.priced_at for market, _ in versions],
        [market.updated_at for market, _ in versions],
        [at for _, at in versions],
    )
