"""The log of facts as PostgreSQL holds it: the table of facts, read by shard and place.

Invariants: a shard's places are given out under the lock of its row, which is held until the commit, so that
whoever sees a fact sees every one before it: no consumer passes over what is committed late. A group's offset in a
shard is moved only over the connection that holds the shard for it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from time import monotonic
from typing import Any, Final

import asyncpg

from touchline.adapters.offsets import Offset, fair_share, to_let_go
from touchline.adapters.postgres.database import AWAY, COMMAND_TIMEOUT_S, Database, in_our_terms
from touchline.adapters.postgres.listening import Waker, listening
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import fact_of
from touchline.core.errors import Fault
from touchline.core.facts import Fact
from touchline.ports.stream import FACTS_AT_ONCE_MAX, Delivery

CHANNEL: Final = "facts"
LOOK_AGAIN_AFTER_S: Final = 1.0  # for facts whose notification was lost, and for shards that nobody holds any more
_QUERIES: Final = Queries("fact_log.sql")


class PostgresFactLog:
    """The `FactLog` port; `shards` names those that are read, None all of them."""

    def __init__(self, database: Database, shards: Collection[int] | None = None) -> None:
        self._database = database
        self._shards = shards

    async def consume(self, group: str) -> AsyncIterator[Delivery]:
        """See `ports.FactLog`. What is delivered together is of one shard."""
        async with listening(self._database.dsn, CHANNEL, Waker) as listener:
            consumer = _Consumer(_Line(listener.connection), group, self._shards)
            await consumer.join()
            while True:
                await consumer.share()
                facts = await consumer.next()
                for shard, of_shard in groupby(facts, attrgetter("shard")):
                    delivered = tuple(of_shard)
                    yield Delivery(delivered, consumer.hand_out(shard, delivered[-1].seq + 1))
                if not facts:
                    await listener.next(LOOK_AGAIN_AFTER_S)

    async def unread(self, group: str) -> int:
        """See `ports.FactLog`. Of shards that are not read none is counted."""
        shards = None if self._shards is None else list(self._shards)
        return int(await self._database.value(_QUERIES["unread"], group, shards))

    async def tail(self) -> AsyncIterator[Sequence[Fact]]:
        """See `ports.FactLog`."""
        async with listening(self._database.dsn, CHANNEL, Waker) as listener:
            line = _Line(listener.connection)
            places = {row["shard"]: row["next_seq"] for row in await self._to_read(line)}
            yield ()
            while True:
                facts = await _read(line, places)
                for fact in facts:
                    places[fact.shard] = fact.seq + 1
                if facts:
                    yield facts
                    continue
                await listener.next(LOOK_AGAIN_AFTER_S)
                for row in await self._to_read(line):
                    places.setdefault(row["shard"], 1)  # one that is new since

    async def _to_read(self, line: "_Line") -> list[Any]:
        return _wanted(await line.fetch("shards", ""), self._shards)


class _Line:
    """A connection of its own, asked by one task at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def fetch(self, name: str, *arguments: object) -> list[Any]:
        """Return the rows of a statement."""
        async with self._turn:
            try:
                rows: list[Any] = await self._connection.fetch(
                    _QUERIES[name], *arguments, timeout=COMMAND_TIMEOUT_S
                )
            except (*AWAY, asyncpg.PostgresError) as error:
                raise in_our_terms(error) from error
            return rows

    async def value(self, name: str, *arguments: object) -> Any:
        """Return the first column of the first row, or None."""
        rows = await self.fetch(name, *arguments)
        return rows[0][0] if rows else None


class _Consumer:
    """One of a group's consumers, and the shards that it holds."""

    def __init__(self, line: _Line, group: str, wanted: Collection[int] | None) -> None:
        self._line = line
        self._group = group
        self._wanted = wanted
        self._held: dict[int, Offset] = {}
        self._leaving: list[int] = []  # held, and to be let go of once all that was handed out is done
        self._shared_at = -LOOK_AGAIN_AFTER_S

    async def join(self) -> None:
        """Be counted among the group's consumers."""
        await self._line.fetch("join_group", self._group)

    async def share(self) -> None:
        """Hold a fair share of the shards, now and then: take those that nobody has, let go of those too many."""
        if monotonic() - self._shared_at < LOOK_AGAIN_AFTER_S:
            return
        self._shared_at = monotonic()
        rows = _wanted(await self._line.fetch("shards", self._group), self._wanted)
        share = fair_share(len(rows), rows[0]["consumers"]) if rows else 0
        self._leaving = to_let_go(self._held, share)
        for shard in self._leaving:
            if self._held[shard].idle:
                del self._held[shard]
                await self._line.fetch("let_go", self._group, shard)
        for row in rows:
            if len(self._held) >= share:
                break
            shard = row["shard"]
            if shard not in self._held and await self._line.value("hold_shard", self._group, shard):
                self._held[shard] = Offset(await self._line.value("offset", self._group, shard) or 1)

    async def next(self) -> Sequence[Fact]:
        """Return the facts that wait, shard by shard."""
        places = {shard: held.next for shard, held in self._held.items() if shard not in self._leaving}
        return await _read(self._line, places)

    def hand_out(self, shard: int, end: int) -> Callable[[], Awaitable[None]]:
        """Note what is handed out of a shard; returns what is to be called when it is done."""
        offset = self._held[shard]
        offset.hand_out(end)
        return partial(self._done, shard, offset, end)

    async def _done(self, shard: int, offset: Offset, end: int) -> None:
        moved = offset.done(end)
        if moved is not None:
            await self._line.fetch("done", self._group, shard, moved)


def _wanted(rows: Sequence[Any], wanted: Collection[int] | None) -> list[Any]:
    return [row for row in rows if wanted is None or row["shard"] in wanted]


async def _read(line: _Line, places: dict[int, int]) -> Sequence[Fact]:
    if not places:
        return ()
    of_each = max(1, FACTS_AT_ONCE_MAX // len(places))
    facts = [fact_of(row) for row in await line.fetch("read", list(places), list(places.values()), of_each)]
    for shard, of_shard in groupby(facts, attrgetter("shard")):
        for place, fact in enumerate(of_shard, start=places[shard]):
            if fact.seq != place:
                raise Fault(f"shard {shard} lacks fact {place}")
    return facts
