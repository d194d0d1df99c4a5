"""A platform of a run's own, started, stopped and looked at as an operator does: by the command line.

Invariant: what runs is told by the settings given here and by nothing else; `TOUCHLINE_*` of the caller's own
environment are left out.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

PREFIX: Final = "TOUCHLINE_"
RECORD: Final = "instance.json"
COMMAND_TIMEOUT_S: Final = 180
BREAK_OFF_S: Final = 60
TOLD_LINES_MAX: Final = 20
SECRETS: Final = frozenset({"postgres", "valkey", "token_secret"})  # never written into a run
# What virtual bettors need who share accounts, and what says how much room the pods have.
SETTINGS: Final[Mapping[str, str]] = {
    "architecture": "poll",
    "pods": "3",
    "pool_size": "10",
    "feed": "none",
    "port": "0",
    "bets_per_minute_max": "1000000",
    "velocity_bets": "10000",
    "exposure_max_minor": "1000000000000",
}


class PlatformAway(Exception):
    """The platform is not there, does not start or does not stop; the message says what it said."""


class Part(msgspec.Struct, frozen=True):
    """A process of the platform."""

    name: str
    pid: int
    port: int


class Instance(msgspec.Struct, frozen=True):
    """What runs, as the platform records it in its directory."""

    architecture: str
    address: str
    pid: int  # the supervisor's
    parts: list[Part]
    postgres: str
    valkey: str
    ready: bool


class Platform:
    """A platform in `data_dir`; `settings` stand above `SETTINGS`."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.settings = {**SETTINGS, **(settings or {})}

    @property
    def instance(self) -> Instance:
        """The record of what runs.

        Raises:
            PlatformAway: nothing does.
        """
        try:
            return msgspec.json.decode((self.data_dir / RECORD).read_bytes(), type=Instance)
        except (OSError, msgspec.DecodeError) as missing:
            raise PlatformAway(f"no platform runs in {self.data_dir}") from missing

    @property
    def told_settings(self) -> dict[str, str]:
        """The settings as a run records them: no addresses, which may hold a password."""
        told = {name: value for name, value in self.settings.items() if "://" not in value}
        return {name: value for name, value in told.items() if name not in SECRETS}

    async def start(self, settings: Mapping[str, str] | None = None, *, fresh: bool = False) -> None:
        """Start it, with `settings` above its own from now on.

        Raises:
            PlatformAway: it does not start.
        """
        self.settings |= settings or {}
        await self._run("up", "--detach", *(["--fresh"] if fresh else []))

    async def stop(self) -> None:
        """Stop it; nothing happens where it does not run.

        Raises:
            PlatformAway: it does not stop.
        """
        await self._run("down")

    def pids(self) -> dict[str, int]:
        """Return the process id of each part, and of the supervisor.

        Raises:
            PlatformAway: nothing runs.
        """
        instance = self.instance
        return {part.name: part.pid for part in instance.parts} | {"supervisor": instance.pid}

    async def rebuilt(self) -> str | None:
        """Fold the facts anew and compare; return None where that gives what stands, else what was said of it."""
        try:
            await self._run("rebuild", "--verify")
        except PlatformAway as differs:
            return str(differs)
        return None

    async def healthy(self) -> bool:
        """Tell whether every part answers."""
        try:
            await self._run("status")
        except PlatformAway:
            return False
        return True

    async def _run(self, *arguments: str) -> None:
        argv = ["-m", "touchline.cli", *arguments, "--data-dir", str(self.data_dir)]
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *argv,
            env=self._environ(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                said, _ = await child.communicate()
        except TimeoutError:
            await _break_off(child)
            raise PlatformAway(f"touchline {arguments[0]} took over {COMMAND_TIMEOUT_S} s") from None
        except asyncio.CancelledError:
            await _break_off(child)
            raise
        if child.returncode != 0:
            told = said.decode(errors="replace").strip().splitlines()[-TOLD_LINES_MAX:]
            raise PlatformAway(f"touchline {arguments[0]} failed: " + "\n".join(told))

    def _environ(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        ours = {PREFIX + name.upper(): value for name, value in self.settings.items()}
        return {**others, **ours, "COLUMNS": "160"}


async def _break_off(child: asyncio.subprocess.Process) -> None:
    """End a command as Ctrl-C does: one that starts a platform stops what it has started."""
    with suppress(ProcessLookupError):
        child.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(BREAK_OFF_S):
            await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
