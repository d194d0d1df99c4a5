"""One part kept running: started again, after a pause that grows while it keeps dying, until it is told to stop.

Invariant: at most one process of a part is alive, and it has the same address each time.
"""

import asyncio
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

import msgspec

from touchline.runtime.process import Child, PartFailed, ending, trim

FIRST_PAUSE_S: Final = 0.1
PAUSE_MAX_S: Final = 10.0
STABLE_S: Final = 30.0  # a part that ran this long begins again with the first pause


class State(StrEnum):
    """Where a part is in its life."""

    STARTING = "starting"
    READY = "ready"
    DOWN = "down"  # it ended by itself and is about to be started again
    STOPPED = "stopped"


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a person who watches is told about a part."""

    part: str
    state: State
    detail: str = ""


Tell = Callable[[Notice], None]


class Part(Protocol):
    """Something that can be started, at one address."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def port(self) -> int:
        """Where it listens."""

    @property
    def log(self) -> Path:
        """Where its output goes."""

    async def start(self) -> Child:
        """Start it and return once it serves; raises `PartFailed`."""

    async def healthy(self) -> bool:
        """Tell whether it serves now."""


class Kept:
    """A part that is kept running."""

    def __init__(self, part: Part, tell: Tell) -> None:
        self.part = part
        self.state = State.STOPPED
        self.restarts = 0  # those that nobody asked for
        self.child: Child | None = None
        self._tell = tell
        self._keeping: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start the part and keep it running from now on.

        Raises:
            PartFailed: it does not come up this first time.
        """
        self._turn(State.STARTING)
        try:
            self.child = await self._start()
        except BaseException:
            self.state = State.STOPPED
            raise
        self._turn(State.READY)
        self._keeping = asyncio.create_task(self._keep(self.child))

    async def stop(self) -> None:
        """Stop the part, and keep it stopped."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            self._keeping = None
        if self.child is not None:
            await self.child.stop()
            self.child = None
        if self.state is not State.STOPPED:
            self._turn(State.STOPPED)

    async def replace(self) -> None:
        """Stop the part and start it anew, because somebody asked.

        Raises:
            PartFailed: it does not come up at once; it is started again until it does.
        """
        await self.stop()
        try:
            await self.begin()
        except PartFailed as failed:
            self._keeping = asyncio.create_task(self._keep_failed(failed.why))
            raise

    def signal(self, number: signal.Signals) -> None:
        """Send the part's process a signal; nothing where there is none."""
        if self.child is not None:
            self.child.signal(number)

    def trim_log(self) -> None:
        """Move the part's log aside where it is full."""
        trim(self.part.log)

    async def _keep_failed(self, why: str) -> None:
        await self._keep(*await self._again(why, FIRST_PAUSE_S))

    async def _keep(self, child: Child, pause_s: float = FIRST_PAUSE_S) -> None:
        while True:
            status = await child.wait()
            if child.uptime_s > STABLE_S:
                pause_s = FIRST_PAUSE_S
            child, pause_s = await self._again(f"ended with {ending(status)}", pause_s)

    async def _again(self, why: str, pause_s: float) -> tuple[Child, float]:
        while True:
            self.child = None
            self._turn(State.DOWN, f"{why}; started again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)
            self.restarts += 1
            try:
                self.child = await self._start()
            except PartFailed as failed:
                why = failed.why
                continue
            self._turn(State.READY, f"after {self.restarts} restarts")
            return self.child, pause_s

    async def _start(self) -> Child:
        try:
            return await self.part.start()
        except PartFailed:
            raise
        except Exception as wrong:  # a full disk, as a rule; whatever it is, who keeps the part must go on trying
            raise PartFailed(self.part.name, f"{wrong}", remedy="mend that, then start again") from wrong

    def _turn(self, state: State, detail: str = "") -> None:
        self.state = state
        self._tell(Notice(self.part.name, state, detail))
