"""A PostgreSQL that says goodbye between a statement's parsing and its run, as a real one does once in a while."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FLUSH = b"H"


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


HELLO = (
    message(b"R", struct.pack("!i", 0))
    + message(b"S", b"server_version\x0018.0\x00")
    + message(b"K", struct.pack("!ii", 1, 1))
    + message(b"Z", b"I")
)
PREPARED = (
    message(b"1")
    + message(b"t", struct.pack("!h", 0))
    + message(b"T", struct.pack("!h", 1) + b"transactions\x00" + struct.pack("!ihihih", 0, 0, 20, 8, -1, 0))
)
GOODBYE = message(b"E", b"SFATAL\x00VFATAL\x00C57P01\x00Mterminating connection\x00\x00")


@asynccontextmanager
async def dying_server() -> AsyncIterator[str]:
    """Yield the address of such a server; it takes any number of connections, and says goodbye on each."""
    async with await asyncio.start_server(_say_goodbye, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://somebody@127.0.0.1:{port}/anything?sslmode=disable"


async def _say_goodbye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        [length] = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(HELLO)
        while True:
            kind = await reader.readexactly(1)
            [length] = struct.unpack("!i", await reader.readexactly(4))
            await reader.readexactly(length - 4)
            if kind == FLUSH:
                writer.write(PREPARED + GOODBYE)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
