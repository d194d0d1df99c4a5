"""Reaching Valkey (or Redis): a bounded pool, scripts by name, and what counts as its being away."""

from collections.abc import Awaitable
from importlib import resources
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from touchline.core.errors import Outage

CONNECTIONS_MAX: Final = 32  # of one pool; a request that finds none in time goes on without the cache


def connect(url: str, timeout_ms: int) -> Any:
    """Return a client that waits `timeout_ms` at most for a connection, and as long for an answer."""
    timeout_s = timeout_ms / 1000
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=None,
    )
    return Redis(connection_pool=pool)


async def close(valkey: Any) -> None:
    """Close every connection of a client."""
    await valkey.aclose()
    await valkey.connection_pool.disconnect()


async def ask(call: Awaitable[Any]) -> Any:
    """Return the answer.

    Raises:
        Outage: there is none in time, or the server can't give it.
    """
    try:
        return await call
    except (RedisError, OSError, TimeoutError) as away:
        raise Outage("Valkey") from away


def script(name: str) -> str:
    """Return the text of a script beside this module."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")
