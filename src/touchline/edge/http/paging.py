"""Pages of a list, newest first: how many, and from where on."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from touchline.core.errors import Code, Rejection

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200
QUERY: Final = {"limit": f"how many, 1 to {LIMIT_MAX}", "cursor": "from where on: the `cursor` of the page before"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR: Final = re.compile(r"([0-9]{1,17})\.([0-9a-f]{32})")

Place = tuple[datetime, UUID]


def read_page(query: Mapping[str, str]) -> tuple[int, Place | None]:
    """Return how many are asked for, and the last one that the caller has seen.

    Raises:
        Rejection: MALFORMED, naming the parameter.
    """
    text = query.get("limit", str(LIMIT_DEFAULT))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= LIMIT_MAX):
        raise Rejection(Code.MALFORMED, f"limit must be 1 to {LIMIT_MAX}", field="limit")
    cursor = query.get("cursor")
    if cursor is None:
        return int(text), None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Rejection(Code.MALFORMED, "cursor is none of ours: leave it out to begin anew", field="cursor")
    return int(text), (_EPOCH + timedelta(microseconds=int(match[1])), UUID(match[2]))


def cursor_after(at: datetime, last_id: UUID) -> str:
    """Return the cursor that goes on after the one recorded at `at` with `last_id`."""
    return f"{(at - _EPOCH) // timedelta(microseconds=1)}.{last_id.hex}"
