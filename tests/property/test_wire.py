"""The wire: what goes out comes back the same, and no body raises anything but a refusal."""

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from tests.samples import ALICE, place_bet
from touchline.core import feed
from touchline.core.bet import Accept, BetResult
from touchline.core.errors import Code, Rejection
from touchline.core.event import EventStatus
from touchline.core.ids import ID_LENGTH_MAX, EventId, MarketId, MessageId, SelectionId
from touchline.core.market import Market, MarketStatus, Selection, SelectionStatus
from touchline.core.money import AMOUNT_MINOR_MAX, CURRENCY_EXPONENTS, format_minor
from touchline.core.price import ODDS_MILLI_MAX, ODDS_MILLI_MIN, format_odds
from touchline.core.settlement import Outcome
from touchline.wire.bets_v1 import ODDS_VERSION_MAX, PlaceBetV1, place_bet_from_wire
from touchline.wire.feed_v1 import (
    BET_DELAY_MS_MAX,
    MessageV1,
    decode_messages,
    encode_message,
    outcome_from_wire,
    outcome_to_wire,
)
from touchline.wire.instants import YEAR_MAX, YEAR_MIN
from touchline.wire.odds_v1 import MarketV1, market_to_wire, selections_from_wire

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:|=/@+-]{0,127}", fullmatch=True)
printable = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"))
texts = st.text(printable, min_size=1, max_size=30)
EARLIEST, LATEST = datetime(YEAR_MIN, 1, 2, tzinfo=UTC), datetime(YEAR_MAX, 12, 30, tzinfo=UTC)
instants = st.integers(0, (LATEST - EARLIEST) // timedelta(microseconds=1)).map(
    lambda microseconds: EARLIEST + timedelta(microseconds=microseconds)
)
prices = st.integers(ODDS_MILLI_MIN, ODDS_MILLI_MAX)
factors = st.fractions(0, 1, max_denominator=10**19 - 1) | st.integers(0, 10**18).map(
    lambda parts: Fraction(parts, 10**18)
)
outcomes = st.builds(Outcome, st.sampled_from(BetResult), factors, factors.filter(bool))
stamp: dict[str, Any] = {"message_id": ids.map(MessageId), "occurred_at": instants}
of_event: dict[str, Any] = {**stamp, "event_id": ids.map(EventId)}
of_market: dict[str, Any] = {**of_event, "market_id": ids.map(MarketId)}
priced = st.builds(
    feed.PricedSelection,
    selection_id=ids.map(SelectionId),
    name=st.none() | texts,
    odds_milli=st.none() | prices,
    status=st.none() | st.sampled_from(SelectionStatus),
)
messages = st.one_of(
    st.builds(
        feed.OddsChange,
        **of_market,
        selections=st.lists(priced, max_size=4).map(tuple),
        name=st.none() | texts,
        market_type=st.none() | texts,
        status=st.none() | st.sampled_from([MarketStatus.ACTIVE, MarketStatus.SUSPENDED, MarketStatus.CLOSED]),
        bet_delay_ms=st.none() | st.integers(0, BET_DELAY_MS_MAX),
    ),
    st.builds(feed.BetStop, **{**of_market, "market_id": st.none() | ids.map(MarketId)}),
    st.builds(
        feed.BetSettlement,
        **of_market,
        results=st.dictionaries(ids.map(SelectionId), outcomes, min_size=1, max_size=4),
    ),
    st.builds(feed.BetCancel, **of_market, placed_from=st.none() | instants, placed_until=st.none() | instants),
    st.builds(feed.RollbackBetSettlement, **of_market),
    st.builds(feed.RollbackBetCancel, **of_market),
    st.builds(
        feed.FixtureChange,
        **of_event,
        name=st.none() | texts,
        sport=st.none() | texts,
        competition=st.none() | texts,
        status=st.none() | st.sampled_from(EventStatus),
        start_time=st.none() | instants,
        score=st.none() | texts,
        clock=st.none() | texts,
    ),
    st.builds(feed.Alive, **stamp),
)
selections = st.builds(
    Selection, ids.map(SelectionId), texts, st.none() | prices, st.sampled_from(SelectionStatus)
)
markets = st.builds(
    Market,
    market_id=ids.map(MarketId),
    event_id=ids.map(EventId),
    name=texts,
    market_type=texts,
    status=st.sampled_from(MarketStatus),
    odds_version=st.integers(1, ODDS_VERSION_MAX),
    selections=st.lists(selections, max_size=4).map(tuple),
    bet_delay_ms=st.integers(0, BET_DELAY_MS_MAX),
    priced_at=st.none() | instants,
    updated_at=instants,
)
ODD_TEXTS = ["", "\x00", "NaN", "Infinity", "-1", "1e309", "9" * 400, "0." + "1" * 40, "x" * (ID_LENGTH_MAX + 1)]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(ODD_TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(message=messages)
def test_a_feed_message_survives_writing_and_reading(message: feed.AnyMessage) -> None:
    assert decode_messages(encode_message(message)) == [message]


@given(sent=st.lists(messages, min_size=1, max_size=4))
def test_lines_and_an_array_are_read_the_same(sent: list[feed.AnyMessage]) -> None:
    lines = [encode_message(message) for message in sent]
    assert decode_messages(b"\n".join(lines)) == decode_messages(b"[" + b",".join(lines) + b"]") == sent


@given(message=messages, hours=st.integers(-14, 14))
def test_an_instant_of_any_offset_is_read_as_the_same_instant(message: feed.AnyMessage, hours: int) -> None:
    wire = msgspec.json.decode(encode_message(message))
    wire["occurred_at"] = message.occurred_at.astimezone(timezone(timedelta(hours=hours))).isoformat()
    assert decode_messages(msgspec.json.encode(wire)) == [message]


@given(outcome=outcomes)
def test_an_outcomes_factors_survive_exactly(outcome: Outcome) -> None:
    assert outcome_from_wire(outcome_to_wire(outcome)) == outcome


@given(market=markets)
def test_a_market_as_polled_holds_what_the_authority_holds(market: Market) -> None:
    wire = msgspec.json.decode(msgspec.json.encode(market_to_wire(market)), type=MarketV1)
    assert selections_from_wire(wire.selections) == market.selections
    assert (wire.market_id, wire.status, wire.odds_version) == (
        market.market_id,
        market.status,
        market.odds_version,
    )
    assert wire.updated_at == market.updated_at


@given(
    milli=prices,
    version=st.integers(1, ODDS_VERSION_MAX),
    minor=st.integers(1, AMOUNT_MINOR_MAX),
    currency=st.sampled_from(sorted(CURRENCY_EXPONENTS)),
    as_number=st.booleans(),
    accept=st.sampled_from(Accept),
    zeros=st.integers(0, 5),
)
def test_a_bet_is_read_as_it_was_meant_whether_by_strings_or_numbers(
    milli: int, version: int, minor: int, currency: str, as_number: bool, accept: Accept, zeros: int
) -> None:
    quote = "" if as_number else '"'
    odds, stake = format_odds(milli) + "0" * zeros, format_minor(minor, currency)
    body = (
        f'{{"market_id":"match-1:1x2","selection_id":"home","odds":{quote}{odds}{quote},"odds_version":{version},'
        f'"stake":{quote}{stake}{quote},"idempotency_key":"k1","accept":"{accept.value}"}}'
    )
    wire = msgspec.json.decode(body, type=PlaceBetV1)
    expected = place_bet(odds_milli=milli, odds_version=version, stake_minor=minor, accept=accept)
    assert place_bet_from_wire(wire, ALICE, expected.bet_id, currency) == expected


@given(body=st.binary(max_size=200))
@example(body=b'{"kind":"alive","message_id":"\xff","occurred_at":"2026-03-01T12:00:00Z"}')
def test_no_bytes_are_more_than_malformed(body: bytes) -> None:
    try:
        decode_messages(body)
    except Rejection as refused:
        assert refused.code is Code.MALFORMED  # noqa: PT017  # most bytes are no messages, some are


@given(message=messages, data=st.data())
def test_no_message_with_a_field_changed_is_more_than_refused(
    message: feed.AnyMessage, data: st.DataObject
) -> None:
    wire: dict[str, Any] = msgspec.json.decode(encode_message(message))
    field = data.draw(st.sampled_from(sorted(wire)))
    wire[field] = data.draw(json_values)
    try:
        read = decode_messages(msgspec.json.encode(wire))
    except Rejection as refused:
        assert refused.code in (Code.MALFORMED, Code.SELECTION_NOT_FOUND)  # noqa: PT017  # either outcome is right
        assert refused.extra["message"] == 1  # noqa: PT017  # as above
        return
    assert [decode_messages(encode_message(message)) for message in read] == [[message] for message in read]


def test_the_tagged_kinds_are_those_of_the_core() -> None:
    kinds = {struct.__struct_config__.tag for struct in MessageV1.__args__}
    assert kinds == {
        "odds_change",
        "bet_stop",
        "bet_settlement",
        "bet_cancel",
        "rollback_bet_settlement",
        "rollback_bet_cancel",
        "fixture_change",
        "alive",
    }
