"""Events and markets in memory."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from touchline.adapters.memory.tables import Tables
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId, MessageId
from touchline.core.market import DECIDED, Market
from touchline.ports import EVENTS_MAX, Clock
from touchline.wire.odds_v1 import PolledMarketV1, market_to_polled

_CURSOR: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,19})")


class MemoryMarkets:
    """The `MarketStore` port."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    async def get(self, market_id: MarketId) -> Market | None:
        """See `ports.MarketStore`."""
        return self._tables.markets.get(market_id)

    async def poll(self, market_id: MarketId) -> PolledMarketV1 | None:
        """See `ports.MarketStore`."""
        market = self._tables.markets.get(market_id)
        return None if market is None else market_to_polled(market)

    async def events(self, status: str | None) -> list[tuple[Event, list[Market]]]:
        """See `ports.MarketStore`."""
        wanted = [
            event for event in self._tables.events.values() if status is None or event.status.value == status
        ]
        newest = sorted(wanted[-EVENTS_MAX:], key=_by_start)
        return [(event, self._markets_of(event.event_id)) for event in newest]

    async def event(self, event_id: EventId) -> tuple[Event, list[Market]] | None:
        """See `ports.MarketStore`."""
        event = self._tables.events.get(event_id)
        return None if event is None else (event, self._markets_of(event_id))

    def _markets_of(self, event_id: EventId) -> list[Market]:
        markets = [market for market in self._tables.markets.values() if market.event_id == event_id]
        return sorted(markets, key=lambda market: (market.market_type, market.market_id))

    async def changed_since(self, cursor: str | None) -> tuple[str, list[Market]]:
        """See `ports.MarketStore`. A cursor of other books than these begins anew."""
        match = None if cursor is None else _CURSOR.fullmatch(cursor)
        if cursor is not None and match is None:
            raise Rejection(Code.MALFORMED, "since is no cursor of ours", field="since")
        tables = self._tables
        after = f"{tables.epoch}-{tables.writes}"
        if match is None or match[1] != tables.epoch:
            return after, [market for market in tables.markets.values() if market.status not in DECIDED]
        changed = [market for key, market in tables.markets.items() if tables.written[key] > int(match[2])]
        return after, sorted(changed, key=lambda market: tables.written[market.market_id])

    async def is_applied(self, message_id: MessageId) -> bool:
        """See `ports.MarketStore`."""
        return message_id in self._tables.messages

    async def record_message(self, message_id: MessageId, at: datetime) -> None:
        """See `ports.MarketStore`."""
        self._tables.messages.setdefault(message_id, at)

    async def forget_messages(self, before: datetime, limit: int) -> int:
        """See `ports.MarketStore`."""
        old = [message_id for message_id, at in self._tables.messages.items() if at < before][:limit]
        for message_id in old:
            del self._tables.messages[message_id]
        return len(old)

    async def change_market(
        self,
        market_id: MarketId,
        event_id: EventId | None,
        change: Callable[[Market | None], Market | None],
        message_id: MessageId | None = None,
    ) -> Market | None:
        """See `ports.MarketStore`."""
        if message_id in self._tables.messages:
            return None
        old = self._tables.markets.get(market_id)
        new = change(old)
        if new is not None and new != old:
            if old is None and event_id is not None and event_id not in self._tables.events:
                self._tables.write_event(_unknown(event_id))
            if new.event_id not in self._tables.events:
                raise Fault(f"market {market_id} of an event that is not on record")
            self._tables.write_market(new)
        self._record(message_id)
        return new

    async def change_event(
        self, event_id: EventId, change: Callable[[Event | None], Event], message_id: MessageId | None = None
    ) -> bool:
        """See `ports.MarketStore`."""
        if message_id in self._tables.messages:
            return False
        old = self._tables.events.get(event_id)
        new = change(old)
        if new != old:
            self._tables.write_event(new)
        self._record(message_id)
        return new != old

    def _record(self, message_id: MessageId | None) -> None:
        if message_id is not None:
            self._tables.messages[message_id] = self._clock.now()


def _unknown(event_id: EventId) -> Event:
    return Event(event_id, event_id, "unknown", "unknown", EventStatus.SCHEDULED, None, None, None)


def _by_start(event: Event) -> tuple[bool, str, EventId]:
    started = event.start_time
    return started is None, "" if started is None else started.isoformat(), event.event_id
