"""How markets and events stand in Valkey where it is their authority, and the names under which they do.

Invariant: a record is "cursor mark body": the cursor of the change that a reader could see last; a market's
`priced_at` in microseconds since 1970 ("-": none), an event's first cursor; and the body, as it goes out.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from touchline.core.delivery import Change, EventChanged, MarketChanged
from touchline.core.errors import Fault
from touchline.core.event import Event
from touchline.core.ids import EventId, MarketId
from touchline.core.market import Market
from touchline.wire.odds_v1 import MarketV1, market_to_wire, selections_from_wire

EPOCH: Final = "offer:epoch"
CURSOR: Final = "offer:cursor"
MESSAGES: Final = "offer:messages"
HISTORY: Final = "offer:history"
MADE: Final = "offer:made"
UNDECIDED: Final = "offer:undecided"
DECIDED: Final = "offer:decided"
FORGOTTEN: Final = "offer:forgotten"
GOING_ON: Final = "offer:going-on"
ENDED: Final = "offer:ended"
CHANNEL: Final = "offer:changes"
MARKET: Final = "m"
EVENT: Final = "e"
RECORDS_KEPT_MAX: Final = 4_096

_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class _Shown(msgspec.Struct, frozen=True):
    market_id: MarketId
    event_id: EventId
    status: str
    odds_version: int
    updated_at: datetime


_encode: Final = msgspec.json.Encoder().encode
_decode_market: Final = msgspec.json.Decoder(MarketV1).decode
_decode_shown: Final = msgspec.json.Decoder(_Shown).decode
_decode_event: Final = msgspec.json.Decoder(Event).decode


def market_key(market_id: MarketId) -> str:
    """Return the name of a market's record."""
    return f"offer:m:{market_id}"


def event_key(event_id: EventId) -> str:
    """Return the name of an event's record."""
    return f"offer:e:{event_id}"


def markets_key(event_id: EventId) -> str:
    """Return the name of the set of an event's markets."""
    return f"offer:of:{event_id}"


def market_body(market: Market) -> bytes:
    """Return a market as it goes out."""
    return _encode(market_to_wire(market))


def event_body(event: Event) -> bytes:
    """Return an event as its record holds it."""
    return _encode(event)


def mark_of(instant: datetime | None) -> str:
    """Return an instant as a record holds it."""
    return "-" if instant is None else str((instant - _EPOCH_START) // _MICROSECOND)


def instant_of(mark: bytes) -> datetime | None:
    """Return the instant of a mark; the inverse of `mark_of`."""
    return None if mark == b"-" else _EPOCH_START + int(mark) * _MICROSECOND


def cursor_of(record: bytes) -> int:
    """Return the cursor of the change that a reader could see last."""
    return int(record.split(b" ", 1)[0])


def body_of(record: bytes) -> bytes:
    """Return what of a record goes out."""
    return record.split(b" ", 2)[2]


@lru_cache(RECORDS_KEPT_MAX)
def market_of(record: bytes) -> Market:
    """Return the market of a record; the same bytes are read once, for the many bets on one version."""
    _, mark, body = record.split(b" ", 2)
    return market_from(body, instant_of(mark))


def market_from(body: bytes, priced_at: datetime | None) -> Market:
    """Return the market whose body this is."""
    wire = _decode_market(body)
    return Market(
        market_id=wire.market_id,
        event_id=wire.event_id,
        name=wire.name,
        market_type=wire.market_type,
        status=wire.status,
        odds_version=wire.odds_version,
        selections=selections_from_wire(wire.selections),
        bet_delay_ms=wire.bet_delay_ms,
        priced_at=priced_at,
        updated_at=wire.updated_at,
    )


def event_of(record: bytes) -> Event:
    """Return the event of a record."""
    return _decode_event(body_of(record))


def change_of(kind: bytes, record: bytes) -> Change:
    """Return the change that left a record as it is."""
    cursor, mark, body = record.split(b" ", 2)
    if kind == MARKET.encode():
        shown = _decode_shown(body)
        return MarketChanged(
            cursor=int(cursor),
            market_id=shown.market_id,
            event_id=shown.event_id,
            status=shown.status,
            odds_version=shown.odds_version,
            body=body,
            priced_at=instant_of(mark),
            updated_at=shown.updated_at,
        )
    if kind == EVENT.encode():
        return EventChanged(int(cursor), _decode_event(body), int(mark))
    raise Fault(f"a record of no kind: {kind!r}")
