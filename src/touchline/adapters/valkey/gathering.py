"""Requests that are sent together: what comes in one turn of the loop, or while enough is under way, is one call.

Invariant: nobody waits for others to come: where little is under way, what a turn brought goes out in the next.
An outage is everybody's who waits then, so that nobody waits for the outages of those before him.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from touchline.core.errors import Outage

UNDER_WAY_MAX: Final = 4  # calls; what comes then waits to be gathered
TOGETHER_MAX: Final = 64  # in one call, which keeps everybody else from the server meanwhile
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Gathering(Generic[Asked, Answer]):
    """What `send` does for many, done for one; it returns an answer for each, in order."""

    def __init__(self, send: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]]) -> None:
        self._send = send
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._gathers = False  # whether a call is about to begin, with all that wait then
        self._under_way: set[asyncio.Task[None]] = set()

    def ask(self, asked: Asked) -> asyncio.Future[Answer]:
        """Return the answer to one.

        Raises:
            Outage: it, or one under way before it, was not answered.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, answer))
        self._go_on()
        return answer

    def _go_on(self) -> None:
        if self._waiting and not self._gathers and len(self._under_way) < UNDER_WAY_MAX:
            self._gathers = True
            task = asyncio.get_running_loop().create_task(self._send_next())
            self._under_way.add(task)
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._go_on()

    async def _send_next(self) -> None:
        together = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER_MAX))]
        self._gathers = False
        self._go_on()
        try:
            answers = await self._send([asked for asked, _ in together])
            for (_, future), answer in zip(together, answers, strict=True):
                if not future.done():  # else whoever asked is gone
                    future.set_result(answer)
        except Outage as outage:
            together += self._waiting
            self._waiting.clear()
            for _, future in together:
                if not future.done():
                    future.set_exception(Outage(outage.dependency, outage.retry_after_s))
        except Exception as fault:
            for _, future in together:
                if not future.done():
                    future.set_exception(fault)
