"""Generator processes: started together, each with its share of the users, heard until all of them have ended.

Invariant: no generator outlives its crowd; one that fails ends the run.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from touchline.lab.generator import Orders
from touchline.lab.samples import Sample

LINE_BYTES_MAX: Final = 64 * 2**20
TOLD_MAX: Final = 2_000
STOP_TIMEOUT_S: Final = 20.0

_samples: Final = msgspec.json.Decoder(list[Sample])


class GeneratorFailed(Exception):
    """A generator ended with an error; the message is the end of what it said."""


def shares(orders: Orders, generators: int) -> list[Orders]:
    """Return the orders of each of `generators` processes, or of fewer where there are fewer users."""
    generators = max(1, min(generators, orders.users))
    bounds = [orders.users * number // generators for number in range(generators + 1)]
    return [
        msgspec.structs.replace(orders, first_user=orders.first_user + low, users=high - low)
        for low, high in pairwise(bounds)
    ]


class Crowd:
    """Generators at work."""

    def __init__(
        self, children: Sequence[asyncio.subprocess.Process], hear: Callable[[list[Sample]], None]
    ) -> None:
        self._children = children
        self._tasks = [asyncio.create_task(_hear(child, hear)) for child in children]

    @classmethod
    async def gather(cls, orders: Sequence[Orders], hear: Callable[[list[Sample]], None]) -> "Crowd":
        """Start a process for each of `orders`; `hear` is called with what they tell."""
        children = []
        for each in orders:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "touchline.lab.generator",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )
            children.append(child)
            if child.stdin is not None:
                child.stdin.write(msgspec.json.encode(each) + b"\n")
        return cls(children, hear)

    def pids(self) -> dict[str, int]:
        """Return the process id of each generator."""
        return {f"generator-{number}": child.pid for number, child in enumerate(self._children, start=1)}

    def end(self) -> None:
        """Let them end early: what is under way is still waited for."""
        for child in self._children:
            if child.stdin is not None:
                child.stdin.close()

    async def ended(self) -> None:
        """Wait until all have ended.

        Raises:
            GeneratorFailed: one did not end as it should.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """End what is left at once."""
        for child in self._children:
            if child.returncode is None:
                child.terminate()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for child in self._children:
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await child.wait()
            except TimeoutError:
                child.kill()


async def _hear(child: asyncio.subprocess.Process, hear: Callable[[list[Sample]], None]) -> None:
    if child.stdout is None or child.stderr is None:
        return
    said = asyncio.create_task(child.stderr.read())
    try:
        async for line in child.stdout:
            hear(_samples.decode(line))
        await child.wait()
        if child.returncode != 0:
            told = (await said).decode(errors="replace").strip()[-TOLD_MAX:]
            raise GeneratorFailed(f"a load generator ended with status {child.returncode}: {told}")
    finally:
        said.cancel()
