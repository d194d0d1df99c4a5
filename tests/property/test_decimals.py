"""Decimals: what is written is read back the same, and what is read is the exact number or refused."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from touchline.core.errors import Code, Rejection
from touchline.core.money import AMOUNT_MINOR_MAX, CURRENCY_EXPONENTS, format_minor, parse_minor
from touchline.core.price import ODDS_MILLI_MAX, ODDS_MILLI_MIN, format_odds, parse_odds_milli

currencies = st.sampled_from(sorted(CURRENCY_EXPONENTS))
# Near what is a decimal, since text at random hardly ever is one.
nearly = (
    st.text(st.sampled_from("0123456789..-+eE ,\n٣"), max_size=24) | st.decimals().map(str) | st.floats().map(str)
)


@given(minor=st.integers(1, AMOUNT_MINOR_MAX), currency=currencies)
def test_an_amount_survives_writing_and_reading(minor: int, currency: str) -> None:
    text = format_minor(minor, currency)
    assert Decimal(text).scaleb(CURRENCY_EXPONENTS[currency]) == minor
    assert parse_minor("amount", text, currency) == minor
    assert format_minor(-minor, currency) == f"-{text}"


@given(milli=st.integers(ODDS_MILLI_MIN, ODDS_MILLI_MAX))
def test_odds_survive_writing_and_reading(milli: int) -> None:
    text = format_odds(milli)
    assert Decimal(text).scaleb(3) == milli
    assert parse_odds_milli("odds", text) == milli


@given(text=nearly, currency=currencies)
def test_an_amount_is_read_as_exactly_the_number_it_says_or_refused(text: str, currency: str) -> None:
    try:
        minor = parse_minor("amount", text, currency)
    except Rejection as refused:
        assert refused.code is Code.MALFORMED  # noqa: PT017  # either outcome is right
        return
    assert Decimal(text).scaleb(CURRENCY_EXPONENTS[currency]) == minor


@given(text=nearly)
def test_odds_are_read_as_exactly_the_number_they_say_or_refused(text: str) -> None:
    try:
        milli = parse_odds_milli("odds", text)
    except Rejection as refused:
        assert refused.code is Code.MALFORMED  # noqa: PT017  # either outcome is right
        return
    assert Decimal(text).scaleb(3) == milli
    assert ODDS_MILLI_MIN <= milli <= ODDS_MILLI_MAX
