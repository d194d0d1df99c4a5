"""The platform's own processes: pods, the feed worker, the settlement worker, each one role of an architecture.

Invariant: a role is told everything by `TOUCHLINE_*` in its environment; nothing is handed over another way.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Final, Literal, Protocol, cast, get_args

from touchline.architectures.settings import Settings, to_environ
from touchline.runtime.addresses import free_port
from touchline.runtime.probes import answers, client
from touchline.runtime.process import Child, PartFailed, Program, ending, ready, start

READY_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 25

Role = Literal["prepare", "pod", "feed", "settlement"]
ROLES: Final[tuple[str, ...]] = get_args(Role)


class Architecture(Protocol):
    """What a module of `touchline.architectures` offers; each call blocks until the process is told to stop."""

    def prepare(self, settings: Settings) -> None:
        """Bring the servers into the state that this code needs, and return."""

    def serve_pod(self, settings: Settings, port: int) -> None:
        """Answer clients."""

    def serve_feed(self, settings: Settings, port: int) -> None:
        """Bring odds in."""

    def serve_settlement(self, settings: Settings, port: int) -> None:
        """Carry settlements out."""


def run_role(settings: Settings, role: Role, port: int) -> None:
    """Be `role` until told to stop (SIGTERM); blocks. `prepare` takes no port and ends when it is done."""
    architecture = _architecture(settings)
    if role == "prepare":
        architecture.prepare(settings)
    elif role == "pod":
        architecture.serve_pod(settings, port)
    elif role == "feed":
        architecture.serve_feed(settings, port)
    else:
        architecture.serve_settlement(settings, port)


class RolePart:
    """A role in a process of its own, at the same address each time it is started."""

    def __init__(self, name: str, role: Role, settings: Settings) -> None:
        self.name = name
        self.port = free_port()
        self.log = settings.data_dir / "logs" / f"{name}.log"
        self._program = _program(name, role, settings, self.log, ("--port", str(self.port)))

    async def start(self) -> Child:
        """Start the process and return once it is ready to serve.

        Raises:
            PartFailed: it does not come up.
        """
        child = await start(self._program)
        async with client() as http:
            return await ready(
                child, lambda: answers(http, self.port), READY_TIMEOUT_S, f"see {self.log}, then start again"
            )

    async def healthy(self) -> bool:
        """Tell whether it is ready to serve."""
        async with client() as http:
            return await answers(http, self.port)


async def prepare(settings: Settings) -> None:
    """Bring the servers into the state that this code needs: the schema, the demo accounts, a warm cache.

    Raises:
        PartFailed: it could not be done.
    """
    log = settings.data_dir / "logs" / "prepare.log"
    child = await start(_program("prepare", "prepare", settings, log, ()))
    try:
        status = await child.wait()
    except BaseException:
        await child.stop()
        raise
    if status != 0:
        raise PartFailed(
            "prepare",
            f"ended with {ending(status)}",
            remedy=f"see {log}; are TOUCHLINE_POSTGRES and TOUCHLINE_VALKEY right, where they are set?",
            log=log,
        )


def _program(name: str, role: Role, settings: Settings, log: Path, arguments: tuple[str, ...]) -> Program:
    environ = os.environ | to_environ(settings) | {"PYTHONUNBUFFERED": "1"}
    argv = (sys.executable, "-P", "-m", "touchline.cli", "role", role, *arguments)
    return Program(name, argv, log, environ, stop_timeout_s=STOP_TIMEOUT_S)


def _architecture(settings: Settings) -> Architecture:
    """Import the architecture that is chosen, and no other."""
    return cast(Architecture, import_module(f"touchline.architectures.{settings.architecture}"))
