"""A real HTTP server that answers as a test says, request by request, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

MARKET = (
    b'{"market_id":"m","status":"active","odds_version":3,"selections":'
    b'[{"selection_id":"home","name":"Home","odds":"2.10","status":"active"}],"bet_delay_ms":0}'
)


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    head: bytes
    body: bytes


@dataclass
class TinyServer:
    """Answers with what `answer` returns; None closes the connection without a word."""

    answer: Callable[[Request], Awaitable[bytes | None]]
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_most: int = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TinyServer"]:
        """Serve inside the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line[16:])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length: ")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                request = Request(method, path, head, body)
                self.requests.append(request)
                answer = await self.answer(request)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        self.open_now -= 1
        writer.close()


def ok(body: bytes = MARKET, status: str = "200 OK", head: bytes = b"") -> bytes:
    """Return an answer's bytes."""
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status.encode(), head, len(body), body)
