"""The platform's own processes: pods, workers, gateways, each one role of an architecture.

Invariant: a role is told everything by `TOUCHLINE_*` in its environment; nothing is handed over another way.
"""

import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from touchline.architectures.parts import PREPARE, Process
from touchline.architectures.settings import Settings, to_environ
from touchline.runtime.addresses import free_port, is_free
from touchline.runtime.probes import answers
from touchline.runtime.process import (
    CannotStart,
    Child,
    PartFailed,
    Program,
    ending,
    listens,
    ready,
    start,
    tail,
    to_its_end,
)

READY_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 25
REFUSED: Final = 2  # the exit status of a role that was asked for wrongly


class RolePart:
    """A role in a process of its own, at the same address each time it is started."""

    def __init__(self, process: Process, settings: Settings) -> None:
        self.name = process.name
        self.role = process.role
        self.port = free_port()
        self.stream_port = free_port() if process.streams else 0
        self.log = settings.data_dir / "logs" / f"{process.name}.log"
        self._ports = (self.port, self.stream_port) if process.streams else (self.port,)
        self._program = _program(process, settings, self.log, self._ports)

    async def start(self) -> Child:
        """Start the process and return once it is ready to serve.

        Raises:
            PartFailed: it does not come up, or another program has its port.
        """
        for port in self._ports:
            if not is_free(port):
                raise PartFailed(self.name, f"port {port} is taken by another program", remedy="end that program")
        child = await start(self._program)

        async def serves() -> bool:  # it, and no other program that was quicker to listen there
            return await self.healthy() and listens(child.pid, self.port)

        return await ready(child, serves, READY_TIMEOUT_S, f"see {self.log}, then start again")

    async def healthy(self) -> bool:
        """Tell whether it is ready to serve."""
        return await answers(self.port)


async def prepare(settings: Settings) -> str:
    """Bring the servers into the state that this code needs: the schema, the demo accounts, a warm cache.

    Returns what there is to be warned of, nothing as a rule.

    Raises:
        CannotStart: what is there is not for what was asked.
        PartFailed: it could not be done.
    """
    log = settings.data_dir / "logs" / f"{PREPARE}.log"
    said_before = log.stat().st_size if log.exists() else 0
    status = await to_its_end(_program(Process(PREPARE, PREPARE), settings, log, (0,)))
    if status == REFUSED:
        raise CannotStart((tail(log) or f"{PREPARE} refused and did not say why; see {log}").splitlines()[-1])
    if status != 0:
        raise PartFailed(
            PREPARE,
            f"ended with {ending(status)}",
            remedy=f"see {log}; are TOUCHLINE_POSTGRES and TOUCHLINE_VALKEY right, where they are set?",
            log=log,
        )
    with log.open("rb") as told:
        told.seek(said_before)
        return "; ".join(told.read().decode("utf-8", "replace").splitlines())


def _program(process: Process, settings: Settings, log: Path, ports: tuple[int, ...]) -> Program:
    told = msgspec.structs.replace(settings, shard=process.shard)
    environ = os.environ | to_environ(told) | {"PYTHONUNBUFFERED": "1"}
    argv = (sys.executable, "-P", "-m", "touchline.runtime.role", process.role, *map(str, ports))
    return Program(process.name, argv, log, environ, stop_timeout_s=STOP_TIMEOUT_S)
