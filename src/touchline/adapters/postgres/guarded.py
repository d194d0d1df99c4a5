"""PostgreSQL behind a breaker: once it is away nobody waits for it, until a probe has found it back.

Invariant: while the breaker is open nothing reaches PostgreSQL but one probe at a time; the first that is answered
closes it. A server that answers, whatever it answers, is not away.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from touchline.adapters.postgres.database import AWAY, Database
from touchline.adapters.postgres.queries import Queries
from touchline.core.errors import Outage

PROBE_EVERY_S: Final = 0.5
PROBE_TIMEOUT_S: Final = 2.0
# What only a server that is there can say.
_THERE: Final = (
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.QueryCanceledError,
)
# What leaves no doubt that it is away. What is merely late is looked into first.
_GONE: Final = (OSError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)
_QUERIES: Final = Queries("guarded.sql")


class GuardedDatabase(Database):
    """A `Database` whose `connection` is an `Outage` at once while its server is known to be away."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._is_away = False
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        """Whether the server is away, as far as is known."""
        return self._is_away

    async def close(self) -> None:
        """See `Database`."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})
        await super().close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """See `Database`; while the server is known to be away it is an `Outage` at once."""
        if self._is_away:
            raise Outage("PostgreSQL")
        try:
            async with super().connection() as lent:
                yield lent
        except Outage as outage:
            if outage.dependency == "PostgreSQL":
                self._doubt(outage.__cause__)
            raise

    def _doubt(self, cause: BaseException | None) -> None:
        if cause is None or isinstance(cause, _THERE):
            return
        if isinstance(cause, _GONE) and not isinstance(cause, TimeoutError):
            self._is_away = True
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        while not await self._answers():
            self._is_away = True
            await asyncio.sleep(PROBE_EVERY_S)
        self._is_away = False

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                connection = await asyncpg.connect(self.pool_dsn, statement_cache_size=0)
                try:
                    await connection.fetchval(_QUERIES["probe"])
                finally:
                    connection.terminate()
        except (*AWAY, asyncpg.PostgresError):
            return False
        return True
