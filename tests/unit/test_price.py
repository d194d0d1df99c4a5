"""Odds: decimal text becomes thousandths exactly or is refused."""

import pytest

from tests.unit.test_money import NO_DECIMALS
from touchline.core.errors import Code, Rejection
from touchline.core.price import ODDS_MILLI_MAX, ODDS_MILLI_MIN, format_odds, parse_odds_milli


@pytest.mark.parametrize(
    ("text", "milli"),
    [
        ("1.001", 1_001),
        ("1.01", 1_010),
        ("2", 2_000),
        ("2.50", 2_500),
        ("2.5000000", 2_500),
        ("1.909", 1_909),
        ("10000", 10_000_000),
        ("10000.000", 10_000_000),
    ],
)
def test_odds_are_read_exactly(text: str, milli: int) -> None:
    assert parse_odds_milli("odds", text) == milli


@pytest.mark.parametrize("text", [*NO_DECIMALS, "0", "1", "1.000", "1.0005", "1.9099", "10000.001", "99999"])
def test_odds_that_are_none_or_out_of_range_or_too_fine_are_refused(text: str) -> None:
    with pytest.raises(Rejection) as refused:
        parse_odds_milli("odds", text)
    assert refused.value.code is Code.MALFORMED
    assert refused.value.extra["field"] == "odds"


@pytest.mark.parametrize(
    ("milli", "text"),
    [
        (1_001, "1.001"),
        (1_010, "1.01"),
        (1_100, "1.10"),
        (2_000, "2.00"),
        (2_505, "2.505"),
        (10_000_000, "10000.00"),
    ],
)
def test_odds_are_written_with_two_places_or_three_where_needed(milli: int, text: str) -> None:
    assert format_odds(milli) == text


def test_the_bounds_survive_writing_and_reading() -> None:
    for milli in (ODDS_MILLI_MIN, ODDS_MILLI_MAX):
        assert parse_odds_milli("odds", format_odds(milli)) == milli
