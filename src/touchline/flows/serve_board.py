"""Serve events and prices from a board in memory, as the bytes that it holds."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from touchline.core.errors import Outage
from touchline.core.event import Event
from touchline.core.ids import EventId, MarketId
from touchline.core.market import DECIDED, Market
from touchline.flows.serve_odds import OddsServing
from touchline.ports import MarketStore
from touchline.ports.stream import ShownMarkets

BOOKS_WAIT_S: Final = 1.0
LEFT_GOOD_S: Final = 30.0
LEFT_KEPT_MAX: Final = 500  # events


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the books were asked to find of an event beside what was `held` of it, good for a while."""

    held: frozenset[MarketId]
    until_s: float
    found: asyncio.Task[Sequence[Market]]

    @property
    def has_failed(self) -> bool:
        """Whether the books met a fault, of which whoever asked has heard."""
        return self.found.done() and self.found.exception() is not None


@dataclass(frozen=True, slots=True)
class BoardServing(OddsServing):
    """V1's way: a poll costs no read of any store, and nothing is encoded twice.

    An event that is asked for by its id is shown with the decided markets that were left to `books`, as by whoever
    has an old bet on it. They are read for all who ask within `LEFT_GOOD_S`, and anew where one more has left.
    """

    board: ShownMarkets
    books: MarketStore | None = None
    _asked: dict[EventId, _Asked] = field(default_factory=dict, init=False)

    async def event(self, event_id: EventId) -> tuple[Event, list[Market]]:
        """See `OddsServing`. While the books are away, what is at hand."""
        event, markets = await super(BoardServing, self).event(event_id)  # slots: there is no bare super()
        if self.books is None:
            return event, markets
        held = frozenset(market.market_id for market in markets)
        left = await asyncio.shield(self._left_of(event_id, held, self.books))  # others may wait for it too
        markets = [*markets, *(market for market in left if market.market_id not in held)]
        return event, sorted(markets, key=lambda market: (market.market_type, market.market_id))

    def _left_of(
        self, event_id: EventId, held: frozenset[MarketId], books: MarketStore
    ) -> asyncio.Task[Sequence[Market]]:
        now_s, asked = asyncio.get_running_loop().time(), self._asked.pop(event_id, None)
        if asked is not None and asked.has_failed:
            asked = None
        if asked is None or asked.until_s <= now_s or not asked.held <= held:
            finding = _find_left(books, event_id, held, None if asked is None else asked.found)
            asked = _Asked(held, now_s + LEFT_GOOD_S, asyncio.create_task(finding))
            if len(self._asked) >= LEFT_KEPT_MAX:
                del self._asked[next(iter(self._asked))]
        self._asked[event_id] = asked
        return asked.found

    def shown(self, market_id: MarketId) -> bytes | None:
        """See `OddsServing`."""
        return self.board.held_body(market_id)

    async def shown_events(self, status: str | None) -> bytes:
        """See `OddsServing`."""
        return await self.board.events_body(status)

    async def shown_changes(self, cursor: str | None) -> bytes:
        """See `OddsServing`."""
        return await self.board.changes_body(cursor)


async def _find_left(
    books: MarketStore, event_id: EventId, held: frozenset[MarketId], before: asyncio.Task[Sequence[Market]] | None
) -> Sequence[Market]:
    """Return the decided markets of an event that are on record and not held; those before while they are away."""
    try:
        async with asyncio.timeout(BOOKS_WAIT_S):
            found = await books.event(event_id)
    except (Outage, TimeoutError):
        return () if before is None else await before
    on_record = () if found is None else found[1]
    return [market for market in on_record if market.status in DECIDED and market.market_id not in held]
