"""A PostgreSQL that is further away and slower: a proxy that holds each statement back before it is sent on.

Invariant: nothing is changed, reordered or lost; only statements wait, never what comes back. What is held is one
message group of a connection (up to its Sync), so what is buffered is bounded by what a client sends at once.

It runs as a process of its own, told by a line of JSON on stdin; it prints its port, and ends with its stdin.
"""

import asyncio
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import uvloop

WRITES: Final = re.compile(rb"\b(insert|update|delete|record_bet)\b", re.IGNORECASE)
READS: Final = re.compile(rb"\s*(select|with)\b", re.IGNORECASE)
COMMENTS: Final = re.compile(rb"--[^\n]*")
LOCKS: Final = re.compile(rb"\bfor\s+(no\s+key\s+)?update\b", re.IGNORECASE)
MESSAGE_BYTES_MAX: Final = 16 * 2**20
PIECE_BYTES: Final = 64 * 1024
ENDS: Final = b"SHQXpdcf"  # Sync, Flush, Query, Terminate, password, COPY: what was sent so far is to be done now
PROTOCOL_3: Final = 3 << 16


class Delays(msgspec.Struct, frozen=True):
    """Which server is behind the proxy, and how long a statement that reads or writes is held."""

    host: str
    port: int
    read_ms: float
    write_ms: float


class Statements:
    """How long what a client sends is held, by its statements' text; it follows the names of prepared ones."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._known: dict[bytes, float] = {}

    def hold_s(self, kind: bytes, body: bytes) -> float:
        """Return how long a message is held: where a statement is executed, by what it does."""
        if kind == b"P":
            name, _, rest = body.partition(b"\0")
            self._known[name] = self._of_text(rest.partition(b"\0")[0])
        elif kind == b"B":
            return self._known.get(body.split(b"\0", 2)[1], 0.0)
        elif kind == b"Q":
            return self._of_text(body.rstrip(b"\0"))
        return 0.0

    def _of_text(self, text: bytes) -> float:
        """Return the hold of a statement; none for BEGIN, COMMIT and the like, which the seed doesn't count."""
        text = COMMENTS.sub(b"", text)
        if WRITES.search(LOCKS.sub(b"", text)):
            return self._delays.write_ms / 1000
        return self._delays.read_ms / 1000 if READS.match(text) else 0.0


async def pass_statements(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, statements: Statements
) -> None:
    """Send a client's messages on, each group held as long as the slowest of its statements."""
    code = 0
    while code != PROTOCOL_3:  # SSLRequest and the like, answered by the server, come before it
        head = await reader.readexactly(8)
        code = int.from_bytes(head[4:], "big")
        writer.write(head + await reader.readexactly(int.from_bytes(head[:4], "big") - 8))
    group, hold_s = bytearray(), 0.0
    while True:
        head = await reader.readexactly(5)
        length = int.from_bytes(head[1:], "big") - 4
        if length > MESSAGE_BYTES_MAX:
            raise ConnectionError("a message larger than any of ours")
        body = await reader.readexactly(length)
        group += head + body
        hold_s = max(hold_s, statements.hold_s(head[:1], body))
        if head[:1] in ENDS or len(group) > MESSAGE_BYTES_MAX:
            if hold_s:
                await asyncio.sleep(hold_s)
            writer.write(bytes(group))
            await writer.drain()
            group, hold_s = bytearray(), 0.0


async def pass_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the server's answers back as they come."""
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()


def proxy(delays: Delays) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]:
    """Return what serves one client."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):  # either side may go at any time: the other is told
            try:
                to_server = await asyncio.open_connection(delays.host, delays.port)
                try:
                    ways = [
                        asyncio.create_task(pass_statements(reader, to_server[1], Statements(delays))),
                        asyncio.create_task(pass_answers(to_server[0], writer)),
                    ]
                    done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                    for way in left:
                        way.cancel()
                    await asyncio.gather(*left, return_exceptions=True)
                    for way in done:
                        way.result()
                finally:
                    to_server[1].close()
            finally:
                writer.close()

    return lambda reader, writer: asyncio.ensure_future(serve(reader, writer))


async def _main() -> None:
    delays = msgspec.json.decode(sys.stdin.buffer.readline(), type=Delays)
    server = await asyncio.start_server(proxy(delays), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await ended


if __name__ == "__main__":
    uvloop.run(_main())
