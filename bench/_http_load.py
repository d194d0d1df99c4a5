"""Closed-loop HTTP load from a program in C (http_load.c), for servers that would outrun one in Python."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec


class Seen(msgspec.Struct):
    """What the clients saw: answers of the wanted status, others, and how long they took."""

    good: int
    others: int
    seconds: float
    p50_us: int
    p99_us: int


class HttpLoad:
    """The compiled program at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def drive(
        self, port: int, requests: Sequence[bytes], connections: int, seconds: int, status: int
    ) -> Seen:
        """Send `requests` in turn over `connections` to 127.0.0.1; eight # in one become a number of its own."""
        child = await asyncio.create_subprocess_exec(
            *(str(self._path), str(port), str(connections), str(seconds), str(status)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await child.communicate(b"".join(b"%d\n%b" % (len(one), one) for one in requests))
        if child.returncode:
            raise SystemExit("the load ended early")
        seen = msgspec.json.decode(out, type=Seen)
        if seen.others or not seen.good:
            raise SystemExit(f"not every request was answered {status}: {seen}")
        return seen


@contextmanager
def http_load() -> Iterator[HttpLoad | None]:
    """Yield the program, compiled; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "http_load"
        source = Path(__file__).with_name("http_load.c")
        subprocess.run([compiler, "-O2", "-o", str(path), str(source)], check=True)
        yield HttpLoad(path)
