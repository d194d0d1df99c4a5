"""The connection pool, and what counts as PostgreSQL being away.

Invariant: at most `waiters_max` requests wait for a connection, none longer than `wait_s`; beyond that it is an
`Outage`, answered at once, and every connection is usable again without a restart once the server is back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import asyncpg

from touchline.adapters.postgres.lending import Lending
from touchline.core.errors import Fault, Outage

COMMAND_TIMEOUT_S: Final = 15
CLOSE_TIMEOUT_S: Final = 5
LOCK_TIMEOUT_MS: Final = 5_000
STATEMENTS_MAX: Final = 100  # prepared and kept by a connection
QUERIES_MAX: Final = 10_000_000  # of one connection, then a new one takes its place
# What a server that is away, starting, stopping or out of room answers; all are safe to retry with the same key.
AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)


class Database:
    """One PostgreSQL, reached through a bounded pool.

    With a pooler of transactions between, whose connection it is may change with each statement or transaction:
    nothing is kept prepared there, and `dsn` goes past it, for what needs a session.
    """

    def __init__(
        self, pool: asyncpg.Pool, dsn: str, pooler_dsn: str, pool_size: int, waiters_max: int, wait_s: float
    ) -> None:
        self.dsn = dsn
        self.pool_dsn = pooler_dsn or dsn
        self._pool = pool
        self._lending = Lending(pool, pool_size, waiters_max, wait_s)

    @classmethod
    async def connect(
        cls,
        dsn: str,
        *,
        pool_size: int = 10,
        waiters_max: int = 1_000,
        wait_s: float = 5,
        name: str = "touchline",
        pooler_dsn: str = "",
    ) -> Self:
        """Return the database at `dsn`; no connection is made before the first is needed.

        `pooler_dsn` is that of a pooler of transactions before it, empty where there is none.
        """
        session = {"lock_timeout": str(LOCK_TIMEOUT_MS), "jit": "off"}
        if pooler_dsn:
            # What its connections are to have is the pooler's to say: they are nobody's own. The encoding is put
            # as PostgreSQL puts it: else PgBouncer takes asyncpg's for another, and sets it before each statement.
            session = {"client_encoding": "UTF8"}
        pool = await asyncpg.create_pool(
            pooler_dsn or dsn,
            min_size=0,
            max_size=pool_size,
            timeout=wait_s,
            command_timeout=COMMAND_TIMEOUT_S,
            max_inactive_connection_lifetime=0,
            max_queries=QUERIES_MAX,
            reset=_as_it_is,
            server_settings={"application_name": name, **session},
            statement_cache_size=0 if pooler_dsn else STATEMENTS_MAX,
        )
        return cls(pool, dsn, pooler_dsn, pool_size, waiters_max, wait_s)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return int(self._pool.get_size())

    @property
    def in_use(self) -> int:
        """How many connections are at work."""
        return self._lending.lent

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection."""
        return self._lending.waiting

    async def close(self) -> None:
        """Close every connection; those at work are given a moment to end."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._lending.give_back_kept()
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection.

        Raises:
            Outage: none is to be had in time, or the server goes away while it is used.
            Fault: the server or its driver refuses a statement.
        """
        try:
            lent = await self._lending.borrow()
        except AWAY as away:
            raise Outage("PostgreSQL") from away
        is_as_it_was = False
        try:
            yield lent
            is_as_it_was = True
        except (*AWAY, asyncpg.PostgresError) as error:
            raise in_our_terms(error) from error
        finally:
            await self._lending.give_back(lent, is_as_it_was=is_as_it_was)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Lend a connection in a transaction, committed at the end, rolled back on any exception.

        Raises:
            Outage: as `connection`; where the commit's answer was lost, the client's key tells what became of it.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        """Return the rows of one statement."""
        async with self.connection() as connection:
            rows: list[Any] = await connection.fetch(query, *arguments)
            return rows

    async def row(self, query: str, *arguments: object) -> Any:
        """Return the first row of one statement, or None."""
        async with self.connection() as connection:
            return await connection.fetchrow(query, *arguments)

    async def value(self, query: str, *arguments: object) -> Any:
        """Return the first column of the first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchval(query, *arguments)


async def _as_it_is(_connection: object) -> None:
    """Reset nothing: no statement of ours leaves a session changed, and a reset costs a round trip a request."""


def in_our_terms(error: BaseException) -> Outage | Fault:
    """Return what an error of the driver is to the platform."""
    # An argument that does not fit its column is a ValueError, whatever else the driver counts it as.
    if isinstance(error, AWAY) and not isinstance(error, ValueError):
        return Outage("PostgreSQL")
    return Fault(f"PostgreSQL refuses a statement: {error}")
