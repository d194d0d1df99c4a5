"""What a process of the platform's own does: one role of the architecture that the settings choose.

Invariant: it is told everything by `TOUCHLINE_*` in its environment, and imports what its role needs and no more:
four or more of these start at once.
"""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final, Protocol, cast

from touchline.architectures.parts import PREPARE, Listening, Serve
from touchline.architectures.settings import Settings, SettingsWrong, read_settings
from touchline.core.errors import Outage

USAGE: Final = "a role, a port and, for what is pushed, another port are needed"


class UnknownRole(Exception):
    """The architecture has no such role; the message lists those that it has."""


class Architecture(Protocol):
    """What a module of `touchline.architectures` offers."""

    ROLES: Mapping[str, Serve]

    def prepare(self, settings: Settings) -> None:
        """Bring the servers into the state that this code needs, and return."""


def run_role(settings: Settings, role: str, listening: Listening) -> None:
    """Be `role` until told to stop (SIGTERM); blocks. `prepare` takes no port and ends when it is done.

    Raises:
        UnknownRole: the architecture has no such role.
    """
    architecture = _architecture(settings)
    if role == PREPARE:
        architecture.prepare(settings)
        return
    serve = architecture.ROLES.get(role)
    if serve is None:
        known = ", ".join((PREPARE, *architecture.ROLES))
        raise UnknownRole(f"{settings.architecture} has no role {role}: it has {known}")
    serve(settings, listening)


def main(arguments: list[str]) -> int:
    """Be the role that `arguments` name (a role, its ports); returns the exit status."""
    role, *ports = arguments or [""]
    if not 1 <= len(ports) <= 2 or not all(port.isdecimal() for port in ports):
        sys.stderr.write(f"{USAGE}\n")
        return 2
    service_port, stream_port = (*map(int, ports), 0)[:2]
    try:
        run_role(read_settings(os.environ), role, Listening(service_port, stream_port))
    except UnknownRole as unknown:
        sys.stderr.write(f"{unknown}\n")
        return 2
    except SettingsWrong as wrong:
        sys.stderr.write("\n".join(wrong.problems) + "\n")
        return 2
    except Outage as away:
        sys.stderr.write(f"{away}\n")
        return 1
    return 0


def _architecture(settings: Settings) -> Architecture:
    """Import the architecture that is chosen, and no other."""
    return cast(Architecture, import_module(f"touchline.architectures.{settings.architecture}"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
