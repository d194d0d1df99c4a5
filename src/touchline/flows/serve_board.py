"""Serve events and prices from a board in memory, as the bytes that it holds."""

import asyncio
from dataclasses import dataclass
from typing import Final

from touchline.core.errors import Outage
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId
from touchline.core.market import DECIDED, Market
from touchline.flows.serve_odds import OddsServing
from touchline.ports import MarketStore
from touchline.ports.stream import ShownMarkets

BOOKS_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class BoardServing(OddsServing):
    """V1's way: a poll costs no read of any store, and nothing is encoded twice.

    Decided markets that were left to `books` are shown with their event where it has ended and is asked for by its
    id, as by whoever has an old bet on it.
    """

    board: ShownMarkets
    books: MarketStore | None = None

    async def event(self, event_id: EventId) -> tuple[Event, list[Market]]:
        """See `OddsServing`. While the books are away, what is at hand."""
        event, markets = await super(BoardServing, self).event(event_id)  # slots: there is no bare super()
        if self.books is None or event.status is not EventStatus.ENDED:
            return event, markets
        try:
            async with asyncio.timeout(BOOKS_WAIT_S):
                found = await self.books.event(event_id)
        except (Outage, TimeoutError):
            return event, markets
        held = {market.market_id for market in markets}
        on_record = () if found is None else found[1]
        left = [market for market in on_record if market.status in DECIDED and market.market_id not in held]
        return event, sorted((*markets, *left), key=lambda market: (market.market_type, market.market_id))

    def shown(self, market_id: MarketId) -> bytes | None:
        """See `OddsServing`."""
        return self.board.held_body(market_id)

    async def shown_events(self, status: str | None) -> bytes:
        """See `OddsServing`."""
        return await self.board.events_body(status)

    async def shown_changes(self, cursor: str | None) -> bytes:
        """See `OddsServing`."""
        return await self.board.changes_body(cursor)
