"""Lines of the Betfair Exchange Stream API, decoded and checked.

Invariant: a line either decodes whole into bounded values or raises `BadLine`; nothing else leaves this module.
Source: Exchange Stream API, "Market Change Message" (MCM).
"""

import json
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec

from touchline.adapters.feeds.values import TIME_MS_MAX
from touchline.core.errors import Rejection
from touchline.core.ids import EventId, SelectionId, check_id

ID_LENGTH_MAX: Final = 64
LEVELS_MAX: Final = 1_000  # the exchange's ladder has 350 prices
RUNNERS_MAX: Final = 1_000
BET_DELAY_S_MAX: Final = 60
EACH_WAY_DIVISOR_MAX: Final = 100
HANDICAP_MAX: Final = 1_000_000
HANDICAP_PLACES_MAX: Final = 4

RunnerId = Annotated[int, msgspec.Meta(ge=0)]
MarketState = Literal["OPEN", "SUSPENDED", "CLOSED", "INACTIVE"]
RunnerState = Literal["ACTIVE", "REMOVED", "REMOVED_VACANT", "WINNER", "LOSER", "PLACED", "HIDDEN"]


class BadLine(Exception):
    """A line, or one market's part of it, that can't be used; says why."""


class _Camel(msgspec.Struct, frozen=True, rename="camel"):
    pass


class Runner(_Camel, frozen=True):
    """A runner in a market definition."""

    id: RunnerId
    status: RunnerState
    hc: Decimal | None = None
    name: str | None = None


class Definition(_Camel, frozen=True):
    """A market definition; each one replaces the one before it. Some recorders write ids as numbers."""

    event: str | RunnerId = msgspec.field(name="eventId")
    status: MarketState
    runners: list[Runner]
    in_play: bool | None = None
    bet_delay: int | None = None
    market_type: str | None = None
    betting_type: str | None = None
    name: str | None = None
    event_name: str | None = None
    event_type_id: str | int | None = None
    venue: str | None = None
    open_date: str | None = None
    market_time: str | None = None
    number_of_winners: int | None = None
    each_way_divisor: Decimal | None = None

    @property
    def event_id(self) -> EventId:
        """The event's id, as given."""
        return EventId(str(self.event))


class RunnerChange(_Camel, frozen=True):
    """A runner's prices: `atb` by price, `batb` and `bdatb` by level, each a delta in which size 0 removes."""

    id: RunnerId
    hc: Decimal | None = None
    ltp: Decimal | None = None
    atb: list[tuple[Decimal, Decimal]] | None = None
    batb: list[tuple[int, Decimal, Decimal]] | None = None
    bdatb: list[tuple[int, Decimal, Decimal]] | None = None


class MarketChange(_Camel, frozen=True):
    """One market's part of a line; `img` says that it replaces all that was known of the market's prices."""

    id: str
    img: bool | None = None
    market_definition: Definition | None = None
    rc: list[RunnerChange] | None = None


class Line(msgspec.Struct, frozen=True):
    """A line; `mc` holds the market changes, not yet decoded, so that a bad one spoils no other."""

    op: str
    pt: int | None = None
    ct: str | None = None
    mc: list[msgspec.Raw] | None = None


# Streams that other subscriptions of the same API record; they hold no markets.
OTHER_OPS: Final = frozenset({"connection", "status", "ocm", "ccm", "rcm", "authentication", "heartbeat"})
_line_decoder = msgspec.json.Decoder(Line)
_change_decoder = msgspec.json.Decoder(MarketChange)


def decode_line(text: bytes) -> Line:
    """Return a line, its market changes still to decode.

    Raises:
        BadLine: no JSON, no message of the stream, or an impossible time.
    """
    try:
        line = _line_decoder.decode(text)
    except msgspec.ValidationError as wrong:
        raise BadLine(wrong) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        line = _decode_lenient(text)
    if line.op != "mcm" and line.op not in OTHER_OPS:
        raise BadLine(f"op {line.op[:40]!r} is no message of the stream")
    if line.mc and (line.pt is None or not 0 < line.pt <= TIME_MS_MAX):
        raise BadLine("market changes without a possible pt (published time)")
    return line


def decode_change(raw: msgspec.Raw) -> MarketChange:
    """Return one market's change, its ids and sizes checked.

    Raises:
        BadLine: a field of the wrong type, an id of the wrong shape, too many runners or levels.
    """
    try:
        change = _change_decoder.decode(raw)
        check_id("market id", change.id)
        if change.market_definition is not None:
            check_id("eventId", change.market_definition.event_id)
            _check_definition(change.market_definition)
    except Rejection as wrong:
        raise BadLine(wrong.detail) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise BadLine(wrong) from None
    if len(change.id) > ID_LENGTH_MAX:
        raise BadLine(f"market id is longer than {ID_LENGTH_MAX}")
    if len(change.rc or ()) > RUNNERS_MAX * 10:
        raise BadLine("more runner changes than a market has runners")
    for runner in change.rc or ():
        selection_id(runner.id, runner.hc)
        if any(not 0 <= level[0] < LEVELS_MAX for level in (*(runner.batb or ()), *(runner.bdatb or ()))):
            raise BadLine(f"a level outside 0 to {LEVELS_MAX - 1}")
    return change


def selection_id(runner_id: int, handicap: Decimal | None) -> SelectionId:
    """Return a runner's id within its market: `47972`, or with a handicap `47972:-1.5`, `47972:2`.

    Raises:
        BadLine: the handicap is no plausible number.
    """
    if not handicap:
        return SelectionId(str(runner_id))
    if not handicap.is_finite() or abs(handicap) > HANDICAP_MAX:
        raise BadLine("hc (handicap) is no plausible number")
    plain = handicap.normalize()
    if int(plain.as_tuple().exponent) < -HANDICAP_PLACES_MAX:
        raise BadLine("hc (handicap) has too many decimal places")
    return SelectionId(f"{runner_id}:{plain:f}")


def _check_definition(definition: Definition) -> None:
    if len(definition.event_id) > ID_LENGTH_MAX:
        raise BadLine(f"eventId is longer than {ID_LENGTH_MAX}")
    if len(definition.runners) > RUNNERS_MAX:
        raise BadLine(f"more than {RUNNERS_MAX} runners")
    if not 0 <= (definition.bet_delay or 0) <= BET_DELAY_S_MAX:
        raise BadLine(f"betDelay outside 0 to {BET_DELAY_S_MAX} s")
    divisor = definition.each_way_divisor
    if divisor is not None:
        if not divisor.is_finite() or not 1 <= divisor <= EACH_WAY_DIVISOR_MAX:
            raise BadLine(f"eachWayDivisor outside 1 to {EACH_WAY_DIVISOR_MAX}")
        if int(divisor.normalize().as_tuple().exponent) < -2:
            raise BadLine("eachWayDivisor has more than two decimal places")
    for runner in definition.runners:
        selection_id(runner.id, runner.hc)


def _decode_lenient(text: bytes) -> Line:
    """Decode what is JSON save for bare NaN and Infinity, which some recorders write; they become null."""
    try:
        document: Any = json.loads(text, parse_float=Decimal, parse_constant=lambda _: None)
        return _line_decoder.decode(msgspec.json.encode(document))
    except (ValueError, RecursionError, msgspec.MsgspecError) as wrong:
        raise BadLine(f"no JSON: {wrong}") from None
