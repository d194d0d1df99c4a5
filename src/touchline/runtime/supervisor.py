"""The process behind `touchline up`: one a data directory, it starts the platform, keeps it running, and stops it.

Invariant: while it lives it holds the data directory's lock; whoever gets that lock may end what the last left.
"""

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from touchline.architectures.settings import Settings
from touchline.runtime.addresses import is_free
from touchline.runtime.control import Answer, Failure, Request, Say, failure_of, listening
from touchline.runtime.instance import Instance, end_stale, forget_instance, read_instance
from touchline.runtime.keeper import Notice, Tell
from touchline.runtime.ladder import missing_part
from touchline.runtime.platform import Platform
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.process import CannotStart, PartFailed, trim
from touchline.runtime.valkey import ValkeyServer

LOCK_FILE: Final = "lock"
LOG_FILE: Final = "supervisor.log"
RUN_DIR_PREFIX: Final = "touchline-"
_LOG: Final = logging.getLogger("touchline.supervisor")


async def supervise(settings: Settings, *, fresh: bool, tell: Tell, ready: Callable[[Instance], None]) -> None:
    """Start the platform, call `ready` once clients are served, and keep it running until told to stop.

    It is told by SIGINT, SIGTERM or `control`. `fresh` forgets every bet, price and account first.

    Raises:
        CannotStart: another one runs in this data directory, the port is taken, or the books are not for it.
        PartFailed: a part did not come up; everything is stopped again.
    """
    data_dir = own(settings.data_dir)
    settings = msgspec.structs.replace(settings, data_dir=data_dir)
    with _locked(data_dir), _journal(data_dir), _run_dir() as run_dir:
        await asyncio.to_thread(_end_last, data_dir)
        if settings.port and not is_free(settings.port):
            raise CannotStart(f"port {settings.port} is taken; free it, or choose another with --port")
        if missing := missing_part(settings):
            raise CannotStart(missing)
        if fresh:
            await _forget_books(settings)

        def told(notice: Notice) -> None:
            _LOG.info("%s %s %s", notice.part, notice.state, notice.detail)
            tell(notice)
            supervisor.tell(notice)

        socket = run_dir / "control"
        supervisor = _Supervisor(Platform(settings, socket, told))
        try:
            await supervisor.run(socket, ready)
        except PartFailed as failed:
            _LOG.error("%s", failed)
            raise
        finally:
            forget_instance(data_dir)


class _Supervisor:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._stop = asyncio.Event()
        self._stopped = asyncio.Event()
        self._work: asyncio.Task[None] | None = None  # a start or a restart, one at a time
        self._watching: set[Say] = set()

    def tell(self, notice: Notice) -> None:
        for say in self._watching:
            say(Answer(notice=notice))

    async def run(self, socket: Path, ready: Callable[[Instance], None]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                loop.add_signal_handler(number, self._stop.set)
        platform = self._platform
        platform.record()
        minding = asyncio.create_task(platform.mind_logs())
        async with listening(socket, self._handle):
            try:
                await self._begin()
                if not self._stop.is_set():
                    ready(platform.instance())
                    await self._stop.wait()
            finally:
                minding.cancel()
                await self._end_work()
                await platform.stop()
                self._stopped.set()

    async def _begin(self) -> None:
        """Start the platform, or give up where it shall stop before it has started."""
        starting = asyncio.create_task(self._finish(self._platform.start()))
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait([starting, stop], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        await self._end_work()
        await starting

    async def _finish(self, work: Coroutine[None, None, None]) -> None:
        """Do `work` to its end; `_end_work` may cut it short."""
        self._work = asyncio.create_task(work)
        try:
            await asyncio.wait([self._work])
            if not self._work.cancelled():
                self._work.result()
        finally:
            self._work = None

    async def _end_work(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _handle(self, request: Request, say: Say, gone: asyncio.Event) -> None:
        if request.verb == "status":
            say(Answer(parts=await self._platform.status()))
            return
        self._watching.add(say)
        try:
            if request.verb == "watch":
                say(Answer(parts=await self._platform.status()))
                await gone.wait()
            elif request.verb == "stop":
                self._stop.set()
                await self._stopped.wait()
            elif self._work is not None:
                say(
                    Answer(failure=Failure("restart", "the platform is starting", "try again once it has started"))
                )
            elif request.rolling:
                await self._finish(self._platform.restart_rolling())
            else:
                await self._finish(self._platform.restart())
        except PartFailed as failed:
            say(Answer(failure=failure_of(failed)))
        finally:
            self._watching.discard(say)


def own(data_dir: Path) -> Path:
    """Return the data directory, absolute, made where it is not there; root's lets its servers pass through.

    Raises:
        CannotStart: it can't be used.
    """
    data_dir = data_dir.expanduser().resolve()
    try:
        data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        data_dir.joinpath("logs").mkdir(exist_ok=True)
    except OSError as wrong:
        raise CannotStart(f"{data_dir} can't be used as data directory: {wrong.strerror}") from wrong
    return data_dir


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    with data_dir.joinpath(LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = read_instance(data_dir)
            where = f" at {running.address}" if running else ""
            raise CannotStart(f"it is running already{where}; `touchline down` stops it") from None
        yield


def _end_last(data_dir: Path) -> None:
    """End what a supervisor that was killed left behind."""
    last = read_instance(data_dir)
    if last is None:
        return
    ended = end_stale(last)
    _LOG.warning("the last supervisor was killed; ended what it left: %s", ", ".join(ended) or "nothing")
    run_dir = Path(last.control).parent
    if run_dir.name.startswith(RUN_DIR_PREFIX):
        shutil.rmtree(run_dir, ignore_errors=True)
    forget_instance(data_dir)


async def _forget_books(settings: Settings) -> None:
    if settings.postgres:
        raise CannotStart("--fresh empties a PostgreSQL of our own, but TOUCHLINE_POSTGRES names another")
    if settings.architecture == "stream" and (settings.odds_valkey or settings.valkey):
        raise CannotStart("--fresh empties an authority on odds of our own, but TOUCHLINE_*VALKEY names another")
    await PostgresServer(settings.data_dir).forget()
    await ValkeyServer.authority(settings.data_dir).forget()


@contextmanager
def _journal(data_dir: Path) -> Iterator[None]:
    """Write what happens to logs/supervisor.log."""
    file = data_dir / "logs" / LOG_FILE
    trim(file)
    handler = logging.FileHandler(file, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        handler.close()


@contextmanager
def _run_dir() -> Iterator[Path]:
    """Make a directory of our own for the socket, whose path may be no longer than 100 characters."""
    path = Path(tempfile.mkdtemp(prefix=RUN_DIR_PREFIX))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
