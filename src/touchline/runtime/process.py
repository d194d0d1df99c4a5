"""One child process: started in a session of its own with its output in a log, stopped by its own signal.

Invariant: a child never outlives the process that started it where the system can promise that (Linux), and its
log is moved aside by `trim` once it is beyond `LOG_MAX_BYTES`, so that two of that size is all it takes.
"""

import asyncio
import ctypes
import importlib.util
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from touchline.runtime.accounts import Account

LOG_MAX_BYTES: Final = 8 * 1024 * 1024
TAIL_LINES: Final = 15
TAIL_MAX_BYTES: Final = 16 * 1024
READY_POLL_S: Final = 0.03
SAME_START_S: Final = 2.0  # the system may tell a start time a little off after the clock was set
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class CannotStart(Exception):
    """The platform can't be started as asked; the message is one clear line."""


class PartFailed(Exception):
    """A part did not start: which, why, the end of its log, and what to do about it."""

    def __init__(self, part: str, why: str, *, remedy: str, log: Path | None = None) -> None:
        super().__init__(f"{part}: {why}")
        self.part = part
        self.why = why
        self.remedy = remedy
        self.log = log
        self.tail = tail(log) if log else ""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, as whom, and how it is told to stop."""

    name: str
    argv: tuple[str, ...]
    log: Path
    environ: Mapping[str, str] | None = None
    account: Account | None = None  # None: as whoever runs this
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 20


@dataclass(slots=True)
class Child:
    """A started `Program`."""

    program: Program
    process: asyncio.subprocess.Process
    started_at: float  # the system's start time of the process, in seconds since the epoch
    began_s: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    @property
    def uptime_s(self) -> float:
        """For how long it has run."""
        return time.monotonic() - self.began_s

    async def wait(self) -> int:
        """Wait until it ends, and return its exit status, negative for a signal."""
        return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing where it has ended."""
        if self.running:
            self.process.send_signal(number)

    async def stop(self) -> None:
        """Ask it to stop, and kill it where it does not in `stop_timeout_s`."""
        self.signal(self.program.stop_signal)
        try:
            async with asyncio.timeout(self.program.stop_timeout_s):
                await self.process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.process.wait()


async def start(program: Program) -> Child:
    """Start a program with its output appended to its log.

    Raises:
        PartFailed: it can't be run at all.
    """
    trim(program.log)
    account = program.account
    try:
        with program.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=program.cwd,
                env=dict(program.environ) if program.environ is not None else None,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone, which stops in order
                preexec_fn=die_with_parent(program.stop_signal),
            )
    except OSError as wrong:
        raise PartFailed(
            program.name, f"{program.argv[0]} can't be run: {wrong}", remedy="install touchline's packages again"
        ) from wrong
    return Child(program, process, started_at(process.pid))


async def to_its_end(program: Program) -> int:
    """Run a program to its end and return its exit status; whoever gives up waiting ends it.

    Raises:
        PartFailed: it can't be run at all.
    """
    child = await start(program)
    try:
        return await child.wait()
    except BaseException:
        await child.stop()
        raise


async def ready(child: Child, answers: Callable[[], Awaitable[bool]], timeout_s: float, remedy: str) -> Child:
    """Return `child` once `answers` says that it serves; a child that does not get there is stopped.

    Raises:
        PartFailed: it ended, or did not answer in `timeout_s`.
    """
    program = child.program
    try:
        async with asyncio.timeout(timeout_s):
            while child.running:
                if await answers():
                    return child
                await asyncio.sleep(READY_POLL_S)
        why = f"ended with {ending(child.process.returncode)} before it answered"
    except TimeoutError:
        why = f"gave no answer in {timeout_s:g} s"
        await child.stop()
    except BaseException:
        await child.stop()
        raise
    raise PartFailed(program.name, why, remedy=remedy, log=program.log)


def package_folder(package: str) -> Path:
    """Return where an installed package's files are, without running any of its code.

    Raises:
        PartFailed: it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise PartFailed(package, "is not installed", remedy="install touchline's packages again")
    return Path(found.submodule_search_locations[0])


def die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return what a child runs first so that the kernel signals it when its parent dies; None where none can."""
    if _LIBC is None:
        return None
    libc, parent = _LIBC, os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before the binding
            os._exit(1)

    return bind


def started_at(pid: int) -> float:
    """Return a process's start time by the system, 0.0 where it has ended; pid and start time name it for good."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def same_process(pid: int, started: float) -> psutil.Process | None:
    """Return the process `pid` if it is the one that began at `started`, else None."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < SAME_START_S and process.status() != psutil.STATUS_ZOMBIE
        return process if same else None
    except psutil.NoSuchProcess:
        return None


def listens(pid: int, port: int) -> bool:
    """Tell whether it is the process `pid` that listens at `port`."""
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_MAX_BYTES))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:])
    except FileNotFoundError:
        return ""


def trim(log: Path) -> None:
    """Move a log that is full to `NAME.log.1`, in place: its writer appends and goes on at the beginning.

    One that can't be moved, because the disk is full, stays as it is.
    """
    try:
        if log.stat().st_size > LOG_MAX_BYTES:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)
    except OSError:
        return


def ending(returncode: int | None) -> str:
    """Return how a process ended, in words."""
    if returncode is not None and returncode < 0:
        return f"signal {signal.Signals(-returncode).name}"
    return f"status {returncode}"
