"""A platform that outlives its PostgreSQL: the test kills that and starts it again, and nobody else does."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.platforms import OwnPlatform
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.process import Child


@dataclass
class Outliving:
    """A platform and its PostgreSQL."""

    own: OwnPlatform
    server: PostgresServer
    child: Child

    async def kill(self) -> None:
        self.child.signal(signal.SIGKILL)
        await self.child.wait()

    async def start(self) -> None:
        self.child = await self.server.start()

    def pods(self) -> list[int]:
        return [part.port for part in self.own.instance.parts if part.name.startswith("pod")]

    def pod_pids(self) -> list[int]:
        return [part.pid for part in self.own.instance.parts if part.name.startswith("pod")]


@asynccontextmanager
async def outliving(folder: Path, name: str) -> AsyncIterator[Outliving]:
    """Yield a platform with the breaker."""
    server = PostgresServer(folder / f"{name}-books", options={"fsync": "off"})
    child = await server.start()
    settings = {"postgres": server.dsn, "odds_breaker": "true", "odds_etag": "true"}
    own = OwnPlatform(folder / name, settings=settings)
    await asyncio.to_thread(own.up)
    outliving = Outliving(own, server, child)
    yield outliving
    await asyncio.to_thread(own.remove)
    await outliving.child.stop()
    await server.forget()
