"""Requests that come while others are under way, sent together as the next: one script's call for all of them.

Invariant: nothing waits to be gathered: what comes while little is under way goes out at once. An outage is
everybody's who waits then, so that nobody waits for the outages of those before him.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from touchline.core.errors import Outage

APART_MAX: Final = 4  # calls under way before any is gathered: to gather few costs more than it spares
TOGETHER_MAX: Final = 64  # in one call, which keeps everybody else from the server meanwhile
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Gathering(Generic[Asked, Answer]):
    """What `send` does for many, done for one; it returns an answer for each, in order."""

    def __init__(self, send: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]]) -> None:
        self._send = send
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()  # what sends for those who waited

    async def ask(self, asked: Asked) -> Answer:
        """Return the answer to one.

        Raises:
            Outage: it, or one under way before it, was not answered.
        """
        if self._under_way >= APART_MAX:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting.append((asked, answer))
            return await answer
        self._under_way += 1
        try:
            (only,) = await self._send([asked])
        except Outage as outage:
            self._fail(outage)
            raise
        finally:
            self._go_on()
        return only

    def _go_on(self) -> None:
        self._under_way -= 1
        if self._waiting:
            self._under_way += 1
            together = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER_MAX))]
            task = asyncio.get_running_loop().create_task(self._send_all(together))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_all(self, together: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([asked for asked, _ in together])
            for (_, future), answer in zip(together, answers, strict=True):
                if not future.done():  # else whoever asked is gone
                    future.set_result(answer)
        except Outage as outage:
            self._waiting.extendleft(reversed(together))
            self._fail(outage)
        finally:
            self._go_on()

    def _fail(self, outage: Outage) -> None:
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(Outage(outage.dependency, outage.retry_after_s))
