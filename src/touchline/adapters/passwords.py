"""Passwords, kept as Argon2id hashes only, worked in a few threads so that the event loop never waits.

Invariant: verifying takes the same work whether the username is known or not, so that timing tells nothing.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import argon2

from touchline.core.errors import Fault, Outage

# RFC 9106, section 4: the second recommended option, for where memory is dear.
TIME_COST: Final = 3
MEMORY_COST_KIB: Final = 64 * 1024
LANES: Final = 4

HASHES_AT_ONCE_MAX: Final = 2  # each takes the memory above
HASHES_WAITING_MAX: Final = 100  # more answer an Outage: try again

Answer = TypeVar("Answer")


class Passwords:
    """Hashes passwords and verifies them; a process needs one."""

    def __init__(self, time_cost: int = TIME_COST, memory_cost_kib: int = MEMORY_COST_KIB) -> None:
        self._hasher = argon2.PasswordHasher(
            time_cost=time_cost, memory_cost=memory_cost_kib, parallelism=LANES, type=argon2.Type.ID
        )
        self._hash_of_nobody = self._hasher.hash("nobody's password")
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE_MAX, thread_name_prefix="passwords")
        self._asked = 0

    async def hash_password(self, password: str) -> str:
        """Return the hash of `password`, with its salt and parameters (the PHC string format).

        Raises:
            Outage: too many wait already.
        """
        return await self._work(lambda: self._hasher.hash(password))

    async def verify_password(self, password_hash: str | None, password: str) -> bool:
        """Tell whether `password` is the one hashed; None as the hash, where nobody has it, is as slow and False.

        Raises:
            Outage: too many wait already.
            Fault: what is kept as the hash is none.
        """
        hashed = self._hash_of_nobody if password_hash is None else password_hash
        matches = await self._work(lambda: self._matches(hashed, password))
        return matches and password_hash is not None

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except argon2.exceptions.VerifyMismatchError:
            return False
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError) as wrong:
            raise Fault("a password's hash can't be read") from wrong

    async def _work(self, work: Callable[[], Answer]) -> Answer:
        if self._asked >= HASHES_AT_ONCE_MAX + HASHES_WAITING_MAX:
            raise Outage("password hashing")
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._asked -= 1
