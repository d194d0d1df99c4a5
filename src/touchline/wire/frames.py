"""Messages on a TCP connection of our own: each a length in four bytes, the most significant first, and a body.

Invariant: no more is ever held of what a peer sent than one frame at most as long as allowed, and one piece as it
arrived.
"""

from typing import Final

import msgspec

from touchline.core.errors import Code, Fault, Rejection

HEAD_BYTES: Final = 4
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024

_HEAD: Final = bytes(HEAD_BYTES)
_pack: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode_into


def put(out: bytearray, message: object) -> None:
    """Append `message`, a wire struct, to `out` as one frame of MessagePack.

    Raises:
        Fault: it is longer than `FRAME_BYTES_MAX`; `out` is as it was.
    """
    begin = len(out)
    out += _HEAD
    _pack(message, out, -1)
    length = len(out) - begin - HEAD_BYTES
    if length > FRAME_BYTES_MAX:
        del out[begin:]
        raise Fault(f"a frame of {length} bytes")
    out[begin : begin + HEAD_BYTES] = length.to_bytes(HEAD_BYTES, "big")


class Splitter:
    """Cuts what arrives into the bodies of frames."""

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.bytes_max = bytes_max  # of one body; may be raised once a peer is trusted
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the bodies that `piece` completes, in order.

        Raises:
            Rejection: MALFORMED: a frame of no bytes, or of more than `bytes_max`; nothing after it can be read.
        """
        seen = self._rest + piece if self._rest else piece
        bodies = []
        at, end = 0, len(seen)
        while end - at >= HEAD_BYTES:
            begin = at + HEAD_BYTES
            length = int.from_bytes(seen[at:begin], "big")
            if not 0 < length <= self.bytes_max:
                raise Rejection(Code.MALFORMED, f"a frame of {length} bytes")
            if end - begin < length:
                break
            at = begin + length
            bodies.append(seen[begin:at])
        self._rest = seen[at:]
        return bodies
