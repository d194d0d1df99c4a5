"""Events and markets in PostgreSQL: the authority on odds in V0.

Invariant: a market, its history and the message that changed it are written in one transaction.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import event_of, market_of, selections_text
from touchline.core.errors import Code, Rejection
from touchline.core.event import Event
from touchline.core.ids import EventId, MarketId, MessageId
from touchline.core.market import Market
from touchline.ports import EVENTS_MAX, Clock
from touchline.wire.odds_v1 import PolledMarketV1

CHANGES_MAX: Final = 2_000
QUERIES: Final = Queries("markets.sql")
_CURSOR: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,19})")


class PostgresMarkets:
    """The `MarketStore` port."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, market_id: MarketId) -> Market | None:
        """See `ports.MarketStore`."""
        row = await self._database.row(QUERIES["market"], market_id)
        return None if row is None else market_of(row)

    async def poll(self, market_id: MarketId) -> PolledMarketV1 | None:
        """See `ports.MarketStore`."""
        row = await self._database.row(_POLL, market_id)
        if row is None:
            return None
        market, event, name, kind, status, version, selections, delay, updated = row
        return PolledMarketV1(market, event, name, kind, status, version, msgspec.Raw(selections), delay, updated)

    async def events(self, status: str | None) -> list[tuple[Event, list[Market]]]:
        """See `ports.MarketStore`."""
        rows = await self._database.fetch(QUERIES["events"], status, EVENTS_MAX)
        return await self._with_markets([event_of(row) for row in rows])

    async def event(self, event_id: EventId) -> tuple[Event, list[Market]] | None:
        """See `ports.MarketStore`."""
        row = await self._database.row(QUERIES["event"], event_id)
        return None if row is None else (await self._with_markets([event_of(row)]))[0]

    async def _with_markets(self, events: list[Event]) -> list[tuple[Event, list[Market]]]:
        of_event: dict[EventId, list[Market]] = {event.event_id: [] for event in events}
        for row in await self._database.fetch(QUERIES["markets_of"], list(of_event)):
            of_event[row["event_id"]].append(market_of(row))
        return [(event, of_event[event.event_id]) for event in events]

    async def changed_since(self, cursor: str | None) -> tuple[str, list[Market]]:
        """See `ports.MarketStore`. A cursor of other books than these begins anew."""
        match = None if cursor is None else _CURSOR.fullmatch(cursor)
        if cursor is not None and match is None:
            raise Rejection(Code.MALFORMED, "since is no cursor of ours", field="since")
        # Read before the markets: what commits in between is told twice rather than never.
        now = await self._database.row(QUERIES["oldest_running"])
        if match is None or match[1] != now["epoch"]:
            rows = await self._database.fetch(QUERIES["undecided"], CHANGES_MAX)
            return f"{now['epoch']}-{now['xmin']}", [market_of(row) for row in rows]
        rows = await self._database.fetch(QUERIES["changed_since"], match[2], CHANGES_MAX)
        # Never beyond a transaction still running, however many have committed after it.
        after = min(int(rows[-1]["xid"]), int(now["xmin"])) if len(rows) == CHANGES_MAX else now["xmin"]
        return f"{now['epoch']}-{after}", [market_of(row) for row in rows]

    async def is_applied(self, message_id: MessageId) -> bool:
        """See `ports.MarketStore`."""
        return bool(await self._database.value(QUERIES["is_applied"], message_id))

    async def record_message(self, message_id: MessageId, at: datetime) -> None:
        """See `ports.MarketStore`."""
        await self._database.value(QUERIES["record_message"], message_id, at)

    async def forget_messages(self, before: datetime, limit: int) -> int:
        """See `ports.MarketStore`."""
        return int(await self._database.value(QUERIES["forget_messages"], before, limit))

    async def change_market(
        self,
        market_id: MarketId,
        event_id: EventId | None,
        change: Callable[[Market | None], Market | None],
        message_id: MessageId | None = None,
    ) -> Market | None:
        """See `ports.MarketStore`."""
        async with self._database.transaction() as connection:
            if not await self.is_new(connection, message_id):
                return None
            old = await _lock_market(connection, market_id)
            if old is None:
                # Of two sources that make one market the second waits here, and finds it made.
                await connection.execute(QUERIES["hold_name"], market_id)
                old = await _lock_market(connection, market_id)
            new = change(old)
            if new is None:
                return None
            if old is None and event_id is not None:
                await connection.execute(QUERIES["ensure_event"], event_id)
            if new != old:
                await write_market(connection, new, is_new=old is None)
            return new

    async def change_event(
        self, event_id: EventId, change: Callable[[Event | None], Event], message_id: MessageId | None = None
    ) -> bool:
        """See `ports.MarketStore`."""
        async with self._database.transaction() as connection:
            if not await self.is_new(connection, message_id):
                return False
            old = await _lock_event(connection, event_id)
            if old is None:
                await connection.execute(QUERIES["hold_name"], event_id)
                old = await _lock_event(connection, event_id)
            new = change(old)
            if new == old:
                return False
            await connection.execute(
                QUERIES["write_event"],
                new.event_id,
                new.name,
                new.sport,
                new.competition,
                new.status.value,
                new.start_time,
                new.score,
                new.clock,
                self._clock.now(),
            )
            return True

    async def is_new(self, connection: Any, message_id: MessageId | None) -> bool:
        """Put `message_id` on record within the transaction; False where it was already. None is always new."""
        if message_id is None:
            return True
        return bool(await connection.fetchval(QUERIES["record_message"], message_id, self._clock.now()))


async def _lock_market(connection: Any, market_id: MarketId) -> Market | None:
    row = await connection.fetchrow(QUERIES["lock_market"], market_id)
    return None if row is None else market_of(row)


async def _lock_event(connection: Any, event_id: EventId) -> Event | None:
    row = await connection.fetchrow(QUERIES["lock_event"], event_id)
    return None if row is None else event_of(row)


async def write_market(connection: Any, market: Market, *, is_new: bool) -> None:
    """Write a market and its history within the transaction that holds its lock."""
    await connection.execute(
        QUERIES["insert_market" if is_new else "update_market"],
        market.market_id,
        market.event_id,
        market.name,
        market.market_type,
        selections_text(market),
        market.odds_version,
        market.status.value,
        market.bet_delay_ms,
        market.priced_at,
        market.updated_at,
    )


_POLL: Final = QUERIES["poll"]
