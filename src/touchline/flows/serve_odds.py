"""Serve events and prices as they stand at their authority."""

from dataclasses import dataclass

from touchline.core.errors import Code, Rejection
from touchline.core.event import Event
from touchline.core.ids import EventId, MarketId
from touchline.core.market import Market
from touchline.ports import MarketStore
from touchline.wire.odds_v1 import EventsV1, PolledMarketV1, event_to_wire


@dataclass(frozen=True, slots=True)
class OddsServing:
    """V0's way: each poll reads the store."""

    markets: MarketStore

    async def poll(self, market_id: MarketId) -> PolledMarketV1:
        """Return one market.

        Raises:
            Rejection: MARKET_NOT_FOUND.
        """
        market = await self.markets.poll(market_id)
        if market is None:
            raise Rejection(Code.MARKET_NOT_FOUND, f"no market {market_id}")
        return market

    async def events(self, status: str | None) -> EventsV1:
        """Return events with their markets, as `MarketStore.events` does."""
        return EventsV1([event_to_wire(event, markets) for event, markets in await self.markets.events(status)])

    async def event(self, event_id: EventId) -> tuple[Event, list[Market]]:
        """Return one event with its markets.

        Raises:
            Rejection: NOT_FOUND.
        """
        found = await self.markets.event(event_id)
        if found is None:
            raise Rejection(Code.NOT_FOUND, f"no event {event_id}")
        return found
