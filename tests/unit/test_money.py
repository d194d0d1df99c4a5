"""Money: text becomes minor units exactly or is refused, and a sum is rounded once, half up."""

from fractions import Fraction

import pytest

from touchline.core.errors import Code, Rejection
from touchline.core.money import (
    AMOUNT_MINOR_MAX,
    CURRENCY_EXPONENTS,
    format_minor,
    parse_minor,
    payout_minor,
    round_half_up,
    scaled_int,
)

NO_DECIMALS = [
    "", " ", "-1", "+1", "1e3", "1E3", " 1", "1 ", "1\n", "1.", ".5", "01", "00", "0x1", "1,5", "1_000", "1.2.3",
    "NaN", "nan", "Infinity", "-inf", "null", "true", "٣", "½", "1\u00a0", "--1", "1" * 17,
    "0." + "1" * 40, "1." + "0" * 40, "9" * 400,
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("10", "EUR", 1_000),
        ("10.5", "EUR", 1_050),
        ("0.01", "EUR", 1),
        ("10.50000", "EUR", 1_050),
        ("9007199254740.93", "EUR", None),  # beyond the maximum, and beyond what a float holds
        ("1234567890.12", "EUR", 123_456_789_012),
        ("10000000000", "EUR", AMOUNT_MINOR_MAX),
        ("10000000000.01", "EUR", None),
        ("0.001", "EUR", None),
        ("0", "EUR", None),
        ("0.00", "EUR", None),
        ("10", "JPY", 10),
        ("10.0", "JPY", 10),
        ("10.5", "JPY", None),
        ("0.001", "KWD", 1),
        ("0.0001", "KWD", None),
    ],
)
def test_an_amount_is_read_exactly_or_refused(text: str, currency: str, minor: int | None) -> None:
    if minor is not None:
        assert parse_minor("stake", text, currency) == minor
        return
    with pytest.raises(Rejection) as refused:
        parse_minor("stake", text, currency)
    assert refused.value.code is Code.MALFORMED


@pytest.mark.parametrize("text", NO_DECIMALS, ids=lambda text: repr(text[:12]))
def test_what_is_no_plain_decimal_is_refused_naming_its_field(text: str) -> None:
    with pytest.raises(Rejection) as refused:
        scaled_int("stake", text, 2)
    assert refused.value.code is Code.MALFORMED
    assert refused.value.extra["field"] == "stake"
    assert "stake" in refused.value.detail


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "EUR", "0.00"),
        (1, "EUR", "0.01"),
        (-1, "EUR", "-0.01"),
        (-150, "EUR", "-1.50"),
        (123_456, "EUR", "1234.56"),
        (5, "JPY", "5"),
        (-5, "JPY", "-5"),
        (1_234, "KWD", "1.234"),
        (10**15, "EUR", "10000000000000.00"),
    ],
)
def test_an_amount_is_written_with_just_its_currencys_places(minor: int, currency: str, text: str) -> None:
    assert format_minor(minor, currency) == text


@pytest.mark.parametrize("currency", CURRENCY_EXPONENTS)
def test_the_smallest_and_the_largest_amount_survive_writing_and_reading(currency: str) -> None:
    for minor in (1, 9, 10, 999, 1_000, AMOUNT_MINOR_MAX):
        assert parse_minor("amount", format_minor(minor, currency), currency) == minor


@pytest.mark.parametrize(
    ("amount", "rounded"),
    [("0", 0), ("1/3", 0), ("1/2", 1), ("2/3", 1), ("3/2", 2), ("5/2", 3), ("499/1000", 0), ("7", 7)],
)
def test_halves_round_up(amount: str, rounded: int) -> None:
    assert round_half_up(Fraction(amount)) == rounded


@pytest.mark.parametrize(
    ("stake_minor", "odds_milli", "payout"),
    [
        (1_000, 2_500, 2_500),
        (1, 1_001, 1),
        (1, 1_499, 1),
        (1, 1_500, 2),
        (33_333, 1_909, 63_633),  # 63632.697
        (100, 1_005, 101),  # 100.5: half up, where rounding halves to even would give 100
        (AMOUNT_MINOR_MAX, 10_000_000, AMOUNT_MINOR_MAX * 10_000),
    ],
)
def test_a_payout_is_rounded_once_half_up(stake_minor: int, odds_milli: int, payout: int) -> None:
    assert payout_minor(stake_minor, odds_milli) == payout
