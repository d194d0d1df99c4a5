"""Connections lent from one borrower to the next past the driver's pool, which spends a task on each.

Invariant: no more connections are out of the pool, lent or kept, than it has room for; of those who wait the first
gets the next. One that broke, or whose borrower failed, goes back to the pool, which makes another in its place.
"""

import asyncio
from collections import deque
from typing import Any, Final

import asyncpg

from touchline.core.errors import Outage

# How often a connection is lent on before the pool sees it again, which counts its queries and renews it.
LENT_ON_MAX: Final = 1_000


class Lending:
    """The connections of a pool of `size`; at most `waiters_max` wait for one, each `wait_s` at most."""

    def __init__(self, pool: asyncpg.Pool, size: int, waiters_max: int, wait_s: float) -> None:
        self.lent = 0
        self._pool = pool
        self._size = size
        self._waiters_max = waiters_max
        self._wait_s = wait_s
        self._out = 0  # of the pool
        self._kept: list[Any] = []  # the one used last is last, and is lent first
        self._lent_on = 0
        self._waiters: deque[asyncio.Future[Any]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for a connection."""
        return len(self._waiters)

    async def borrow(self) -> Any:
        """Return a connection.

        Raises:
            Outage: too many wait already, or none is to be had in time.
            TimeoutError, OSError, asyncpg.PostgresError: one can't be made.
        """
        while self._kept:
            kept = self._kept.pop()
            if _is_whole(kept):
                self.lent += 1
                return kept
            await self._to_pool(kept)
        if self._out < self._size:
            self._out += 1
        elif (handed := await self._wait()) is not None:
            return handed
        return await self._from_pool()

    async def give_back(self, connection: Any, *, is_as_it_was: bool) -> None:
        """Take back what `borrow` returned; `is_as_it_was` where its borrower has not failed."""
        self.lent -= 1
        if is_as_it_was and _is_whole(connection):
            self._lent_on += 1
            if self._lent_on < LENT_ON_MAX:
                self._hand_on(connection)
                return
            self._lent_on = 0
        await self._to_pool(connection)

    async def give_back_kept(self) -> None:
        """Give back to the pool what nobody has."""
        while self._kept:
            await self._to_pool(self._kept.pop())

    def _hand_on(self, connection: Any) -> None:
        if self._tell_first(connection):
            self.lent += 1
        else:
            self._kept.append(connection)

    async def _wait(self) -> Any:
        """Return a connection that is handed on, or None where the pool has room."""
        if len(self._waiters) >= self._waiters_max:
            raise Outage("PostgreSQL: every connection is taken")
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._wait_s):
                return await waiter
        except BaseException:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.cancelled():  # it was handed to one who has gone
                self._pass_on(waiter.result())
            raise

    def _pass_on(self, handed: Any) -> None:
        if handed is None:
            self._make_room()
        else:
            self.lent -= 1
            self._hand_on(handed)

    async def _from_pool(self) -> Any:
        """Return a connection for which the room is taken already."""
        try:
            connection = await self._pool.acquire()
        except BaseException:
            self._make_room()
            raise
        self.lent += 1
        return connection

    async def _to_pool(self, connection: Any) -> None:
        try:
            await self._pool.release(connection)
        finally:
            self._make_room()

    def _make_room(self) -> None:
        if not self._tell_first(None):  # else the room is his
            self._out -= 1

    def _tell_first(self, handed: Any) -> bool:
        """Hand something to the first who waits; False where nobody does."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():  # else he has gone, and will see it in his turn
                waiter.set_result(handed)
                return True
        return False


def _is_whole(connection: Any) -> bool:
    try:
        return not connection.is_closed() and not connection.is_in_transaction()
    except asyncpg.InterfaceError:  # it broke, and the pool has taken it back
        return False
