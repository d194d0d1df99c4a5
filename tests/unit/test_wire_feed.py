"""Feed messages on the wire: what is read, what is passed over, and what refuses the whole request by name."""

from typing import Any

import msgspec
import pytest

from tests.clock import NOON
from tests.samples import outcome
from touchline.core import feed
from touchline.core.bet import BetResult
from touchline.core.errors import Code, Rejection
from touchline.core.event import EventStatus
from touchline.core.ids import EventId, MarketId, MessageId, SelectionId
from touchline.core.market import MarketStatus, SelectionStatus
from touchline.wire.feed_v1 import MESSAGES_MAX, SELECTIONS_MAX, TEXT_LENGTH_MAX, decode_messages, encode_message

STAMP = {"message_id": "m1", "occurred_at": "2026-03-01T12:00:00Z"}
OF_MARKET: dict[str, Any] = {**STAMP, "event_id": "e1", "market_id": "k1"}
CORE = {"message_id": MessageId("m1"), "occurred_at": NOON}
CORE_OF_MARKET: dict[str, Any] = {**CORE, "event_id": EventId("e1"), "market_id": MarketId("k1")}


def decoded(*messages: object) -> list[feed.AnyMessage]:
    return decode_messages(msgspec.json.encode(messages))


def refused(body: bytes) -> Rejection:
    with pytest.raises(Rejection) as rejection:
        decode_messages(body)
    assert rejection.value.code is Code.MALFORMED
    return rejection.value


def odds_change(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "odds_change",
        **OF_MARKET,
        "selections": [{"selection_id": "home", "odds": "2.50"}],
        **changed,
    }


def settled(results: object) -> dict[str, Any]:
    return {"kind": "bet_settlement", **OF_MARKET, "results": results}


@pytest.mark.parametrize(
    ("wire", "core"),
    [
        (
            odds_change(name="Result", market_type="1X2", status="suspended", bet_delay_ms=5000),
            feed.OddsChange(
                **CORE_OF_MARKET,
                selections=(feed.PricedSelection(selection_id=SelectionId("home"), odds_milli=2_500),),
                name="Result",
                market_type="1X2",
                status=MarketStatus.SUSPENDED,
                bet_delay_ms=5_000,
            ),
        ),
        (
            odds_change(selections=[{"selection_id": "home", "name": "Home", "odds": None, "status": "removed"}]),
            feed.OddsChange(
                **CORE_OF_MARKET,
                selections=(
                    feed.PricedSelection(
                        selection_id=SelectionId("home"), name="Home", status=SelectionStatus.REMOVED
                    ),
                ),
            ),
        ),
        (odds_change(selections=[]), feed.OddsChange(**CORE_OF_MARKET, selections=())),
        ({"kind": "bet_stop", **STAMP, "event_id": "e1"}, feed.BetStop(**CORE, event_id=EventId("e1"))),
        ({"kind": "bet_stop", **OF_MARKET}, feed.BetStop(**CORE_OF_MARKET)),
        (
            settled({"home": "won", "away": {"result": "lost", "void_factor": "0.5", "dead_heat_factor": "1/3"}}),
            feed.BetSettlement(
                **CORE_OF_MARKET,
                results={
                    SelectionId("home"): outcome("won"),
                    SelectionId("away"): outcome("lost", "1/2", "1/3"),
                },
            ),
        ),
        (
            settled([{"selection_id": "home", "result": "won", "dead_heat_factor": 0.5}]),
            feed.BetSettlement(**CORE_OF_MARKET, results={SelectionId("home"): outcome("won", "0", "1/2")}),
        ),
        (
            {"kind": "bet_cancel", **OF_MARKET, "placed_from": "2026-03-01T13:00:00+01:00"},
            feed.BetCancel(**CORE_OF_MARKET, placed_from=NOON),
        ),
        ({"kind": "rollback_bet_settlement", **OF_MARKET}, feed.RollbackBetSettlement(**CORE_OF_MARKET)),
        ({"kind": "rollback_bet_cancel", **OF_MARKET}, feed.RollbackBetCancel(**CORE_OF_MARKET)),
        (
            {"kind": "fixture_change", **STAMP, "event_id": "e1", "status": "live", "score": "1-0"},
            feed.FixtureChange(**CORE, event_id=EventId("e1"), status=EventStatus.LIVE, score="1-0"),
        ),
        ({"kind": "alive", **STAMP}, feed.Alive(**CORE)),
        ({"kind": "alive", **STAMP, "of_the_source": {"own": 1}}, feed.Alive(**CORE)),
    ],
)
def test_a_message_is_read_and_written_in_the_cores_terms(wire: dict[str, Any], core: feed.AnyMessage) -> None:
    assert decoded(wire) == [core]
    assert decode_messages(encode_message(core)) == [core]


def test_an_array_one_object_and_lines_are_read_alike() -> None:
    one = msgspec.json.encode({"kind": "alive", **STAMP})
    expected = feed.Alive(**CORE)
    assert decode_messages(one) == [expected]
    assert decode_messages(b"[" + one + b"," + one + b"]") == [expected] * 2
    assert decode_messages(one + b"\n\r\n " + one + b"\n") == [expected] * 2
    assert decode_messages(b"[]") == decode_messages(b"") == []


@pytest.mark.parametrize("odds", ["0", "-2.5", "1", "NaN", "1e3", "2." + "0" * 40, "10000.001", "2.5001", ""])
def test_a_price_that_is_none_is_refused(odds: str) -> None:
    message = odds_change(selections=[{"selection_id": "home", "odds": odds}])
    assert "odds" in refused(msgspec.json.encode([message])).detail


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (odds_change(status="settled"), "odds_change can't settle"),
        (odds_change(status="void"), "odds_change can't settle"),
        (odds_change(status="open"), "status"),
        (odds_change(bet_delay_ms=-1), "bet_delay_ms"),
        (odds_change(bet_delay_ms=60_001), "bet_delay_ms"),
        (odds_change(name=""), "name"),
        (odds_change(name="a\x00b"), "name"),
        (odds_change(occurred_at="9999-12-31T23:59:59-23:59"), "occurred_at"),
        (odds_change(selections=[{"selection_id": "a", "name": "\x00"}]), "name"),
        (odds_change(name="n" * (TEXT_LENGTH_MAX + 1)), "name"),
        (odds_change(market_type="t" * (TEXT_LENGTH_MAX + 1)), "market_type"),
        (odds_change(market_id="a b"), "market_id"),
        (odds_change(event_id=""), "event_id"),
        (odds_change(message_id="m" * 129), "message_id"),
        (odds_change(occurred_at="2026-03-01T12:00:00"), "occurred_at"),
        (odds_change(occurred_at="yesterday"), "occurred_at"),
        (odds_change(selections=[{"selection_id": "", "odds": "2"}]), "selection_id"),
        (odds_change(selections=[{"selection_id": "a", "odds": True}]), "odds"),
        (odds_change(selections=[{"selection_id": "a", "name": ""}]), "name"),
        (odds_change(selections=[{"selection_id": "a"}] * (SELECTIONS_MAX + 1)), "selections"),
        (odds_change(selections=None), "selections"),
        (settled({}), "results"),
        (settled([]), "results"),
        (settled([{"selection_id": "a", "result": "won"}] * 2), "each once"),
        (settled({"a": "drawn"}), "drawn"),
        (settled({"a b": "won"}), "selection_id"),
        (settled({"a": {"result": "won", "void_factor": "-0.5"}}), "void_factor"),
        (settled({"a": {"result": "won", "void_factor": "1.5"}}), "void_factor"),
        (settled({"a": {"result": "won", "void_factor": "1/0"}}), "void_factor"),
        (settled({"a": {"result": "won", "void_factor": "NaN"}}), "void_factor"),
        (settled({"a": {"result": "won", "void_factor": "0." + "1" * 40}}), "void_factor"),
        (settled({"a": {"result": "won", "void_factor": None}}), "void_factor"),
        (settled({"a": {"result": "won", "dead_heat_factor": "0"}}), "dead_heat_factor"),
        (settled({"a": {"result": "won", "dead_heat_factor": "2"}}), "dead_heat_factor"),
        (settled({"a": {"result": "won", "dead_heat_factor": "1e-1"}}), "dead_heat_factor"),
        ({"kind": "fixture_change", **STAMP, "event_id": "e1", "score": "s" * 201}, "score"),
        ({"kind": "bet_cancel", **OF_MARKET, "placed_until": "2026-03-01T12:00:00"}, "placed_until"),
        ({"kind": "bet_settlement", **OF_MARKET}, "results"),
        ({"kind": "bet_stopp", **OF_MARKET}, "bet_stopp"),
        ({**STAMP}, "kind"),
        ("alive", "object"),
        (7, "object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_malformed_message_refuses_the_request_by_its_place_and_its_field(message: object, told: str) -> None:
    good = {"kind": "alive", **STAMP}
    refusal = refused(msgspec.json.encode([good, message, good]))
    assert refusal.detail.startswith("message 2: ")
    assert told in refusal.detail
    assert refusal.extra["message"] == 2


@pytest.mark.parametrize("body", [b"[1", b"{", b"\xff", b"[" * 10_000, b'[{"kind":', b"nonsense", b"NaN"])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"m1"', b'"\xff"'),
        (b'"m1"', b'"\\ud800"'),
        (b'"2.50"', b'"\xff"'),
        (b'"2.50"', b"[" * 100_000),
        (b'"e1"', b'"e1","of_the_source":' + b"[" * 100_000),
    ],
    ids=["no UTF-8", "half a surrogate", "no UTF-8 in a price", "deep in a price", "deep in what is passed over"],
)
def test_a_message_that_cannot_be_read_at_all_is_refused_by_its_place(old: bytes, new: bytes) -> None:
    assert refused(msgspec.json.encode(odds_change()).replace(old, new)).extra["message"] == 1


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (odds_change(status="open"), "status"),
        (odds_change(selections=[{"selection_id": "a", "status": "open"}]), "selections[0].status"),
        ({"kind": "bet_settlement", **OF_MARKET}, "results"),
        (odds_change(market_id="a b"), "market_id"),
    ],
)
def test_a_message_refused_for_a_field_names_it(message: object, field: str) -> None:
    assert refused(msgspec.json.encode([message])).extra == {"field": field, "message": 1}


def test_more_messages_than_a_request_may_hold_are_refused() -> None:
    line = msgspec.json.encode({"kind": "alive", **STAMP}) + b"\n"
    assert len(decode_messages(line * MESSAGES_MAX)) == MESSAGES_MAX
    assert str(MESSAGES_MAX) in refused(line * (MESSAGES_MAX + 1)).detail


@pytest.mark.parametrize("factor", ["0.123456789012345678", "0.3333333333333333", "1/9999999999999999999"])
def test_the_finest_factor_that_is_read_can_be_written_and_read_again(factor: str) -> None:
    (message,) = decoded(settled({"a": {"result": "won", "void_factor": factor, "dead_heat_factor": factor}}))
    assert isinstance(message, feed.BetSettlement)
    assert message.results[SelectionId("a")] == outcome("won", factor, factor)
    assert decode_messages(encode_message(message)) == [message]


def test_a_result_alone_is_an_outcome_with_plain_factors() -> None:
    (message,) = decoded(settled({"a": "void"}))
    assert isinstance(message, feed.BetSettlement)
    assert message.results[SelectionId("a")] == outcome("void")
    assert message.results[SelectionId("a")].result is BetResult.VOID
