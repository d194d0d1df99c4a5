"""A platform that outlives its PostgreSQL: the test kills that and starts it again, and nobody else does."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
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
    runner: asyncio.Runner
    child: Child

    def kill(self) -> None:
        self.child.signal(signal.SIGKILL)
        self.runner.run(self.child.wait())

    def start(self) -> None:
        self.child = self.runner.run(self.server.start())

    def pods(self) -> list[int]:
        return [part.port for part in self.own.instance.parts if part.name.startswith("pod")]

    def pod_pids(self) -> list[int]:
        return [part.pid for part in self.own.instance.parts if part.name.startswith("pod")]


@contextmanager
def outliving(folder: Path, name: str) -> Iterator[Outliving]:
    """Yield a platform with the breaker."""
    with asyncio.Runner() as runner:
        server = PostgresServer(folder / f"{name}-books", options={"fsync": "off"})
        child = runner.run(server.start())
        settings = {"postgres": server.dsn, "odds_breaker": "true", "odds_etag": "true"}
        own = OwnPlatform(folder / name, settings=settings)
        own.up()
        outliving = Outliving(own, server, runner, child)
        yield outliving
        own.remove()
        runner.run(outliving.child.stop())
        runner.run(server.forget())
