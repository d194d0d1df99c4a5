"""Odds in memory as they are written, for tests and simulation."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from touchline.adapters.memory.tables import Tables
from touchline.core.delivery import Change, EventChanged, Image, MarketChanged
from touchline.core.ids import EventId, MarketId
from touchline.wire.odds_v1 import market_to_wire

HEARTBEAT_S: Final = 0.5
_encode: Final = msgspec.json.Encoder().encode


class MemoryOddsStream:
    """The `OddsStream` port over `tables`, for any number of followers; a slow one is told the latest only."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def follow(self) -> AsyncIterator[Image | Sequence[Change]]:
        """See `ports.stream.OddsStream`. Other books under the same tables are another epoch."""
        epoch, cursor = "", 0
        while True:
            tables = self._tables
            changes = self._after(cursor if epoch == tables.epoch else 0)
            if epoch != tables.epoch:
                epoch, cursor = tables.epoch, tables.writes
                markets = [change for change in changes if isinstance(change, MarketChanged)]
                events = [change for change in changes if isinstance(change, EventChanged)]
                yield Image(epoch, cursor, markets, events)
            elif changes:
                cursor = tables.writes
                yield changes
            elif not await self._rings():
                yield ()

    async def _rings(self) -> bool:
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._tables.offer_bell.wait()
        except TimeoutError:
            return False
        return True

    def _after(self, cursor: int) -> list[Change]:
        tables = self._tables
        markets = [self._market(key, n) for key, n in tables.written.items() if n > cursor]
        events = [self._event(key, n) for key, n in tables.events_written.items() if n > cursor]
        return sorted((*markets, *events), key=lambda change: change.cursor)

    def _market(self, market_id: MarketId, cursor: int) -> MarketChanged:
        market = self._tables.markets[market_id]
        return MarketChanged(
            cursor=cursor,
            market_id=market_id,
            event_id=market.event_id,
            status=market.status.value,
            odds_version=market.odds_version,
            body=_encode(market_to_wire(market)),
            priced_at=market.priced_at,
        )

    def _event(self, event_id: EventId, cursor: int) -> EventChanged:
        made = 1 + list(self._tables.events).index(event_id)  # their order is that of their making
        return EventChanged(cursor, self._tables.events[event_id], made)
