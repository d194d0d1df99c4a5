"""Closed-loop HTTP load: some connections, each with one request under way, until the time is up."""

import asyncio
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass
class Load:
    """What came of a run. `statuses` counts answers, `seconds_each` holds how long each took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds_each: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def rate(self, status: int) -> float:
        """Return answers of `status` a second."""
        return self.statuses[status] / self.seconds

    def percentile_ms(self, percent: int) -> float:
        """Return how long `percent` of the answers took at most, in ms."""
        return statistics.quantiles(self.seconds_each, n=100)[percent - 1] * 1000


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load, make: Callable[[], bytes], until: float) -> None:
        self._load, self._make, self._until = load, make, until
        self._seen = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head = self._seen.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._seen, 0, head + 2)
        if len(self._seen) < head + 4 + (int(length[1]) if length else 0):
            return
        self._load.statuses[int(self._seen[9:12])] += 1
        self._load.seconds_each.append(time.perf_counter() - self._sent)
        self._seen = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _next(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._until:
            self.done.set_result(None)
            self._transport.close()
            return
        self._transport.write(self._make())


async def drive(port: int, make: Callable[[], bytes], connections: int, seconds: float) -> Load:
    """Send what `make` returns over `connections` to 127.0.0.1 for `seconds`."""
    load = Load()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    pairs = [
        await loop.create_connection(lambda: _Connection(load, make, began + seconds), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in pairs))
    load.seconds = time.perf_counter() - began
    return load


def get(path: str, token: str = "") -> bytes:
    """Return a GET request."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{authorization}\r\n".encode()


def post(path: str, token: str, body: bytes) -> bytes:
    """Return a POST request of JSON."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
