"""Serve events and prices as they stand at their authority."""

from dataclasses import dataclass

from touchline.core.errors import Code, Rejection
from touchline.core.event import Event
from touchline.core.ids import EventId, MarketId
from touchline.core.market import Market
from touchline.ports import MarketStore
from touchline.wire.odds_v1 import ChangesV1, EventsV1, PolledMarketV1, event_to_wire, market_to_wire


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

    def shown(self, market_id: MarketId) -> bytes | None:
        """Return a poll's answer as it goes out, where it is at hand; None: `poll` has to look."""
        return None

    async def shown_events(self, status: str | None) -> EventsV1 | bytes:
        """Return what `events` does, or that as it goes out."""
        return await self.events(status)

    async def shown_changes(self, cursor: str | None) -> ChangesV1 | bytes:
        """Return what `MarketStore.changed_since` does as it goes out.

        Raises:
            Rejection: MALFORMED: no cursor of ours.
        """
        after, markets = await self.markets.changed_since(cursor)
        return ChangesV1(after, [market_to_wire(market) for market in markets])

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
