"""Being told of what others commit: LISTEN on a connection of its own, outside the pool.

Invariant: after an outage the listener begins anew, and its reader with it, so that nothing told meanwhile is
missed.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import asyncpg

from touchline.adapters.postgres.database import AWAY
from touchline.core.errors import Outage

TOLD_MAX: Final = 10_000


async def listen(dsn: str, channel: str, idle_s: float) -> AsyncGenerator[tuple[Any, str | None]]:
    """Yield (connection, None) once listening, then (connection, payload) at each notification.

    Where nothing is told for `idle_s` it yields (connection, None) again, so that what could be missed is looked
    for. Where more than `TOLD_MAX` wait to be read, the connection is given up.

    Raises:
        Outage: the connection is lost.
    """
    told: asyncio.Queue[str | None] = asyncio.Queue(TOLD_MAX)
    lost = asyncio.Event()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            told.put_nowait(str(payload))
        except asyncio.QueueFull:
            lost.set()

    try:
        connection = await asyncpg.connect(
            dsn, timeout=5, server_settings={"application_name": f"{channel} listener"}
        )
    except AWAY as away:
        raise Outage("PostgreSQL") from away
    try:
        connection.add_termination_listener(lambda _connection: _wake(lost, told))
        await connection.add_listener(channel, hear)
        payload: str | None = None
        while not lost.is_set():
            yield connection, payload
            payload = await _next(told, idle_s)
        raise Outage("PostgreSQL")
    except AWAY as away:
        raise Outage("PostgreSQL") from away
    finally:
        await _close(connection)


def _wake(lost: asyncio.Event, told: asyncio.Queue[str | None]) -> None:
    lost.set()
    if not told.full():
        told.put_nowait(None)


async def _next(told: asyncio.Queue[str | None], idle_s: float) -> str | None:
    try:
        async with asyncio.timeout(idle_s):
            return await told.get()
    except TimeoutError:
        return None


async def _close(connection: Any) -> None:
    try:
        await connection.close(timeout=1)
    except AWAY:
        connection.terminate()
