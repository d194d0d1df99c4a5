"""A breaker before a dependency: once it is away nobody waits for it; one a second looks whether it is back.

Invariant: while it is open at most one request every `OPEN_S` reaches the dependency; whatever succeeds closes it.
"""

import time
from types import TracebackType
from typing import Final

from touchline.core.errors import Outage

OPEN_S: Final = 1.0


class Breaker:
    """`with breaker:` around whatever raises an `Outage` where `dependency` is away."""

    def __init__(self, dependency: str) -> None:
        self._dependency = dependency
        self._open_until: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the dependency is away, as far as is known."""
        return self._open_until is not None

    def __enter__(self) -> None:
        """Let a request through.

        Raises:
            Outage: at once, where the dependency is away and somebody looked a moment ago.
        """
        if self._open_until is None:
            return
        now = time.monotonic()
        if now < self._open_until:
            raise Outage(self._dependency)
        self._open_until = now + OPEN_S  # this one looks; the others do not wait for what it finds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Open where it was an `Outage`, close where it succeeded."""
        if isinstance(error, Outage):
            self._open_until = time.monotonic() + OPEN_S
        elif error is None:
            self._open_until = None
