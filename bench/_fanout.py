"""What pushing is measured with: a receiver and a yardstick in C (`fanout.c`), each on a core of its own."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

GATEWAY = Path(__file__).with_name("_gateway.py")
SUBSCRIBE = '{"op":"subscribe","id":"1","markets":["m"],"heartbeat_ms":60000}'


@dataclass(frozen=True)
class Run:
    """What the receivers counted, and what of a core it took the sender."""

    frames: int
    seconds: float
    cpu_seconds: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    grown_bytes: int  # the sender, from before the receivers came

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds

    @property
    def rate_of_a_core(self) -> float:
        """Frames a second of the sender's CPU time: what other work on the machine changes least."""
        return self.frames / self.cpu_seconds


@contextmanager
def compiled() -> Iterator[str]:
    """Yield the program in C, compiled in a directory that goes with it; ends the process where there is no cc."""
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("no cc here: there is nothing to measure against, so nothing is measured")
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "fanout")
        status = os.spawnv(os.P_WAIT, compiler, ["cc", "-O2", "-o", program, str(GATEWAY.with_name("fanout.c"))])
        if status != 0:
            sys.exit("fanout.c does not compile")
        yield program


@asynccontextmanager
async def sender(*argv: str) -> AsyncIterator[psutil.Process]:
    """Run what sends, on the first core."""
    child = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    process = psutil.Process(child.pid)
    _pin(process, first=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # the yardstick ends with those it sends to
            child.terminate()
        await child.wait()


async def listen(
    program: str, port: int, clients: int, seconds: float, sending: psutil.Process, subscribe: str = SUBSCRIBE
) -> Run:
    """Receive for `seconds` on the other core."""
    held = sending.memory_info().rss
    child = await asyncio.create_subprocess_exec(
        *(program, "listen", str(port), str(clients), str(seconds), subscribe),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    _pin(psutil.Process(child.pid), first=False)
    assert child.stdout is not None
    assert child.stdin is not None
    before = b""
    while (line := await child.stdout.readline()) not in (b"counting\n", b""):
        before = line
    if not line:
        raise RuntimeError(f"the receivers ended after {before!r}")
    cpu = _cpu(sending)
    told = await child.stdout.readline()
    spent = _cpu(sending) - cpu
    grown = sending.memory_info().rss - held
    child.stdin.close()
    await child.wait()
    counted: dict[str, Any] = json.loads(told)
    return Run(
        counted["frames"],
        counted["seconds"],
        spent,
        counted["p50_us"] / 1000,
        counted["p99_us"] / 1000,
        counted["longest_us"] / 1000,
        grown,
    )


def _cpu(process: psutil.Process) -> float:
    """Return the CPU seconds of a process and of those that it started."""
    spent = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        spent += times.user + times.system
    return spent


def _pin(process: psutil.Process, *, first: bool) -> None:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        process.cpu_affinity([cores[0] if first else cores[1]])
