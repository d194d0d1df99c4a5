"""Feed messages on the wire: a JSON array or NDJSON, each message tagged by `kind`.

Fields that this version does not know are passed over, since sources add fields without notice; a known field
of the wrong shape refuses the whole request, so that nothing is half taken.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final

import msgspec

from touchline.core import feed
from touchline.core.bet import BetResult
from touchline.core.errors import Code, Rejection
from touchline.core.event import EventStatus
from touchline.core.ids import SelectionId, check_id
from touchline.core.market import MarketStatus, SelectionStatus
from touchline.core.price import format_odds, parse_odds_milli
from touchline.core.settlement import Outcome, Results
from touchline.wire.decimals import decimal_text
from touchline.wire.instants import utc
from touchline.wire.problems_v1 import told

MESSAGES_MAX: Final = 1_000
SELECTIONS_MAX: Final = 1_000
TEXT_LENGTH_MAX: Final = 200
BET_DELAY_MS_MAX: Final = 60_000
# A decimal of 18 places is a fraction of 19 digits: whatever is read can be written, and read again.
_FACTOR = re.compile(r"[0-9]{1,19}(\.[0-9]{1,18}|/[1-9][0-9]{0,18})?")
_NAMES = {"name", "market_type", "sport", "competition", "score", "clock"}


class OutcomeV1(msgspec.Struct, frozen=True):
    """A selection's result; factors are decimals ("0.5") or fractions ("1/3")."""

    result: BetResult
    void_factor: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b'"0"'))
    dead_heat_factor: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b'"1"'))


class PricedSelectionV1(msgspec.Struct, frozen=True, omit_defaults=True):
    """A selection in an odds change."""

    selection_id: str
    name: str | None = None
    odds: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    status: SelectionStatus | None = None


class NamedOutcomeV1(OutcomeV1, frozen=True, kw_only=True):
    """A result in a list of results."""

    selection_id: str


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    message_id: str
    occurred_at: datetime


class OddsChangeV1(_Message, frozen=True, kw_only=True, tag="odds_change"):
    """See `core.feed.OddsChange`."""

    event_id: str
    market_id: str
    selections: list[PricedSelectionV1]
    name: str | None = None
    market_type: str | None = None
    status: MarketStatus | None = None
    bet_delay_ms: int | None = None


class BetStopV1(_Message, frozen=True, kw_only=True, tag="bet_stop"):
    """See `core.feed.BetStop`."""

    event_id: str
    market_id: str | None = None


class BetSettlementV1(_Message, frozen=True, kw_only=True, tag="bet_settlement"):
    """See `core.feed.BetSettlement`; results by selection, or as a list that names each."""

    event_id: str
    market_id: str
    results: dict[str, BetResult | OutcomeV1] | list[NamedOutcomeV1]


class BetCancelV1(_Message, frozen=True, kw_only=True, tag="bet_cancel"):
    """See `core.feed.BetCancel`."""

    event_id: str
    market_id: str
    placed_from: datetime | None = None
    placed_until: datetime | None = None


class RollbackBetSettlementV1(_Message, frozen=True, kw_only=True, tag="rollback_bet_settlement"):
    """See `core.feed.RollbackBetSettlement`."""

    event_id: str
    market_id: str


class RollbackBetCancelV1(_Message, frozen=True, kw_only=True, tag="rollback_bet_cancel"):
    """See `core.feed.RollbackBetCancel`."""

    event_id: str
    market_id: str


class FixtureChangeV1(_Message, frozen=True, kw_only=True, tag="fixture_change"):
    """See `core.feed.FixtureChange`."""

    event_id: str
    name: str | None = None
    sport: str | None = None
    competition: str | None = None
    status: EventStatus | None = None
    start_time: datetime | None = None
    score: str | None = None
    clock: str | None = None


class AliveV1(_Message, frozen=True, kw_only=True, tag="alive"):
    """See `core.feed.Alive`."""


MessageV1 = (
    OddsChangeV1
    | BetStopV1
    | BetSettlementV1
    | BetCancelV1
    | RollbackBetSettlementV1
    | RollbackBetCancelV1
    | FixtureChangeV1
    | AliveV1
)


class FeedAnswerV1(msgspec.Struct, frozen=True):
    """The answer of `POST /feed/messages`."""

    applied: int
    ignored: int


# What msgspec raises at content that is no JSON, no UTF-8, or nested beyond all measure.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_message_decoder = msgspec.json.Decoder(MessageV1)
_raw_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def decode_messages(body: bytes) -> list[feed.AnyMessage]:
    """Return the messages of a request body, a JSON array, one JSON object, or NDJSON.

    Raises:
        Rejection: MALFORMED, naming the message by its place (from 1) and why; nothing of the body is taken.
    """
    try:
        text = body.strip()
        raws = _raw_list_decoder.decode(text) if text[:1] == b"[" else _lines(text)
    except _UNREADABLE as wrong:
        raise Rejection(Code.MALFORMED, f"the body is no JSON array and no NDJSON: {wrong}") from None
    if len(raws) > MESSAGES_MAX:
        raise Rejection(Code.MALFORMED, f"more than {MESSAGES_MAX} messages in one request")
    messages = []
    for place, raw in enumerate(raws, start=1):
        try:
            messages.append(message_from_wire(_message_decoder.decode(raw)))
        except msgspec.ValidationError as wrong:
            _, named = told(wrong)
            raise _misread(place, str(wrong), named) from None
        except _UNREADABLE as wrong:
            raise _misread(place, str(wrong), {}) from None
        except Rejection as wrong:
            raise _misread(place, wrong.detail, wrong.extra) from None
    return messages


def encode_message(message: feed.AnyMessage) -> bytes:
    """Return `message` as one line of JSON without its line end; `decode_messages` reads it back the same."""
    return msgspec.json.encode(message_to_wire(message))


def _misread(place: int, what: str, named: Mapping[str, object]) -> Rejection:
    return Rejection(Code.MALFORMED, f"message {place}: {what}", **{**named, "message": place})


def _lines(text: bytes) -> Sequence[bytes]:
    return [line for line in text.splitlines() if line.strip()]


def outcome_from_wire(outcome: BetResult | OutcomeV1) -> Outcome:
    """Return a selection's result in the core's terms.

    Raises:
        Rejection: MALFORMED: a factor outside its range.
    """
    if isinstance(outcome, BetResult):
        return Outcome(outcome)
    return Outcome(
        outcome.result,
        _factor("void_factor", outcome.void_factor),
        _factor("dead_heat_factor", outcome.dead_heat_factor),
    )


def results_from_wire(results: dict[str, BetResult | OutcomeV1] | list[NamedOutcomeV1]) -> Results:
    """Return results by selection in the core's terms.

    Raises:
        Rejection: MALFORMED: none, too many, a selection twice, or a factor outside its range.
    """
    pairs = (
        [(key, outcome_from_wire(value)) for key, value in results.items()]
        if isinstance(results, dict)
        else [(named.selection_id, outcome_from_wire(named)) for named in results]
    )
    by_selection = {SelectionId(check_id("selection_id", key)): outcome for key, outcome in pairs}
    if not 1 <= len(pairs) <= SELECTIONS_MAX or len(by_selection) != len(pairs):
        raise Rejection(
            Code.MALFORMED, f"results must name 1 to {SELECTIONS_MAX} selections, each once", field="results"
        )
    return by_selection


def outcome_to_wire(outcome: Outcome) -> OutcomeV1:
    """Return a selection's result as it goes out; factors as exact text."""
    return OutcomeV1(outcome.result, _raw_text(str(outcome.void_factor)), _raw_text(str(outcome.dead_heat_factor)))


def message_from_wire(message: MessageV1) -> feed.AnyMessage:
    """Return a message in the core's terms.

    Raises:
        Rejection: MALFORMED, naming the field.
    """
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    for name, value in fields.items():
        if name in ("message_id", "event_id", "market_id") and value is not None:
            check_id(name, value)
        if isinstance(value, datetime):
            fields[name] = utc(name, value)
        if name in _NAMES and value is not None:
            _check_text(name, value)
    if isinstance(message, OddsChangeV1):
        fields["selections"] = _selections_from_wire(message)
    if isinstance(message, BetSettlementV1):
        fields["results"] = results_from_wire(message.results)
    return _CORE_OF_WIRE[type(message)](**fields)


def message_to_wire(message: feed.AnyMessage) -> MessageV1:
    """Return a message as it goes out."""
    wire = _WIRE_OF_CORE[type(message)]
    fields = {name: getattr(message, name) for name in wire.__struct_fields__}
    if isinstance(message, feed.OddsChange):
        fields["selections"] = [
            PricedSelectionV1(
                s.selection_id,
                s.name,
                msgspec.Raw(b"null") if s.odds_milli is None else _raw_text(format_odds(s.odds_milli)),
                s.status,
            )
            for s in message.selections
        ]
    if isinstance(message, feed.BetSettlement):
        fields["results"] = {key: outcome_to_wire(outcome) for key, outcome in message.results.items()}
    return wire(**fields)


def _selections_from_wire(message: OddsChangeV1) -> tuple[feed.PricedSelection, ...]:
    if len(message.selections) > SELECTIONS_MAX:
        raise Rejection(Code.MALFORMED, f"more than {SELECTIONS_MAX} selections", field="selections")
    if message.status in (MarketStatus.SETTLED, MarketStatus.VOID):
        raise Rejection(
            Code.MALFORMED,
            "an odds_change can't settle or void: send bet_settlement or bet_cancel",
            field="status",
        )
    if message.bet_delay_ms is not None and not 0 <= message.bet_delay_ms <= BET_DELAY_MS_MAX:
        raise Rejection(Code.MALFORMED, f"bet_delay_ms must be 0 to {BET_DELAY_MS_MAX}", field="bet_delay_ms")
    selections = []
    for s in message.selections:
        if s.name is not None:
            _check_text("name", s.name)
        priced = bytes(s.odds) != b"null"
        selections.append(
            feed.PricedSelection(
                selection_id=SelectionId(check_id("selection_id", s.selection_id)),
                name=s.name,
                odds_milli=parse_odds_milli("odds", decimal_text("odds", s.odds)) if priced else None,
                status=s.status,
            )
        )
    return tuple(selections)


def _check_text(field: str, text: str) -> None:
    if not 1 <= len(text) <= TEXT_LENGTH_MAX or not text.isprintable():
        raise Rejection(
            Code.MALFORMED, f"{field} must be 1 to {TEXT_LENGTH_MAX} printable characters", field=field
        )


def _factor(field: str, raw: msgspec.Raw) -> Fraction:
    text = decimal_text(field, raw)
    if not _FACTOR.fullmatch(text):
        raise Rejection(Code.MALFORMED, f"{field} must be a decimal or a fraction", field=field)
    return Fraction(text)


def _raw_text(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text))


_CORE_OF_WIRE: Final[dict[type[MessageV1], type[feed.AnyMessage]]] = {
    OddsChangeV1: feed.OddsChange,
    BetStopV1: feed.BetStop,
    BetSettlementV1: feed.BetSettlement,
    BetCancelV1: feed.BetCancel,
    RollbackBetSettlementV1: feed.RollbackBetSettlement,
    RollbackBetCancelV1: feed.RollbackBetCancel,
    FixtureChangeV1: feed.FixtureChange,
    AliveV1: feed.Alive,
}
_WIRE_OF_CORE: Final[dict[type[feed.AnyMessage], type[MessageV1]]] = {
    core: wire for wire, core in _CORE_OF_WIRE.items()
}
