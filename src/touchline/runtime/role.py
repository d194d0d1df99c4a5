"""What a process of the platform's own does: one role of the architecture that the settings choose.

Invariant: it is told everything by `TOUCHLINE_*` in its environment, and imports what its role needs and no more:
four or more of these start at once.
"""

import os
import sys
from importlib import import_module
from typing import Final, Literal, Protocol, cast, get_args

from touchline.architectures.settings import Settings, SettingsWrong, read_settings
from touchline.core.errors import Outage

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


def main(arguments: list[str]) -> int:
    """Be the role that `arguments` name (a role, a port); returns the exit status."""
    if len(arguments) != 2 or arguments[0] not in ROLES or not arguments[1].isdecimal():
        sys.stderr.write(f"a role ({', '.join(ROLES)}) and a port are needed\n")
        return 2
    try:
        run_role(read_settings(os.environ), cast(Role, arguments[0]), int(arguments[1]))
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
