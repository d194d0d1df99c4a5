"""A log of facts in memory."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from functools import partial

from touchline.adapters.memory.tables import Bell
from touchline.adapters.offsets import Offset, fair_share, to_let_go
from touchline.core.errors import Fault
from touchline.core.facts import Fact
from touchline.ports.stream import FACTS_AT_ONCE_MAX, Delivery


class _Consumer:
    """One consumer of a group, with the shards that it holds."""

    def __init__(self) -> None:
        self.held: dict[int, Offset] = {}


class MemoryFactLog:
    """The `FactLog` port, and `FactPublisher` for what is to be in it."""

    def __init__(self) -> None:
        self._facts: dict[int, list[Fact]] = defaultdict(list)
        self._offsets: dict[tuple[str, int], int] = {}
        self._groups: dict[str, list[_Consumer]] = defaultdict(list)
        self._bell = Bell()

    async def publish(self, facts: Sequence[Fact]) -> None:
        """See `ports.FactPublisher`."""
        for fact in facts:
            shard = self._facts[fact.shard]
            if fact.seq > len(shard) + 1:
                raise Fault(f"shard {fact.shard} lacks fact {len(shard) + 1}")
            if fact.seq == len(shard) + 1:
                shard.append(fact)
        self._bell.ring()

    async def consume(self, group: str) -> AsyncIterator[Delivery]:
        """See `ports.FactLog`."""
        consumer = _Consumer()
        self._groups[group].append(consumer)
        self._bell.ring()  # the others may have to let go of some
        try:
            while True:
                self._share(group, consumer)
                shard, facts = self._next(consumer)
                if not facts:
                    await self._bell.wait()
                    continue
                end = facts[-1].seq + 1
                consumer.held[shard].hand_out(end)
                yield Delivery(facts, partial(self._done, group, consumer, shard, end))
        finally:
            self._groups[group].remove(consumer)
            consumer.held.clear()
            self._bell.ring()

    def _share(self, group: str, consumer: _Consumer) -> None:
        """Let go of shards that another is to have, and take those that nobody holds."""
        consumers = self._groups[group]
        share = fair_share(len(self._facts), len(consumers))
        for shard in to_let_go(consumer.held, share):
            if consumer.held[shard].idle:
                del consumer.held[shard]
                self._bell.ring()
        for shard in self._facts:
            if len(consumer.held) < share and not any(shard in other.held for other in consumers):
                consumer.held[shard] = Offset(self._offsets.get((group, shard), 1))

    def _next(self, consumer: _Consumer) -> tuple[int, Sequence[Fact]]:
        """Return the first facts of those that wait, and their shard."""
        for shard, offset in consumer.held.items():
            first = offset.next - 1
            facts = self._facts[shard][first : first + FACTS_AT_ONCE_MAX]
            if facts:
                return shard, facts
        return 0, ()

    async def _done(self, group: str, consumer: _Consumer, shard: int, end: int) -> None:
        offset = consumer.held.get(shard)
        moved = None if offset is None else offset.done(end)
        if moved is not None:
            self._offsets[group, shard] = moved
        self._bell.ring()  # an idle shard can be let go of

    async def unread(self, group: str) -> int:
        """See `ports.FactLog`."""
        return sum(
            len(facts) + 1 - self._offsets.get((group, shard), 1) for shard, facts in self._facts.items()
        )

    async def tail(self) -> AsyncIterator[Sequence[Fact]]:
        """See `ports.FactLog`."""
        places = {shard: len(facts) for shard, facts in self._facts.items()}
        yield ()
        while True:
            waiting = [
                fact for shard, facts in self._facts.items() for fact in facts[places.get(shard, 0) :]
            ][:FACTS_AT_ONCE_MAX]
            if not waiting:
                await self._bell.wait()
                continue
            for fact in waiting:
                places[fact.shard] = fact.seq
            yield waiting
