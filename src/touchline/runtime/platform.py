"""All parts of one running platform, in the order in which they need each other.

Invariant: servers are ready before the roles that use them, pods before the balancer that sends to them, and it
stops the other way round, so that no request meets a part whose ground is gone.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Final

import msgspec

from touchline.architectures.parts import PREPARE, Process, gateways_of, pods_of, workers_of
from touchline.architectures.settings import Settings
from touchline.runtime.addresses import LOCALHOST, free_port
from touchline.runtime.balancer import Balancer
from touchline.runtime.discovery import write_targets
from touchline.runtime.files import write_private
from touchline.runtime.instance import Instance, PartRecord, write_instance
from touchline.runtime.keeper import Kept, Notice, State, Tell
from touchline.runtime.ladder import ladder_parts, primary_options
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.process import PartFailed, started_at
from touchline.runtime.roles import RolePart, prepare
from touchline.runtime.valkey import ValkeyServer

SIGNING_KEY_FILE: Final = "signing.key"
LOG_CHECK_S: Final = 10
CONNECTIONS_MIN: Final = 300  # of PostgreSQL, so that benchmarks and an operator's tools find room too
CONNECTIONS_SPARE: Final = 20  # beside the pools: listeners, migrations, reconcile


class PartStatus(msgspec.Struct, frozen=True):
    """A part as `touchline status` shows it."""

    name: str
    state: State
    healthy: bool
    pid: int
    port: int
    uptime_s: float
    restarts: int


class Platform:
    """The parts that `settings` ask for; `settings.data_dir` is absolute and ours alone."""

    def __init__(self, settings: Settings, control: Path, tell: Tell) -> None:
        self._tell = tell
        self._control = control
        self._ready = False
        self._secret_file = settings.data_dir / SIGNING_KEY_FILE if not settings.token_secret else None
        room = {"max_connections": str(max(CONNECTIONS_MIN, _connections(settings)))}
        self._options = {**room, **primary_options(settings)}
        postgres = None if settings.postgres else PostgresServer(settings.data_dir, options=self._options)
        valkey = None if settings.valkey else ValkeyServer(settings.data_dir)
        self._postgres = postgres
        self._valkey = valkey
        self._odds = _own_odds(settings)
        servers = (postgres, valkey, self._odds)
        self._servers = [Kept(part, self._turned) for part in servers if part is not None]
        self._ladder: list[Kept] = []
        self._pods: list[Kept] = []
        self._gateways: list[Kept] = []
        self._workers: list[Kept] = []
        self._balancer: Balancer | None = None
        self._front: list[Kept] = []
        self.settings = settings

    @property
    def parts(self) -> list[Kept]:
        """Every part, in the order of their start."""
        return [*self._servers, *self._ladder, *self._workers, *self._pods, *self._gateways, *self._front]

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"http://{LOCALHOST}:{self.settings.port}"

    async def start(self) -> None:
        """Start every part and return once clients are served.

        Raises:
            PartFailed: a part did not come up; what was started stays until `stop`.
        """
        await _all(kept.begin for kept in self._servers)
        ladder = ladder_parts(self.settings, self._postgres, self._options)
        self._ladder = [Kept(part, self._turned) for part in ladder.all]
        await _all(kept.begin for kept in self._ladder)
        self.settings = ladder.resolve(self._resolved())
        self._tell(Notice(PREPARE, State.STARTING))
        self._tell(Notice(PREPARE, State.READY, await prepare(self.settings)))
        pods, gateways = self._roles(pods_of(self.settings)), self._roles(gateways_of(self.settings))
        workers = self._roles(workers_of(self.settings))
        self._pods, self._gateways, self._workers = (
            [Kept(part, self._turned) for part in parts] for parts in (pods, gateways, workers)
        )
        await _all(kept.begin for kept in (*self._pods, *self._gateways, *self._workers))
        self._balancer = Balancer(
            self.settings.data_dir,
            self.settings.port,
            [part.port for part in pods],
            [part.stream_port for part in gateways],
        )
        self._front = [Kept(self._balancer, self._turned)]
        await _all(kept.begin for kept in self._front)
        self._ready = True
        self.record()

    async def stop(self) -> None:
        """Stop every part: balancer, gateways, pods, workers, Valkey, PostgreSQL."""
        self._ready = False
        for kept in self._pods:
            kept.signal(signal.SIGUSR1)  # it ends its streams, which the balancer would wait for
        await _all(kept.stop for kept in self._front)
        await _all(kept.stop for kept in (*self._gateways, *self._pods))
        await _all(kept.stop for kept in self._workers)
        for kept in reversed([*self._servers, *self._ladder]):
            await kept.stop()

    async def restart(self) -> None:
        """Restart pods, gateways and workers at once; requests are refused meanwhile.

        Raises:
            PartFailed: one did not come up again.
        """
        replacing = (kept.replace() for kept in (*self._pods, *self._gateways, *self._workers))
        for failed in await asyncio.gather(*replacing, return_exceptions=True):
            if failed is not None:  # the others are there again by now
                raise failed
        if self._balancer is not None:
            await self._balancer.until_used([kept.part.port for kept in self._pods])

    async def restart_rolling(self) -> None:
        """Restart the workers, the gateways, then one pod after another, each while the others serve.

        No request fails; who is pushed to connects again, and goes on where he was.

        Raises:
            PartFailed: one did not come up again, or the balancer did not let go of it or take it back.
        """
        if self._balancer is None or len(self._pods) < 2:
            raise PartFailed(
                "pods", "there is only one", remedy="run two or more (--pods) to restart them in turn"
            )
        for kept in (*self._workers, *self._gateways):
            await kept.replace()
        ports = [kept.part.port for kept in self._pods]
        for kept, port in zip(self._pods, ports, strict=True):
            await self._balancer.until_used(ports)  # each that stays must be able to stand in
            kept.signal(signal.SIGUSR1)  # it says that it is not ready, and goes on serving
            try:
                await self._balancer.until_unused(port)
            except PartFailed:
                await kept.replace()
                raise
            await kept.replace()
        await self._balancer.until_used(ports)

    async def status(self) -> list[PartStatus]:
        """Return how each part is."""
        return list(await asyncio.gather(*(_status(kept) for kept in self.parts)))

    async def mind_logs(self) -> None:
        """Keep the logs small, for ever."""
        while True:
            for kept in self.parts:
                await asyncio.to_thread(kept.trim_log)
            await asyncio.sleep(LOG_CHECK_S)

    def instance(self) -> Instance:
        """Return the platform's record as it is now."""
        return Instance(
            architecture=self.settings.architecture,
            address=self.address,
            pid=os.getpid(),
            started_at=started_at(os.getpid()),
            control=str(self._control),
            parts=[
                PartRecord(kept.part.name, kept.part.port, child.pid, child.started_at, kept.restarts)
                for kept in self.parts
                if (child := kept.child) is not None
            ],
            postgres=self.settings.postgres,
            valkey=self.settings.valkey,
            token_secret_file=str(self._secret_file or ""),
            demo=self.settings.demo,
            ready=self._ready,
        )

    def record(self) -> None:
        """Write the record, and where the parts' metrics are."""
        write_instance(self.settings.data_dir, self.instance())
        roles = [kept.part for kept in self.parts if isinstance(kept.part, RolePart)]
        write_targets(self.settings.data_dir, self.settings.architecture, roles)

    def _roles(self, processes: Iterable[Process]) -> list[RolePart]:
        return [RolePart(process, self.settings) for process in processes]

    def _turned(self, notice: Notice) -> None:
        try:
            self.record()
        except OSError as failed:  # a full disk: what is kept running goes on all the same
            told = (notice.detail, f"which can't be recorded: {failed.strerror}")
            notice = msgspec.structs.replace(notice, detail="; ".join(filter(None, told)))
        self._tell(notice)

    def _resolved(self) -> Settings:
        settings = self.settings
        return msgspec.structs.replace(
            settings,
            port=settings.port or free_port(),
            postgres=settings.postgres or (self._postgres.dsn if self._postgres else ""),
            valkey=settings.valkey or (self._valkey.url if self._valkey else ""),
            odds_valkey=settings.odds_valkey or (self._odds.url if self._odds else settings.valkey),
            token_secret=settings.token_secret or _token_secret(settings.data_dir),
        )


async def _status(kept: Kept) -> PartStatus:
    child = kept.child
    return PartStatus(
        name=kept.part.name,
        state=kept.state,
        healthy=child is not None and await kept.part.healthy(),
        pid=child.pid if child else 0,
        port=kept.part.port,
        uptime_s=child.uptime_s if child else 0.0,
        restarts=kept.restarts,
    )


async def _all(steps: Iterable[Callable[[], Coroutine[None, None, None]]]) -> None:
    """Take all steps at once; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step())
    except* PartFailed as failures:
        raise _first(failures) from None


def _own_odds(settings: Settings) -> ValkeyServer | None:
    """Return the server that is to be the authority on odds, where the architecture wants one of our own."""
    if settings.architecture != "stream" or settings.odds_valkey or settings.valkey:
        return None
    return ValkeyServer.authority(settings.data_dir)


def _connections(settings: Settings) -> int:
    """Return how many connections to PostgreSQL all parts together may open."""
    parts = len(pods_of(settings)) + len(gateways_of(settings)) + len(workers_of(settings))
    return parts * settings.pool_size + CONNECTIONS_SPARE


def _first(failures: BaseExceptionGroup[PartFailed]) -> PartFailed:
    first = failures.exceptions[0]
    return first if isinstance(first, PartFailed) else _first(first)


def _token_secret(data_dir: Path) -> str:
    """Return the key that tokens are signed with, made at the first start."""
    file = data_dir / SIGNING_KEY_FILE
    if not file.exists():
        write_private(file, secrets.token_urlsafe(48).encode())
    return file.read_text("ascii")
