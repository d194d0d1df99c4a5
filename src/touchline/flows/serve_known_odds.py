"""Serve events and prices as they stand at their authority; while it is away, as last known, and say so.

Invariant: whatever a client was answered, no later answer shows an older version of it, from this pod or, while
pods can tell each other what they know, from any: what is new is told before it is answered.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from touchline.core.errors import Outage
from touchline.core.ids import MarketId
from touchline.flows.serve_odds import OddsServing
from touchline.ports import Clock
from touchline.ports.ladder import KNOWN_AT_ONCE_MAX, Known, KnownOdds
from touchline.wire.odds_v1 import EventsV1, EventV1, MarketV1, PolledMarketV1, polled_to_wire, wire_to_polled

MARKETS_MAX: Final = 10_000  # known to a pod; those known for longest give way
TELL_AGAIN: Final = timedelta(seconds=5)  # what stands is told again, so that what was evicted is known again


@dataclass(slots=True)
class LastKnown:
    """What one pod knows, and its door to what the others do; without it each pod knows what it has answered."""

    shared: KnownOdds
    clock: Clock
    stale_answers: int = 0
    _markets: dict[MarketId, Known] = field(default_factory=dict)
    _told: dict[MarketId, Known] = field(default_factory=dict)
    _events: dict[str | None, tuple[EventsV1, datetime]] = field(default_factory=dict)

    async def keep(self, market: PolledMarketV1) -> None:
        """Take in what the authority says of a market, and tell it where it is new."""
        known = Known(market, self.clock.now())
        self._keep(known)
        told = self._told.get(market.market_id)
        is_told = told is not None and told.market.odds_version >= market.odds_version
        if told is None or not is_told or known.at - told.at >= TELL_AGAIN:
            await self._tell([known])

    async def keep_events(self, status: str | None, answer: EventsV1) -> None:
        """Take in what the authority says of all events of a status."""
        at = self.clock.now()
        self._events[status] = (answer, at)
        markets = [market for event in answer.events for market in event.markets]
        new = [Known(wire_to_polled(market), at) for market in markets if self._is_untold(market)]
        for known in new:
            self._keep(known)
        for first in range(0, len(new), KNOWN_AT_ONCE_MAX):
            await self._tell(new[first : first + KNOWN_AT_ONCE_MAX])

    async def newest(self, market_ids: Collection[MarketId]) -> Mapping[MarketId, Known]:
        """Return what any pod knows of markets, and know it too."""
        try:
            for known in (await self.shared.newest(market_ids)).values():
                self._keep(known)
        except Outage:
            pass  # then it is what this pod knows
        return {market_id: self._markets[market_id] for market_id in market_ids if market_id in self._markets}

    def events(self, status: str | None) -> tuple[EventsV1, datetime] | None:
        """Return what this pod knows of the events of a status, and as of when; None where that is nothing."""
        return self._events.get(status)

    async def _tell(self, known: list[Known]) -> None:
        try:
            await self.shared.tell(known)
        except Outage:
            return  # the others go by what they have answered themselves
        for one in known:
            if one.market.market_id in self._markets:
                self._told[one.market.market_id] = one

    def _is_untold(self, market: MarketV1) -> bool:
        told = self._told.get(market.market_id)
        return told is None or told.market.odds_version < market.odds_version

    def _keep(self, known: Known) -> None:
        """Keep a market where it is above what is known."""
        market_id = known.market.market_id
        before = self._markets.get(market_id)
        if not known.is_above(before):
            return
        if before is None and len(self._markets) >= MARKETS_MAX:
            longest = next(iter(self._markets))
            del self._markets[longest]
            self._told.pop(longest, None)
        self._markets[market_id] = known


@dataclass(frozen=True, slots=True)
class KnownOddsServing(OddsServing):
    """Each poll reads the store; where that is an `Outage`, it is answered from what is known."""

    known: LastKnown

    async def poll(self, market_id: MarketId) -> PolledMarketV1:
        """See `OddsServing`. A market with `stale_since` is as it was then.

        Raises:
            Outage: the store is away, and nothing is known of the market.
        """
        try:
            market = await OddsServing.poll(self, market_id)
        except Outage:
            found = (await self.known.newest([market_id])).get(market_id)
            if found is None:
                raise
            self.known.stale_answers += 1
            return msgspec.structs.replace(found.market, stale_since=found.at)
        await self.known.keep(market)
        return market

    async def events(self, status: str | None) -> EventsV1:
        """See `OddsServing`. Markets with `stale_since` are as they were then.

        Raises:
            Outage: the store is away, and this pod has not answered this before.
        """
        try:
            answer = await OddsServing.events(self, status)
        except Outage:
            kept = self.known.events(status)
            if kept is None:
                raise
            self.known.stale_answers += 1
            return await self._stale(*kept)
        await self.known.keep_events(status, answer)
        return answer

    async def _stale(self, answer: EventsV1, at: datetime) -> EventsV1:
        newest = await self.known.newest([market.market_id for event in answer.events for market in event.markets])

        def as_known(market: MarketV1) -> MarketV1:
            known = newest.get(market.market_id)
            if known is None or known.market.odds_version < market.odds_version:
                return msgspec.structs.replace(market, stale_since=at)
            return msgspec.structs.replace(polled_to_wire(known.market), stale_since=known.at)

        def of(event: EventV1) -> EventV1:
            return msgspec.structs.replace(event, markets=[as_known(market) for market in event.markets])

        return EventsV1([of(event) for event in answer.events])
