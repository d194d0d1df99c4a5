"""A PostgreSQL of the lab's own, which the platform's pods reach only through a proxy that delays them.

Invariant: the proxy ends with its block; the server is started and stopped by whoever was given.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from touchline.lab.delaying import Delays

WRITE_TIMES: Final = 5  # the seed takes 15 ms for a poll's read and 75 ms for a bet's insert
STOP_TIMEOUT_S: Final = 10


@dataclass(frozen=True)
class Server:
    """A PostgreSQL that runs: how to reach it, and its process."""

    dsn: str
    pid: int


ServerAt = Callable[[Path], AbstractAsyncContextManager[Server]]  # in this directory, while in the block


@dataclass(frozen=True)
class Distant:
    """A server behind its proxy: `dsn` is the proxy's."""

    dsn: str
    server: Server
    proxy_pid: int

    def pids(self) -> dict[str, int]:
        """Return the process ids by what they are called in a run."""
        return {"postgres": self.server.pid, "delay": self.proxy_pid}


@asynccontextmanager
async def distant_postgres(server_at: ServerAt, data_dir: Path, read_ms: float) -> AsyncIterator[Distant]:
    """Yield a server whose statements take `read_ms` longer, those that write `WRITE_TIMES` as long."""
    async with server_at(data_dir) as server:
        parts = urlsplit(server.dsn)
        delays = Delays(parts.hostname or "", parts.port or 5432, read_ms, read_ms * WRITE_TIMES)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "touchline.lab.delaying",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            port = await _told(child, delays)
            netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
            yield Distant(urlunsplit(parts._replace(netloc=netloc)), server, child.pid)
        finally:
            if child.stdin is not None:
                child.stdin.close()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await child.wait()
            except TimeoutError:
                child.kill()


async def _told(child: asyncio.subprocess.Process, delays: Delays) -> int:
    """Tell the proxy what to do, and return its port."""
    if child.stdin is None or child.stdout is None:
        raise OSError("no pipe to the delaying proxy")
    child.stdin.write(msgspec.json.encode(delays) + b"\n")
    return int(await child.stdout.readline())
