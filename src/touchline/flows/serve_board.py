"""Serve events and prices from a board in memory, as the bytes that it holds."""

from dataclasses import dataclass

from touchline.core.ids import MarketId
from touchline.flows.serve_odds import OddsServing
from touchline.ports.stream import ShownMarkets


@dataclass(frozen=True, slots=True)
class BoardServing(OddsServing):
    """V1's way: a poll costs no read of any store, and nothing is encoded twice."""

    board: ShownMarkets

    def shown(self, market_id: MarketId) -> bytes | None:
        """See `OddsServing`."""
        return self.board.held_body(market_id)

    async def shown_events(self, status: str | None) -> bytes:
        """See `OddsServing`."""
        return await self.board.events_body(status)

    async def shown_changes(self, cursor: str | None) -> bytes:
        """See `OddsServing`."""
        return await self.board.changes_body(cursor)
