"""Markets as a pod serves them: read from a board in its memory, changed at their authority.

Invariant: whoever has changed something here reads it here from then on, and elsewhere too: the change is on its
way to every follower before it is answered. A board that may be behind is passed over for the authority; where
that is away, what is answered is the last known, and no cursor goes back.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec
from msgspec.structs import replace

from touchline.adapters.valkey import records
from touchline.adapters.valkey.markets import CHANGES_MAX, ValkeyMarkets, by_start, in_order, parse_cursor
from touchline.core.delivery import DECIDED_KEPT, Board, Change, EventChanged, Image, MarketChanged
from touchline.core.errors import Outage
from touchline.core.event import Event
from touchline.core.ids import EventId, MarketId, MessageId
from touchline.core.market import Market
from touchline.ports import EVENTS_MAX, Clock
from touchline.ports.stream import OddsStream
from touchline.wire.odds_v1 import ChangesV1, EventsV1, PolledMarketV1, event_to_wire, market_to_wire

HEARD_WITHIN_S: Final = 2.0  # four heartbeats; beyond, reads ask the authority
OWN_CHANGE_S: Final = 0.5  # how long a change waits to be seen here; beyond, reads ask the authority until it is
_market: Final = lru_cache(records.RECORDS_KEPT_MAX)(records.market_from)
_decode_polled: Final = msgspec.json.Decoder(PolledMarketV1).decode
_encode: Final = msgspec.json.Encoder().encode


class _ShownEvent(msgspec.Struct, frozen=True):
    """An `EventV1` whose markets are what their polls answer."""

    event_id: EventId
    name: str
    sport: str
    competition: str
    status: str
    start_time: datetime | None
    score: str | None
    clock: str | None
    markets: list[msgspec.Raw]


class _ShownEvents(msgspec.Struct, frozen=True):
    events: list[_ShownEvent]


class _ShownChanges(msgspec.Struct, frozen=True):
    cursor: str
    markets: list[msgspec.Raw]


class BoardMarkets:
    """The `MarketStore` port, with `follow` run beside it.

    A board that has not heard of the authority for `HEARD_WITHIN_S` is passed over; where the authority is away
    too, the board is what is answered, and polls say since when it is stale.
    """

    def __init__(self, board: Board, stream: OddsStream, authority: ValkeyMarkets, clock: Clock) -> None:
        self._board = board
        self._stream = stream
        self._authority = authority
        self._clock = clock
        self._heard_at = clock.now()
        self._heard_s = float("-inf")
        self._owed = ("", 0)  # a change of ours that the board has not shown yet
        self._moved = asyncio.Event()

    async def follow(self) -> None:
        """Keep the board as the authority is, for ever."""
        async for yielded in self._stream.follow():
            if isinstance(yielded, Image):
                self._board.show(yielded)
                if self._owed[0] != yielded.epoch:  # a change of an epoch that has ended
                    self._owed = ("", 0)
            elif yielded:
                self._board.apply(yielded)
            self._board.forget(self._clock.now() - DECIDED_KEPT)
            self._heard_s, self._heard_at = time.monotonic(), self._clock.now()
            self._move()

    def show_early(self, epoch: str, change: Change) -> None:
        """Show a change before it is this board's turn to follow it, where it comes next.

        So a change that reached this process before a request did is seen by it, whoever made the change.
        """
        if epoch == self._board.epoch and change.cursor == self._board.cursor + 1:
            self._board.apply([change])
            self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    @property
    def is_current(self) -> bool:
        """Whether the board is what reads are answered from."""
        if time.monotonic() - self._heard_s > HEARD_WITHIN_S:
            return False
        epoch, cursor = self._owed
        return not epoch or (epoch == self._board.epoch and cursor <= self._board.cursor)

    def held_body(self, market_id: MarketId) -> bytes | None:
        """Return a poll's answer if the board has it; None says that `poll_body` has to look further."""
        market = self._board.market(market_id)
        return None if market is None or not self.is_current else market.body

    async def poll_body(self, market_id: MarketId) -> bytes | None:
        """Return a market as `MarketV1` in JSON, or None."""
        if (body := self.held_body(market_id)) is not None:
            return body
        try:
            polled = await self._authority.poll(market_id)
        except Outage:
            stale = replace(_decode_polled(self._last_known(market_id).body), stale_since=self._heard_at)
            return _encode(stale)
        return None if polled is None else _encode(polled)

    async def poll(self, market_id: MarketId) -> PolledMarketV1 | None:
        """See `ports.MarketStore`."""
        body = await self.poll_body(market_id)
        return None if body is None else _decode_polled(body)

    async def get(self, market_id: MarketId) -> Market | None:
        """See `ports.MarketStore`; `priced_at` is as of the last change that readers see."""
        market = self._board.market(market_id)
        if market is not None and self.is_current:
            return _market(market.body, market.priced_at)
        try:
            return await self._authority.get(market_id)
        except Outage:
            held = self._last_known(market_id)
            return _market(held.body, held.priced_at)

    def _last_known(self, market_id: MarketId) -> MarketChanged:
        market = self._board.market(market_id)
        if market is None:
            raise Outage("the odds' authority")
        return market

    async def events(self, status: str | None) -> list[tuple[Event, list[Market]]]:
        """See `ports.MarketStore`. Of events that have ended the board has the latest."""
        if not self.is_current:
            try:
                return await self._authority.events(status)
            except Outage:
                self._must_know()
        return [(event, self._markets_of(event.event_id)) for event in self._events(status)]

    async def event(self, event_id: EventId) -> tuple[Event, list[Market]] | None:
        """See `ports.MarketStore`."""
        held = self._board.event(event_id)
        if held is None or not self.is_current:
            try:
                return await self._authority.event(event_id)
            except Outage:
                if held is None:
                    raise
        return held.event, self._markets_of(event_id)

    async def events_body(self, status: str | None) -> bytes:
        """Return events with their markets as `EventsV1` in JSON."""
        if not self.is_current:
            try:
                found = await self._authority.events(status)
                return _encode(EventsV1([event_to_wire(event, markets) for event, markets in found]))
            except Outage:
                self._must_know()
        return _encode(_ShownEvents([self._shown(event) for event in self._events(status)]))

    def _must_know(self) -> None:
        if not self._board.epoch:
            raise Outage("the odds' authority")

    def _events(self, status: str | None) -> list[Event]:
        newest = self._board.events(status)[-EVENTS_MAX:]
        return sorted((held.event for held in newest), key=by_start)

    def _markets_of(self, event_id: EventId) -> list[Market]:
        return in_order([_market(held.body, held.priced_at) for held in self._board.markets_of(event_id)])

    def _shown(self, event: Event) -> _ShownEvent:
        held = self._board.markets_of(event.event_id)
        of_type = {market.market_id: _market(market.body, market.priced_at).market_type for market in held}
        held.sort(key=lambda market: (of_type[market.market_id], market.market_id))
        return _ShownEvent(
            event_id=event.event_id,
            name=event.name,
            sport=event.sport,
            competition=event.competition,
            status=event.status.value,
            start_time=event.start_time,
            score=event.score,
            clock=event.clock,
            markets=[msgspec.Raw(market.body) for market in held],
        )

    async def changed_since(self, cursor: str | None) -> tuple[str, list[Market]]:
        """See `ports.MarketStore`. Where nothing newer can be told, the cursor stays as it is."""
        cursor = self._whole(cursor)
        found = self._on_board(cursor) if self.is_current else None
        if found is None:
            try:
                return await self._authority.changed_since(cursor)
            except Outage:
                found = self._as_last_known(cursor)
        after, changes = found
        return after, [_market(change.body, change.priced_at) for change in changes]

    async def changes_body(self, cursor: str | None) -> bytes:
        """Return what changed since `cursor` as `ChangesV1` in JSON, as `changed_since` does."""
        cursor = self._whole(cursor)
        found = self._on_board(cursor) if self.is_current else None
        if found is None:
            try:
                after, markets = await self._authority.changed_since(cursor)
                return _encode(ChangesV1(after, [market_to_wire(market) for market in markets]))
            except Outage:
                found = self._as_last_known(cursor)
        after, changes = found
        return _encode(_ShownChanges(after, [msgspec.Raw(change.body) for change in changes]))

    def _whole(self, cursor: str | None) -> str | None:
        """Return a cursor with its epoch: as the stream tells it, it is a number of the epoch that stands."""
        is_number = cursor is not None and cursor.isascii() and cursor.isdigit()
        return f"{self._board.epoch}-{cursor}" if is_number else cursor

    def _on_board(self, cursor: str | None) -> tuple[str, Sequence[MarketChanged]] | None:
        """Return what the board knows to have changed; None: the cursor is none of this board's, or beyond it."""
        epoch, after = parse_cursor(cursor)
        board = self._board
        if not epoch:
            found = board.undecided()
        else:
            changes = board.since(epoch, after)
            if changes is None:
                return None
            found = [change for change in changes if not isinstance(change, EventChanged)]
        if len(found) > CHANGES_MAX:
            return f"{board.epoch}-{found[CHANGES_MAX - 1].cursor}", found[:CHANGES_MAX]
        return f"{board.epoch}-{board.cursor}", found

    def _as_last_known(self, cursor: str | None) -> tuple[str, Sequence[MarketChanged]]:
        self._must_know()
        found = self._on_board(cursor)
        if found is not None:
            return found
        return cursor or "", ()  # of a later board than this, or of books that are gone: nothing to go on to yet

    async def is_applied(self, message_id: MessageId) -> bool:
        """See `ports.MarketStore`."""
        return await self._authority.is_applied(message_id)

    async def record_message(self, message_id: MessageId, at: datetime) -> None:
        """See `ports.MarketStore`."""
        await self._authority.record_message(message_id, at)

    async def forget_messages(self, before: datetime, limit: int) -> int:
        """See `ports.MarketStore`."""
        return await self._authority.forget_messages(before, limit)

    async def change_market(
        self,
        market_id: MarketId,
        event_id: EventId | None,
        change: Callable[[Market | None], Market | None],
        message_id: MessageId | None = None,
    ) -> Market | None:
        """See `ports.MarketStore`; returns once reads here show the change, or ask the authority."""
        changed = await self._authority.change_market(market_id, event_id, change, message_id)
        await self.shown()
        return changed

    async def change_event(
        self, event_id: EventId, change: Callable[[Event | None], Event], message_id: MessageId | None = None
    ) -> bool:
        """See `ports.MarketStore`; returns once reads here show the change, or ask the authority."""
        changed = await self._authority.change_event(event_id, change, message_id)
        await self.shown()
        return changed

    async def shown(self) -> None:
        """Wait for the board to show what was changed through the authority; beyond `OWN_CHANGE_S` it is owed."""
        epoch, cursor = self._authority.written
        board = self._board
        try:
            async with asyncio.timeout(OWN_CHANGE_S):
                with suppress(Outage):  # the change is made, and told of, all the same
                    await self._authority.published()
                while epoch and (board.epoch != epoch or board.cursor < cursor):
                    await self._moved.wait()
        except TimeoutError:
            owed_epoch, owed = self._owed
            self._owed = (epoch, max(cursor, owed) if owed_epoch == epoch else cursor)
