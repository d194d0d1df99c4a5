"""Being told of what others commit: LISTEN on a connection of its own, outside the pool.

Invariant: after an outage the listener begins anew, and its reader with it, so that nothing told meanwhile is
missed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from touchline.adapters.postgres.database import AWAY, in_our_terms
from touchline.core.errors import Outage

TOLD_MAX: Final = 10_000
CONNECT_TIMEOUT_S: Final = 5


class Listener:
    """What is told on one channel, in order; `connection` may be asked while listening."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._told: asyncio.Queue[str | None] = asyncio.Queue(TOLD_MAX)
        self._lost = False

    async def next(self, idle_s: float) -> str | None:
        """Return what is told next; None where that is nothing for `idle_s`, so that what could be missed is
        looked for.

        Raises:
            Outage: the connection is lost, or more than `TOLD_MAX` wait to be read.
        """
        try:
            async with asyncio.timeout(idle_s):
                told = None if self._lost else await self._told.get()
        except TimeoutError:
            return None
        if self._lost:
            raise Outage("PostgreSQL")
        return told

    def hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        """Take one notification in."""
        try:
            self._told.put_nowait(str(payload))
        except asyncio.QueueFull:
            self._lost = True

    def lose(self, _connection: object) -> None:
        """Wake the reader: the connection is gone."""
        self._lost = True
        if not self._told.full():
            self._told.put_nowait(None)


class Waker(Listener):
    """A listener for whom it is enough to be woken: while a wake waits, what is told adds nothing."""

    def hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        """Take one notification in, unless one waits already."""
        if self._told.empty():
            self._told.put_nowait(str(payload))


@asynccontextmanager
async def listening(dsn: str, channel: str, kind: type[Listener] = Listener) -> AsyncIterator[Listener]:
    """Listen on `channel` from now on.

    Raises:
        Outage: there is no connection, or it is lost.
    """
    try:
        connection = await asyncpg.connect(
            dsn, timeout=CONNECT_TIMEOUT_S, server_settings={"application_name": f"{channel} listener"}
        )
    except AWAY as away:
        raise Outage("PostgreSQL") from away
    try:
        listener = kind(connection)
        connection.add_termination_listener(listener.lose)
        await connection.add_listener(channel, listener.hear)
        yield listener
    except (*AWAY, asyncpg.PostgresError) as error:
        raise in_our_terms(error) from error
    finally:
        await _close(connection)


async def _close(connection: Any) -> None:
    try:
        await connection.close(timeout=1)
    except AWAY:
        connection.terminate()
