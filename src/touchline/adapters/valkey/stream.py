"""Odds as their authority in Valkey changes them: pushed, and whatever a push has missed read by its cursor.

Invariant: changes are yielded in the order of their cursors, none left out but for a later one of the same market
or event; where a cursor does not follow the last one, or the authority is further on, what is missing is read.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from touchline.adapters.valkey import records
from touchline.adapters.valkey.connection import Valkey
from touchline.core.delivery import (
    DECIDED_MAX,
    ENDED_MAX,
    Change,
    EventChanged,
    Image,
    MarketChanged,
)
from touchline.core.errors import Fault, Outage
from touchline.ports.stream import CHANGES_AT_ONCE_MAX

HEARTBEAT_S: Final = 0.5
RETRY_S: Final = 0.2
WAITING_MAX: Final = 10_000  # pushed and not taken yet; beyond, they are read by their cursors

Early = Callable[[str, Change], None]


class ValkeyOddsStream:
    """The `OddsStream` port, for one follower. `timeout_ms` is how long the authority may be silent.

    `early` is given each change, with its epoch, as soon as it is pushed, before the follower's turn to take it.
    """

    def __init__(self, url: str, timeout_ms: int) -> None:
        self._valkey = Valkey(url, timeout_ms, records.CHANNEL, self._push)
        self._since = self._valkey.script("since.lua")
        self._pushed = deque[tuple[str, Change]]()
        self.early: Early | None = None
        self._missed = True  # something may have been published that was not pushed
        self._news = asyncio.Event()
        self._epoch = ""
        self._cursor = 0

    async def close(self) -> None:
        """Close the connection."""
        await self._valkey.close()

    async def follow(self) -> AsyncIterator[Image | Sequence[Change]]:
        """See `ports.stream.OddsStream`. Following again begins anew, with an image."""
        self._epoch, self._cursor, self._missed = "", 0, True
        while True:
            try:
                if self._missed:
                    async for found in self._catch_up():
                        yield found
                elif self._pushed:
                    yield self._take()
                elif not await self._wait():
                    await self._look()
                    if not self._missed and not self._pushed:
                        yield ()
            except Outage:
                self._missed = True
                await asyncio.sleep(RETRY_S)

    def _push(self, message: bytes | None) -> None:
        if message is None or len(self._pushed) >= WAITING_MAX:
            self._missed = True
        else:
            epoch, kind, record = message.split(b" ", 2)
            pushed = epoch.decode(), records.change_of(kind, record)
            self._pushed.append(pushed)
            if self.early is not None:
                self.early(*pushed)
        self._news.set()

    async def _wait(self) -> bool:
        """Wait for a push, but not longer than a heartbeat; tells whether there was one."""
        self._news.clear()
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                return await self._news.wait()
        except TimeoutError:
            return False

    async def _look(self) -> None:
        """Ask the authority where it is: all that it has published until then is pushed before the answer."""
        epoch, cursor = await self._valkey.call("MGET", records.EPOCH, records.CURSOR)
        if epoch is None:
            raise Outage("the odds' authority")
        if not self._pushed and (epoch.decode(), int(cursor)) != (self._epoch, self._cursor):
            self._missed = True

    def _take(self) -> Sequence[Change]:
        """Return the changes pushed so far that follow the last one."""
        changes = list[Change]()
        while self._pushed and len(changes) < CHANGES_AT_ONCE_MAX:
            epoch, change = self._pushed.popleft()
            if epoch != self._epoch:
                self._missed = True
                break
            if change.cursor <= self._cursor:
                continue
            if change.cursor != self._cursor + 1:
                self._missed = True
                break
            changes.append(change)
            self._cursor = change.cursor
        return changes

    async def _catch_up(self) -> AsyncIterator[Image | Sequence[Change]]:
        """Yield what came after the last change, or all that there is where that was of another epoch."""
        self._missed = False
        self._pushed.clear()
        more, shown, after, epoch = True, list[Change](), self._cursor, self._epoch
        while more:
            now, upto, more, changes = await self._read(after, whole=epoch != self._epoch or not epoch)
            if now != epoch:  # cursors mean nothing any more: from the beginning
                epoch, shown, after, more = now, [], 0, True
                continue
            after = upto
            if epoch != self._epoch:
                shown += changes
                continue
            self._cursor = upto
            if changes:
                yield changes
        if epoch != self._epoch:
            self._epoch, self._cursor = epoch, after
            yield _image(epoch, after, shown)

    async def _read(self, after: int, whole: bool) -> tuple[str, int, bool, list[Change]]:
        # Of what is over an image has the latest; who goes on is told of all, as it was not over when he saw it.
        over = (DECIDED_MAX, ENDED_MAX) if whole else ("", "")
        epoch, upto, more, *found = await self._since([], [after, CHANGES_AT_ONCE_MAX, *over, 1])
        if epoch is None:
            raise Outage("the odds' authority")
        if epoch.decode() == self._epoch and int(upto) < self._cursor:
            raise Fault("the odds' authority has gone back behind what it told")
        changes = [records.change_of(kind, record) for kind, record in zip(found[::2], found[1::2], strict=True)]
        return epoch.decode(), int(upto), more == 1, changes


def _image(epoch: str, cursor: int, changes: Sequence[Change]) -> Image:
    """Return all that there is; of what was read in several pages, each as it was read last."""
    latest = dict[tuple[type, str], Change]()
    for change in changes:
        key = (type(change), change.market_id if isinstance(change, MarketChanged) else change.event.event_id)
        latest.pop(key, None)
        latest[key] = change
    markets = [change for change in latest.values() if isinstance(change, MarketChanged)]
    events = [change for change in latest.values() if isinstance(change, EventChanged)]
    return Image(epoch, cursor, markets, events)
