"""Bets on the wire: decimals are read exactly as they were written, and what is malformed names its field."""

from typing import Any

import msgspec
import pytest

from tests.clock import NOON
from tests.samples import ALICE, bet, place_bet
from touchline.core.bet import Accept, BetResult, BetStatus, PlaceBet
from touchline.core.errors import Code, Rejection
from touchline.core.ids import ID_LENGTH_MAX, KEY_LENGTH_MAX
from touchline.wire.bets_v1 import PlaceBetV1, bet_to_wire, place_bet_from_wire

FIELDS = {
    "market_id": '"match-1:1x2"',
    "selection_id": '"home"',
    "odds": '"2.50"',
    "odds_version": "7",
    "stake": '"10.00"',
    "idempotency_key": '"k1"',
}


def body(**raw: str | None) -> bytes:
    """A request body whose fields are the raw JSON given; None leaves a field out."""
    fields = FIELDS | raw
    return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items() if text is not None) + "}").encode()


def read(content: bytes, currency: str = "EUR") -> PlaceBet:
    wire = msgspec.json.decode(content, type=PlaceBetV1)
    return place_bet_from_wire(wire, ALICE, place_bet().bet_id, currency)


def test_a_request_is_read_in_the_cores_terms() -> None:
    assert read(body()) == place_bet()
    whole = read(body(accept='"better"', valid_until='"2026-03-01T12:00:00Z"'))
    assert whole == place_bet(accept=Accept.BETTER, valid_until=NOON)
    assert read(body(idempotency_key=None)).idempotency_key is None
    assert read(body(idempotency_key="null")).idempotency_key is None


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ("odds", "2.5", 2_500),
        ("odds", "2.500", 2_500),
        ("odds", '"2.5"', 2_500),
        ("odds", "2", 2_000),
        ("odds", "1.001", 1_001),
        ("stake", "10", 1_000),
        ("stake", "0.1", 10),
        ("stake", "0.07", 7),  # as a float 0.07 × 100 is 7.000000000000001
        ("stake", "1.15", 115),  # as a float 1.15 × 100 is 114.99999999999999
        ("stake", '"1234567890.12"', 123_456_789_012),
        ("stake", "10000000000.00", 10**12),
    ],
)
def test_numbers_and_strings_are_read_exactly(field: str, raw: str, value: int) -> None:
    request = read(body(**{field: raw}))
    assert (request.odds_milli if field == "odds" else request.stake_minor) == value


NOT_A_DECIMAL = [
    "-1", "-0.01", "0", "0.0", "1e3", "1E-2", '"NaN"', '"Infinity"', '"-1"', '""', '" 1"', '"1e3"', '"0x10"',
    "null", "true", "{}", "[]", "[10]", '{"amount":10}', '"\\u0661"', "1." + "1" * 40, '"1.' + "1" * 40 + '"',
    "9" * 400, '"' + "9" * 400 + '"', '"1\\u00002"', "0.1234567890123456789012345678901234567890",
]  # fmt: skip


@pytest.mark.parametrize("raw", NOT_A_DECIMAL, ids=lambda raw: raw[:20])
@pytest.mark.parametrize("field", ["odds", "stake"])
def test_what_is_no_decimal_is_refused_naming_its_field(field: str, raw: str) -> None:
    with pytest.raises(Rejection) as refused:
        read(body(**{field: raw}))
    assert refused.value.code is Code.MALFORMED
    assert refused.value.extra["field"] == field
    assert field in refused.value.detail


@pytest.mark.parametrize("field", ["odds", "stake"])
def test_a_decimal_that_is_no_text_at_all_is_refused_naming_its_field(field: str) -> None:
    with pytest.raises(Rejection) as refused:
        read(body(**{field: '"?"'}).replace(b"?", b"\xff"))
    assert (refused.value.code, refused.value.extra["field"]) == (Code.MALFORMED, field)


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("market_id", '""'),
        ("market_id", '"a b"'),
        ("market_id", '"' + "x" * (ID_LENGTH_MAX + 1) + '"'),
        ("selection_id", '"\\u0000"'),
        ("selection_id", '"-home"'),
        ("odds_version", "0"),
        ("odds_version", "-1"),
        ("odds_version", str(2**31)),
        ("idempotency_key", '""'),
        ("idempotency_key", '"a\\nb"'),
        ("idempotency_key", '"' + "k" * (KEY_LENGTH_MAX + 1) + '"'),
        ("valid_until", '"2026-03-01T12:00:00"'),
        ("stake", '"0.001"'),
        ("odds", '"1.0005"'),
    ],
)
def test_a_field_out_of_its_range_is_refused_by_name(field: str, raw: str) -> None:
    with pytest.raises(Rejection) as refused:
        read(body(**{field: raw}))
    assert (refused.value.code, refused.value.extra["field"]) == (Code.MALFORMED, field)


@pytest.mark.parametrize(
    "content",
    [
        body(market_id=None),
        body(odds=None),
        body(stake=None),
        body(odds_version='"7"'),
        body(odds_version="7.5"),
        body(odds_version="1e400"),
        body(market_id="7"),
        body(accept='"worse"'),
        body(valid_until='"tomorrow"'),
        body(stake="NaN"),
        body(stake="+1"),
        body(stake="01"),
        body(stake=".5"),
        body(stake="Infinity"),
        body(payout='"1000000"'),  # a field that is not known
        body(idempotency_key="7"),
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"{" * 10_000,
        body()[:-1],
    ],
    ids=lambda content: content[-40:].decode("latin-1"),
)
def test_what_is_no_request_at_all_is_refused_by_the_decoder(content: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        read(content)


@pytest.mark.parametrize(
    ("currency", "stake", "minor"), [("JPY", "10", 10), ("KWD", "0.001", 1), ("GBP", "10", 1_000)]
)
def test_a_stake_is_of_the_players_currency(currency: str, stake: str, minor: int) -> None:
    assert read(body(stake=stake), currency).stake_minor == minor


def test_a_bet_goes_out_with_decimals_as_strings() -> None:
    settled = bet(
        status=BetStatus.SETTLED, result=BetResult.WON, payout_minor=2_500, settled_at=NOON, settlement_id=3
    )
    assert msgspec.json.decode(msgspec.json.encode(bet_to_wire(settled))) == {
        "bet_id": "00000000-0000-0000-0000-000000000001",
        "market_id": "match-1:1x2",
        "event_id": "match-1",
        "selection_id": "home",
        "odds": "2.50",
        "odds_version": 7,
        "stake": "10.00",
        "currency": "EUR",
        "potential_payout": "25.00",
        "status": "SETTLED",
        "result": "won",
        "payout": "25.00",
        "placed_at": "2026-03-01T12:00:00Z",
        "settled_at": "2026-03-01T12:00:00Z",
        "idempotency_key": "k1",
    }


def test_an_open_bet_has_neither_result_nor_payout() -> None:
    wire: dict[str, Any] = msgspec.to_builtins(bet_to_wire(bet()))
    assert (wire["result"], wire["payout"], wire["settled_at"]) == (None, None, None)
