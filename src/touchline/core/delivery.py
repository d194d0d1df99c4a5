"""What is offered as one reader of its authority knows it, and what of that somebody has not been told yet.

Invariant: of a market or an event the newest change told is held; within an epoch nothing goes back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId
from touchline.core.market import DECIDED

DECIDED_MAX: Final = 5_000
DECIDED_KEPT: Final = timedelta(hours=24)  # after its last change; a decided market is then in the books alone
ENDED_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class MarketChanged:
    """A market as one change at its authority left it.

    `cursor` rises by exactly one with each change of any market or event. `body` is the market as `MarketV1` in
    JSON: the bytes that every poll and every push answers with. `priced_at` is as of this change: a source's
    confirmation of what stands moves it on at the authority, and is not told.
    """

    cursor: int
    market_id: MarketId
    event_id: EventId
    status: str
    odds_version: int
    body: bytes
    priced_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventChanged:
    """An event as one change left it: its name, status, score, clock; `made` is the cursor of its first change."""

    cursor: int
    event: Event
    made: int = 0


Change = MarketChanged | EventChanged
Key = TypeVar("Key")
Held = TypeVar("Held", MarketChanged, EventChanged)


@dataclass(frozen=True, slots=True)
class Image:
    """All that is offered, as of `cursor`, oldest change first. Cursors of another `epoch` mean nothing here."""

    epoch: str
    cursor: int
    markets: Sequence[MarketChanged]
    events: Sequence[EventChanged]


class Board:
    """The latest change of each market and event, in the order of their cursors.

    Held are all that is undecided and all that has not ended, as their authority does, and of the others the
    latest: at most `DECIDED_MAX` decided markets and `ENDED_MAX` ended events.
    """

    def __init__(self) -> None:
        self.epoch = ""  # none until the first image
        self.cursor = 0
        self._undecided: dict[MarketId, MarketChanged] = {}
        self._decided: dict[MarketId, MarketChanged] = {}
        self._going_on: dict[EventId, EventChanged] = {}
        self._ended: dict[EventId, EventChanged] = {}
        self._markets_of: dict[EventId, set[MarketId]] = {}

    def show(self, image: Image) -> None:
        """Hold what `image` shows and nothing else; nothing happens where the board has seen later changes."""
        if image.epoch == self.epoch and image.cursor < self.cursor:
            return
        for held in (self._undecided, self._decided, self._going_on, self._ended, self._markets_of):
            held.clear()
        self.epoch, self.cursor = image.epoch, 0
        self.apply(sorted((*image.events, *image.markets), key=lambda change: change.cursor))
        self.cursor = image.cursor

    def apply(self, changes: Sequence[Change]) -> list[Change]:
        """Hold each change that is newer than all before it; returns those."""
        new = list[Change]()
        for change in changes:
            if change.cursor <= self.cursor:
                continue
            if isinstance(change, MarketChanged):
                self._hold_market(change)
            else:
                self._hold_event(change)
            self.cursor = change.cursor
            new.append(change)
        return new

    def market(self, market_id: MarketId) -> MarketChanged | None:
        """Return the latest change of a market, or None where none is held."""
        return self._undecided.get(market_id) or self._decided.get(market_id)

    def event(self, event_id: EventId) -> EventChanged | None:
        """Return the latest change of an event, or None where none is held."""
        return self._going_on.get(event_id) or self._ended.get(event_id)

    def markets_of(self, event_id: EventId) -> list[MarketChanged]:
        """Return the markets held of an event, in the order of their ids."""
        held = (self.market(market_id) for market_id in sorted(self._markets_of.get(event_id, ())))
        return [market for market in held if market is not None]

    def events(self, status: str | None = None) -> list[EventChanged]:
        """Return the events held, or those of one status, the first made first."""
        found = [event for held in (self._going_on, self._ended) for event in held.values()]
        return sorted(
            (event for event in found if status is None or event.event.status == status),
            key=lambda event: event.made or event.cursor,
        )

    def undecided(self) -> list[MarketChanged]:
        """Return the markets that can still be bet on or decided, the oldest change first."""
        return list(self._undecided.values())

    def since(self, epoch: str, cursor: int) -> list[Change] | None:
        """Return the latest change of all that changed after `cursor`, in order.

        None: that can't be told, because the cursor is of another epoch or beyond this board's.
        """
        if epoch != self.epoch or cursor > self.cursor:
            return None
        markets = (*_after(cursor, self._undecided), *_after(cursor, self._decided))
        events = (*_after(cursor, self._going_on), *_after(cursor, self._ended))
        return sorted((*markets, *events), key=lambda change: change.cursor)

    def forget(self, before: datetime) -> None:
        """Drop the decided markets that have not changed since, as their authority does."""
        while self._decided:
            oldest = next(iter(self._decided.values()))
            if oldest.updated_at is None or oldest.updated_at >= before:
                return
            del self._decided[oldest.market_id]
            self._leave_event(oldest)

    def image(self) -> Image:
        """Return all that is held."""
        markets = sorted((*self._undecided.values(), *self._decided.values()), key=lambda held: held.cursor)
        events = sorted((*self._going_on.values(), *self._ended.values()), key=lambda held: held.cursor)
        return Image(self.epoch, self.cursor, markets, events)

    def _hold_market(self, change: MarketChanged) -> None:
        market_id = change.market_id
        old = self._undecided.pop(market_id, None) or self._decided.pop(market_id, None)
        if old is None or old.event_id != change.event_id:
            if old is not None:
                self._leave_event(old)
            self._markets_of.setdefault(change.event_id, set()).add(market_id)
        if change.status not in DECIDED:
            self._undecided[market_id] = change
            return
        self._decided[market_id] = change
        if len(self._decided) > DECIDED_MAX:
            oldest = next(iter(self._decided))
            self._leave_event(self._decided.pop(oldest))

    def _hold_event(self, change: EventChanged) -> None:
        event_id = change.event.event_id
        self._going_on.pop(event_id, None)
        self._ended.pop(event_id, None)
        if change.event.status is not EventStatus.ENDED:
            self._going_on[event_id] = change
            return
        self._ended[event_id] = change
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _leave_event(self, market: MarketChanged) -> None:
        markets = self._markets_of[market.event_id]
        markets.discard(market.market_id)
        if not markets:
            del self._markets_of[market.event_id]


def _after(cursor: int, held: dict[Key, Held]) -> Iterator[Held]:
    """Yield what changed after `cursor`, newest first: each mapping is in the order of cursors."""
    for change in reversed(held.values()):
        if change.cursor <= cursor:
            return
        yield change
