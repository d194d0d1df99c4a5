"""Decimal odds in integer thousandths."""

from typing import Final

from touchline.core.errors import Code, Rejection
from touchline.core.money import scaled_int

ODDS_MILLI_MIN: Final = 1_001
ODDS_MILLI_MAX: Final = 10_000_000


def parse_odds_milli(field: str, text: str) -> int:
    """Return decimal odds `text` in thousandths, exactly.

    Raises:
        Rejection: MALFORMED: not a decimal, finer than a thousandth, or outside 1.001 to 10000.
    """
    milli = scaled_int(field, text, 3)
    if not ODDS_MILLI_MIN <= milli <= ODDS_MILLI_MAX:
        raise Rejection(Code.MALFORMED, f"{field} must be decimal odds from 1.001 to 10000", field=field)
    return milli


def format_odds(milli: int) -> str:
    """Return odds as a decimal string with two places, or three where the third is not zero."""
    whole, part = divmod(milli, 1000)
    if part % 10 == 0:
        return f"{whole}.{part // 10:02d}"
    return f"{whole}.{part:03d}"
