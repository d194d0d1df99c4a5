"""Money in integer minor units, read and written as exact decimal strings.

No float ever holds an amount: text becomes an integer exactly or is refused.
"""

import re
from fractions import Fraction
from typing import Final

from touchline.core.errors import Code, Rejection

# ISO 4217 minor-unit exponents of the currencies the platform keeps books in.
CURRENCY_EXPONENTS: Final = {"EUR": 2, "GBP": 2, "USD": 2, "JPY": 0, "KWD": 3}
# 10 billion in a two-digit currency: above any stake, below what a 64-bit sum of a lifetime of bets can hold.
AMOUNT_MINOR_MAX: Final = 10**12

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,15}))?")


def scaled_int(field: str, text: str, digits: int) -> int:
    """Return the non-negative decimal `text` as an integer of 10**-`digits` units, exactly.

    Raises:
        Rejection: MALFORMED: not a plain decimal (no sign, exponent or spaces), or finer than `digits`.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise Rejection(Code.MALFORMED, f"{field} must be a plain positive decimal number", field=field)
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > digits:
        raise Rejection(Code.MALFORMED, f"{field} has more than {digits} decimal places", field=field)
    return int(match[1] + fraction.ljust(digits, "0"))


def parse_minor(field: str, text: str, currency: str) -> int:
    """Return the amount `text` in minor units of `currency`; always above zero.

    Raises:
        Rejection: MALFORMED: not a decimal, finer than the currency's minor unit, zero or beyond the maximum.
    """
    minor = scaled_int(field, text, CURRENCY_EXPONENTS[currency])
    if not 0 < minor <= AMOUNT_MINOR_MAX:
        top = format_minor(AMOUNT_MINOR_MAX, currency)
        raise Rejection(Code.MALFORMED, f"{field} must be above 0 and at most {top}", field=field)
    return minor


def format_minor(minor: int, currency: str) -> str:
    """Return `minor` as a decimal string with exactly the currency's decimal places ("-0.05", "12.30")."""
    exponent = CURRENCY_EXPONENTS[currency]
    if exponent == 0:
        return str(minor)
    sign = "-" if minor < 0 else ""
    whole, part = divmod(abs(minor), 10**exponent)
    return f"{sign}{whole}.{part:0{exponent}d}"


def round_half_up(amount: Fraction) -> int:
    """Return the non-negative `amount` rounded to an integer, halves up (the payout vectors' convention)."""
    return (2 * amount.numerator + amount.denominator) // (2 * amount.denominator)


def payout_minor(stake_minor: int, odds_milli: int) -> int:
    """Return what a winner is paid, its own stake included, in minor units, rounded once, half up."""
    return (stake_minor * odds_milli + 500) // 1000
