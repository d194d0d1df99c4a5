"""Values as recorded feeds write them, made fit for the platform.

Invariant: nothing here raises for what a feed wrote; what can't be used becomes None.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from touchline.core.price import ODDS_MILLI_MAX, ODDS_MILLI_MIN

NAME_LENGTH_MAX: Final = 200
NUMBER_LENGTH_MAX: Final = 40
TIME_MS_MAX: Final = 32_503_680_000_000  # the year 3000
_ODDS_MIN: Final = Decimal(ODDS_MILLI_MIN) / 1000
_ODDS_MAX: Final = Decimal(ODDS_MILLI_MAX) / 1000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def odds_milli(price: Decimal | None) -> int | None:
    """Return a price in thousandths, rounded down; None where it is outside 1.001 to 10000 or no number."""
    if price is None or not price.is_finite() or not _ODDS_MIN <= price <= _ODDS_MAX:
        return None
    return int(price * 1000)


def is_positive(size: Decimal) -> bool:
    """Tell whether `size` is an amount on offer; NaN and Infinity are none."""
    return size.is_finite() and size > 0


def decimal_of(text: str | None) -> Decimal | None:
    """Return the finite number in `text`, or None."""
    if text is None or len(text) > NUMBER_LENGTH_MAX:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def time_of_ms(milliseconds: int) -> datetime:
    """Return the instant that many milliseconds after the Unix epoch; exact, and at most `TIME_MS_MAX`."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def time_of(text: str | None) -> datetime | None:
    """Return the instant in an ISO 8601 text, in UTC where it names no offset, or None."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def name_of(text: str | None) -> str | None:
    """Return a name that can be shown and stored, or None where nothing is left of it."""
    if text is None:
        return None
    return "".join(each for each in text if each.isprintable()).strip()[:NAME_LENGTH_MAX] or None
