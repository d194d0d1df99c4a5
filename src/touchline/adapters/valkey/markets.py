"""Events and markets in Valkey (or Redis): the authority on odds in `stream`.

Invariant: a market, its history, the message that changed it and the telling of it are one step of the server,
made only where nobody has changed it since it was read: versions rise by one, and no reader sees one go back.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from touchline.adapters.breaker import Breaker
from touchline.adapters.valkey import records
from touchline.adapters.valkey.connection import Part, Refused, Valkey
from touchline.core.errors import Code, Fault, Outage, Rejection
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId, MessageId
from touchline.core.market import DECIDED, Market
from touchline.ports import EVENTS_MAX, Clock
from touchline.ports.shards import Offered
from touchline.wire.odds_v1 import PolledMarketV1

CHANGE_ATTEMPTS_MAX: Final = 100
CHANGES_MAX: Final = 2_000
HISTORY_MAX: Final = 100_000  # changes that the books have not recorded yet; beyond, no more are made
MESSAGES_MAX: Final = 200_000  # later ones of the same id change nothing either way, as they are late by then
AT_ONCE_MAX: Final = 1_000
_CURSOR: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,19})")
_ALL: Final = ""
_NONE: Final = 0
_LEFT: Final = 1  # in place of a record: the books alone hold the market
_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_decode_polled: Final = msgspec.json.Decoder(PolledMarketV1).decode

Books = Callable[[MarketId], Awaitable[Market | None]]


class ValkeyMarkets:
    """The `MarketStore` port. Nothing is answered and nothing changed before somebody has begun an epoch.

    `books` looks up those decided markets that the authority has left to the books.
    """

    def __init__(
        self,
        url: str,
        timeout_ms: int,
        clock: Clock,
        books: Books | None = None,
        *,
        history_max: int = HISTORY_MAX,
    ) -> None:
        self._valkey = Valkey(url, timeout_ms)
        self._change = self._valkey.script("change.lua")
        self._since = self._valkey.script("since.lua")
        self._offered = self._valkey.script("offered.lua")
        self._breaker = Breaker("Valkey")
        self._clock = clock
        self._books = books
        self._history_max = history_max
        self.written = ("", 0)  # the epoch and cursor of the latest change made through here

    async def close(self) -> None:
        """Close every connection."""
        await self._valkey.close()

    async def published(self) -> None:
        """Return once all that was changed through here is on its way to every follower.

        Valkey answers in a later turn than the change's, and ends each turn by sending all that it has to say.
        """
        await self._call("PING")

    async def begin(self, cursor: int = 0) -> bool:
        """Begin an epoch at a cursor; False where there is one already."""
        if await self._call("GET", records.EPOCH) is not None:
            return False
        await self._call("SET", records.CURSOR, cursor)
        return await self._call("SET", records.EPOCH, secrets.token_hex(16), "NX") is not None

    async def get(self, market_id: MarketId) -> Market | None:
        """See `ports.MarketStore`."""
        (record,) = await self._records([records.market_key(market_id)])
        return await self._in_books(market_id) if record is None else records.market_of(record)

    async def _in_books(self, market_id: MarketId) -> Market | None:
        """Return a market that was not found here and that the books may hold alone."""
        if self._books is None:
            return None
        if await self._call("SISMEMBER", records.FORGOTTEN, market_id):
            return await self._books(market_id)
        (record,) = await self._records([records.market_key(market_id)])  # it may have come back meanwhile
        return None if record is None else records.market_of(record)

    async def at_authority(self, market_ids: Collection[MarketId]) -> dict[MarketId, Market]:
        """Return those markets that are known, as they are at one instant while this is asked; one round trip.

        Of more than `AT_ONCE_MAX` each so many have an instant, and a round trip, of their own.
        """
        wanted = list(market_ids)
        found = await self._records([records.market_key(market_id) for market_id in wanted])
        return {
            market_id: records.market_of(record)
            for market_id, record in zip(wanted, found, strict=True)
            if record is not None
        }

    async def offered(self, market_ids: Collection[MarketId]) -> Offered:
        """Return those markets that are known as they all are at one instant, which is the server's clock's.

        That is the clock by which each version's time in force is on record. At most `AT_ONCE_MAX` are looked at.
        """
        wanted = list(market_ids)[:AT_ONCE_MAX]
        with self._breaker:
            keys = [records.EPOCH, *(records.market_key(market_id) for market_id in wanted)]
            seconds, microseconds, epoch, *found = await self._offered(keys, [])
        if epoch is None:
            raise Outage("the odds' authority")
        markets = dict[MarketId, Market]()
        for market_id, record in zip(wanted, found, strict=True):
            if record == _LEFT:
                market = None if self._books is None else await self._books(market_id)
            else:
                market = None if record is None else records.market_of(record)
            if market is not None:
                markets[market_id] = market
        at = _EPOCH_START + timedelta(seconds=int(seconds), microseconds=int(microseconds))
        return Offered(markets, at)

    async def poll(self, market_id: MarketId) -> PolledMarketV1 | None:
        """See `ports.MarketStore`."""
        (record,) = await self._records([records.market_key(market_id)])
        if record is not None:
            return _decode_polled(records.body_of(record))
        market = await self._in_books(market_id)
        return None if market is None else _decode_polled(records.market_body(market))

    async def events(self, status: str | None) -> list[tuple[Event, list[Market]]]:
        """See `ports.MarketStore`."""
        newest, first = list[Event](), 0
        while names := await self._call("ZREVRANGE", records.MADE, first, first + EVENTS_MAX - 1):
            first += EVENTS_MAX
            found = await self._records([records.event_key(EventId(name.decode())) for name in names])
            events = [records.event_of(record) for record in found if record is not None]
            newest += [event for event in events if status is None or event.status.value == status]
            if len(newest) >= EVENTS_MAX:
                break
        return await self._with_markets(sorted(newest[:EVENTS_MAX], key=by_start))

    async def event(self, event_id: EventId) -> tuple[Event, list[Market]] | None:
        """See `ports.MarketStore`."""
        (record,) = await self._records([records.event_key(event_id)])
        return None if record is None else (await self._with_markets([records.event_of(record)]))[0]

    async def _with_markets(self, events: list[Event]) -> list[tuple[Event, list[Market]]]:
        asked = [self._call("SMEMBERS", records.markets_key(event.event_id)) for event in events]
        names = [[MarketId(name.decode()) for name in some] for some in await asyncio.gather(*asked)]
        known = await self.at_authority([name for some in names for name in some])
        return [
            (event, in_order([known[name] for name in some if name in known]))
            for event, some in zip(events, names, strict=True)
        ]

    async def changed_since(self, cursor: str | None) -> tuple[str, list[Market]]:
        """See `ports.MarketStore`. A cursor of other books than these begins anew."""
        epoch, after = parse_cursor(cursor)
        now, upto, found = await self._changed(after, _ALL if epoch else _NONE)
        if epoch and now != epoch:
            now, upto, found = await self._changed(0, _NONE)
        return f"{now}-{upto}", [records.market_of(record) for record in found]

    async def _changed(self, after: int, decided_max: Part) -> tuple[str, int, list[bytes]]:
        with self._breaker:
            epoch, upto, _, *found = await self._since([], [after, CHANGES_MAX, decided_max, _NONE, 0])
        if epoch is None:
            raise Outage("the odds' authority")
        return epoch.decode(), int(upto), found[1::2]

    async def is_applied(self, message_id: MessageId) -> bool:
        """See `ports.MarketStore`."""
        return await self._call("ZSCORE", records.MESSAGES, message_id) is not None

    async def record_message(self, message_id: MessageId, at: datetime) -> None:
        """See `ports.MarketStore`."""
        await self._call("ZADD", records.MESSAGES, "NX", _ms_of(at), message_id)

    async def forget_messages(self, before: datetime, limit: int) -> int:
        """See `ports.MarketStore`."""
        until = f"({_ms_of(before)}"
        old = await self._call("ZRANGEBYSCORE", records.MESSAGES, "-inf", until, "LIMIT", 0, limit)
        return int(await self._call("ZREM", records.MESSAGES, *old)) if old else 0

    async def change_market(
        self,
        market_id: MarketId,
        event_id: EventId | None,
        change: Callable[[Market | None], Market | None],
        message_id: MessageId | None = None,
    ) -> Market | None:
        """See `ports.MarketStore`."""
        after: list[Market | None] = []

        async def attempt(held: bytes) -> list[Part] | None:
            old = records.market_of(held) if held else await self._in_books(market_id)
            new = change(old)
            after[:] = [new]
            return None if new is None or new == old else _market_step(old, new, event_id, held)

        made = await self._attempt(records.MARKET, market_id, records.market_key(market_id), attempt, message_id)
        return after[0] if made else None

    async def change_event(
        self, event_id: EventId, change: Callable[[Event | None], Event], message_id: MessageId | None = None
    ) -> bool:
        """See `ports.MarketStore`."""
        changed: list[bool] = []

        async def attempt(held: bytes) -> list[Part] | None:
            old = records.event_of(held) if held else None
            new = change(old)
            changed[:] = [new != old]
            return _event_step(new) if new != old else None

        made = await self._attempt(records.EVENT, event_id, records.event_key(event_id), attempt, message_id)
        return made and changed[0]

    async def _attempt(
        self,
        kind: str,
        name: str,
        key: str,
        attempt: Callable[[bytes], Awaitable[list[Part] | None]],
        message_id: MessageId | None,
    ) -> bool:
        """Write what `attempt` makes of the record, again where another was first; False: a known message."""
        (record,) = await self._records([key])
        held = record or b""
        if message_id is not None and await self.is_applied(message_id):
            return False
        for _ in range(CHANGE_ATTEMPTS_MAX):
            step = await attempt(held)
            if step is None and message_id is None:
                return True
            body, mark, enters, leaves, seen, *more = step or (b"", "-", "", "", 0)
            limits = (self._history_max, MESSAGES_MAX)
            now_ms = _ms_of(self._clock.now())
            args = [kind, name, held, body, mark, enters, leaves, message_id or "", now_ms, seen, *limits, *more]
            outcome, *rest = await self._write(args)
            if outcome == b"moved":
                held = rest[0]
                continue
            return self._made(outcome, rest, name)
        raise Outage("the odds' authority: too many change this at once")

    async def _write(self, args: list[Part]) -> Any:
        with self._breaker:
            try:
                return await self._change([], args)
            except Outage as outage:
                if not isinstance(outage.__cause__, Refused):
                    raise
        raise Outage("the odds' authority: it has no room")  # and can be read, so the breaker stays as it is

    def _made(self, outcome: bytes, rest: Sequence[Any], name: str) -> bool:
        if outcome == b"changed":
            self.written = (rest[1].decode(), rest[0])
            return True
        if outcome == b"kept":
            return True
        if outcome == b"known":
            return False
        if outcome == b"no event":
            raise Fault(f"market {name} of an event that is not on record")
        raise Outage("the odds' history" if outcome == b"full" else "the odds' authority")

    async def _records(self, keys: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = []
        for first in range(0, len(keys) or 1, AT_ONCE_MAX):
            epoch, *some = await self._call("MGET", records.EPOCH, *keys[first : first + AT_ONCE_MAX])
            if epoch is None:
                raise Outage("the odds' authority")
            found += some
        return found

    async def _call(self, *command: Part) -> Any:
        with self._breaker:
            return await self._valkey.call(*command)


def parse_cursor(cursor: str | None) -> tuple[str, int]:
    """Return the epoch and the number of a cursor from outside; no epoch where there is none.

    Raises:
        Rejection: MALFORMED: no cursor of ours.
    """
    if cursor is None:
        return "", 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Rejection(Code.MALFORMED, "since is no cursor of ours", field="since")
    return match[1], int(match[2])


def by_start(event: Event) -> tuple[bool, str, EventId]:
    """Return what events are sorted by: their start, those without one last."""
    started = event.start_time
    return started is None, "" if started is None else started.isoformat(), event.event_id


def in_order(markets: list[Market]) -> list[Market]:
    """Return the markets of an event in their order."""
    return sorted(markets, key=lambda market: (market.market_type, market.market_id))


def _market_step(old: Market | None, new: Market, event_id: EventId | None, held: bytes) -> list[Part]:
    body = records.market_body(new)
    seen = not held or body != records.body_of(held)
    indexes = (records.UNDECIDED, records.DECIDED)
    enters, leaves = reversed(indexes) if new.status in DECIDED else indexes
    event = records.event_body(unknown_event(new.event_id)) if old is None and event_id == new.event_id else b""
    left = old.event_id if old is not None and old.event_id != new.event_id else ""
    return [body, records.mark_of(new.priced_at), enters, leaves, int(seen), new.event_id, event, left]


def _event_step(new: Event) -> list[Part]:
    indexes = (records.GOING_ON, records.ENDED)
    enters, leaves = reversed(indexes) if new.status is EventStatus.ENDED else indexes
    return [records.event_body(new), "", enters, leaves, 1]


def unknown_event(event_id: EventId) -> Event:
    """Return an event of which only its id is known."""
    return Event(event_id, event_id, "unknown", "unknown", EventStatus.SCHEDULED, None, None, None)


def _ms_of(instant: datetime) -> int:
    return (instant - _EPOCH_START) // timedelta(milliseconds=1)
