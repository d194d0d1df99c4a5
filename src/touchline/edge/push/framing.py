"""Messages as they lie on a connection: bytes made once, written to all who get the same."""

from collections.abc import Callable
from typing import Final

from touchline.wire.stream_v1 import ServerMessage, encode, format_cursor

Framing = Callable[[ServerMessage, str, int], bytes]  # a message, the epoch and the cursor that it is told with

_TEXT: Final = 0x81  # RFC 6455, section 5.2: the last frame of a text message, unmasked as a server's are
_LENGTH_16, _LENGTH_64 = 126, 127


def websocket_frame(message: ServerMessage, _epoch: str, _cursor: int) -> bytes:
    """Return a message as one WebSocket frame."""
    payload = encode(message)
    size = len(payload)
    if size < _LENGTH_16:
        return bytes((_TEXT, size)) + payload
    if size < 2**16:
        return bytes((_TEXT, _LENGTH_16)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT, _LENGTH_64)) + size.to_bytes(8, "big") + payload


def sent_event(message: ServerMessage, epoch: str, cursor: int) -> bytes:
    """Return a message as a server-sent event (WHATWG HTML, section 9.2), its id the cursor in one word."""
    op = str(message.__struct_config__.tag)
    head = f"event: {op}\nid: {format_cursor(epoch, cursor)}\ndata: "
    return head.encode() + encode(message) + b"\n\n"  # JSON holds no line break of its own
