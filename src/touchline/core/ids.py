"""One type for each kind of id, and the shape an id from outside must have."""

import re
from typing import NewType
from uuid import UUID

from touchline.core.errors import Code, Rejection

EventId = NewType("EventId", str)
MarketId = NewType("MarketId", str)
SelectionId = NewType("SelectionId", str)
PlayerId = NewType("PlayerId", str)
MessageId = NewType("MessageId", str)
BetId = NewType("BetId", UUID)
TransferId = NewType("TransferId", UUID)

ID_LENGTH_MAX = 128
KEY_LENGTH_MAX = 128
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:|=/@+-]*")


def check_id(field: str, text: str) -> str:
    """Return `text` if it can name something: printable ASCII without spaces, 1 to `ID_LENGTH_MAX` long.

    Raises:
        Rejection: MALFORMED, naming `field`.
    """
    if len(text) > ID_LENGTH_MAX or not _ID.fullmatch(text):
        raise Rejection(
            Code.MALFORMED,
            f"{field} must be 1 to {ID_LENGTH_MAX} letters, digits or ._:|=/@+-, starting with a letter or digit",
            field=field,
        )
    return text


def check_key(field: str, text: str) -> str:
    """Return `text` if it can be a client's idempotency key: 1 to `KEY_LENGTH_MAX` printable ASCII characters.

    Raises:
        Rejection: MALFORMED, naming `field`.
    """
    if not 1 <= len(text) <= KEY_LENGTH_MAX or not (text.isascii() and text.isprintable()):
        raise Rejection(
            Code.MALFORMED, f"{field} must be 1 to {KEY_LENGTH_MAX} printable ASCII characters", field=field
        )
    return text
