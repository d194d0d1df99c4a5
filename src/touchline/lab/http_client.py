"""HTTP/1.1 as the lab's clients speak it: many requests through a bounded pool of connections kept alive.

Invariants: one request is under way on a connection at a time; each request ends, with an answer or with a word
for what became of it; what waits for a connection is bounded, and so is how long.
"""

import asyncio
from collections import deque
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from touchline.lab.clock import monotonic_s

OPENING_MAX: Final = 64  # connections that are being made at once
SWEEP_S: Final = 0.25  # how often it is looked for what has waited too long

TIMEOUT: Final = "TIMEOUT"  # no answer in time; it may have been sent
RESET: Final = "RESET"  # the connection ended before the answer did
REFUSED: Final = "REFUSED"  # no connection was to be had
DROPPED: Final = "DROPPED"  # not sent: too many waited before it


class Exchange:
    """A request and what came of it: `status` and `body`, or `lost`. Instants are of `monotonic_s`."""

    __slots__ = ("answered_s", "asked_s", "body", "done", "etag", "lost", "request", "sent_s", "status")

    def __init__(self, request: bytes, asked_s: float, done: "asyncio.Future[None]") -> None:
        self.request = request
        self.asked_s = asked_s
        self.done = done
        self.sent_s: float | None = None  # None: no byte of it left
        self.answered_s: float | None = None
        self.status: int | None = None
        self.body = b""
        self.etag: bytes | None = None
        self.lost: str | None = None

    def end(self, lost: str | None = None) -> None:
        """Tell whoever waits that it is over."""
        if not self.done.done():
            self.lost = lost
            self.done.set_result(None)


class HttpClient:
    """A pool of at most `connections_max` connections to `address`; `waiting_max` requests may wait for one."""

    def __init__(self, address: str, *, connections_max: int, waiting_max: int, timeout_s: float) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._host_line = f"Host: {parts.netloc}\r\n".encode()
        self._connections_max, self._waiting_max, self._timeout_s = connections_max, waiting_max, timeout_s
        self._loop = asyncio.get_running_loop()
        self._free: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._waiting: deque[Exchange] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeper = self._loop.create_task(self._sweep())

    @property
    def connections(self) -> int:
        """How many connections there are, or will be in a moment."""
        return len(self._free) + len(self._busy) + len(self._opening)

    def request(self, method: str, path: str, token: str = "", body: bytes = b"", more: bytes = b"") -> bytes:
        """Return a request's bytes; `more` are header lines, each with its line's end."""
        head = f"{method} {path} HTTP/1.1\r\n".encode() + self._host_line + more
        if token:
            head += f"Authorization: Bearer {token}\r\n".encode()
        if body:
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        return head + b"\r\n" + body

    async def ask(self, request: bytes) -> Exchange:
        """Send a request's bytes as soon as a connection is free, and return when it is over."""
        exchange = Exchange(request, monotonic_s(), self._loop.create_future())
        if self._free:
            self._free.pop().begin(exchange)
        elif len(self._waiting) >= self._waiting_max:
            exchange.end(DROPPED)
        else:
            self._waiting.append(exchange)
            self._open()
        await exchange.done
        return exchange

    async def close(self) -> None:
        """Close every connection; what is under way ends as RESET."""
        self._waiting_max = 0
        tasks = [self._sweeper, *self._opening]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft().end(RESET)
        for connection in [*self._free, *self._busy]:
            connection.abort(RESET)
        self._free.clear()
        self._busy.clear()

    def _open(self) -> None:
        """Begin another connection where one is wanted and may be had."""
        wanted = len(self._waiting) > len(self._opening)
        if wanted and len(self._opening) < OPENING_MAX and self.connections < self._connections_max:
            task = self._loop.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._opening.discard(task)
        if self._waiting and not task.cancelled():
            self._open()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except (OSError, TimeoutError):
            if self._waiting:
                self._waiting.popleft().end(REFUSED)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            too_old = monotonic_s() - self._timeout_s
            while self._waiting and self._waiting[0].asked_s < too_old:
                self._waiting.popleft().end(TIMEOUT)
            for connection in [connection for connection in self._busy if connection.asked_s < too_old]:
                self._busy.discard(connection)
                connection.abort(TIMEOUT)

    def is_free(self, connection: "_Connection") -> None:
        """Give a connection its next request, or let it rest."""
        self._busy.discard(connection)
        if self._waiting:
            connection.begin(self._waiting.popleft())
        else:
            self._free.append(connection)

    def is_busy(self, connection: "_Connection") -> None:
        """Watch a connection that has sent a request."""
        self._busy.add(connection)

    def is_gone(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._busy.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if self._waiting:
            self._open()


class _Connection(asyncio.Protocol):
    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._exchange: Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    @property
    def asked_s(self) -> float:
        """When the request that is under way was asked for; now where none is."""
        return monotonic_s() if self._exchange is None else self._exchange.asked_s

    def begin(self, exchange: Exchange) -> None:
        """Send a request."""
        self._exchange = exchange
        self._client.is_busy(self)
        exchange.sent_s = monotonic_s()
        self._transport.write(exchange.request)

    def abort(self, why: str) -> None:
        """End the connection at once, and what is under way on it as lost."""
        exchange, self._exchange = self._exchange, None
        self._transport.abort()
        if exchange is not None:
            exchange.end(why)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._client.is_free(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:  # no HTTP, or more of it than was asked for
            self.abort(RESET)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.is_gone(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.end(RESET)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what the next poll needs (httptools calls this)."""
        if self._exchange is not None and name.lower() == b"etag":
            self._exchange.etag = value

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body (httptools calls this)."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over (httptools calls this)."""
        exchange, self._exchange = self._exchange, None
        body, self._body = self._body, []
        if exchange is None or self._parser.get_status_code() < 200:
            self._exchange = exchange  # 1xx: the answer is still to come
            return
        exchange.status = self._parser.get_status_code()
        exchange.body = body[0] if len(body) == 1 else b"".join(body)
        exchange.answered_s = monotonic_s()
        exchange.end()
        if self._parser.should_keep_alive():
            self._client.is_free(self)
        else:
            self._transport.close()
