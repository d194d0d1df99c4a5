"""Instants on the wire: RFC 3339, with an offset from UTC that is always said."""

from datetime import UTC, datetime
from typing import Final

from touchline.core.errors import Code, Rejection

# Wide enough for any event, and a day inside what can be computed with in any time zone.
YEAR_MIN: Final = 1900
YEAR_MAX: Final = 2999


def utc(field: str, instant: datetime) -> datetime:
    """Return `instant` in UTC.

    Raises:
        Rejection: MALFORMED: it names no offset, or no year from `YEAR_MIN` to `YEAR_MAX`.
    """
    if instant.tzinfo is None:
        raise Rejection(Code.MALFORMED, f"{field} must name its offset from UTC", field=field)
    if not YEAR_MIN <= instant.year <= YEAR_MAX:
        raise Rejection(Code.MALFORMED, f"{field} must be in the years {YEAR_MIN} to {YEAR_MAX}", field=field)
    return instant.astimezone(UTC)
