"""A consumer of a Kafka group: what it holds, reads and commits.

Invariants: the client is polled whether or not anyone asks for messages, so that a consumer that works for long is
not taken for dead and holds up no rebalance; an offset of a partition that was taken away meanwhile is never
committed; what is paused goes on once there is room, and no partition goes away paused, for the client would keep
it so when it comes back.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from touchline.adapters.kafka.cluster import Cluster, Thread, in_our_terms
from touchline.adapters.offsets import Offset
from touchline.core.errors import Fault, Outage
from touchline.core.facts import Fact
from touchline.ports.stream import FACTS_AT_ONCE_MAX

POLL_S: Final = 0.05  # whatever else waits for the client's thread waits no longer
HELD_MAX: Final = 2 * FACTS_AT_ONCE_MAX  # messages read and not yet asked for
FETCHED_MAX_KIB: Final = 8 * 1024
# What one is told that is no member of its group any more, or not yet again.
_NO_MEMBER: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,
    }
)
_PASSING: Final = frozenset({KafkaError._MAX_POLL_EXCEEDED, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})


@dataclass(slots=True, eq=False)
class Partition:
    """A partition for as long as a consumer has it without a break."""

    number: int
    offset: Offset = field(default_factory=lambda: Offset(0))
    to_commit: int | None = None  # what could not be committed yet
    paused: bool = False  # as the client has it
    seen: dict[int, int] = field(default_factory=dict)  # the highest seq of each shard

    def is_new(self, fact: Fact) -> bool:
        """Tell whether `fact` comes for the first time: those that do come in order, whoever published them."""
        if fact.seq <= self.seen.get(fact.shard, 0):
            return False
        self.seen[fact.shard] = fact.seq
        return True


@dataclass(frozen=True, slots=True)
class Read:
    """A message, and its partition as it was held then."""

    partition: Partition
    message: Message


class GroupConsumer:
    """One consumer of a group. The client calls back in its thread, the only one to change what is held."""

    def __init__(self, cluster: Cluster, group: str, session_timeout_ms: int) -> None:
        self._cluster = cluster
        self._thread = Thread(f"kafka {group}")
        self._consumer = Consumer(
            cluster.configuration(
                group_id=cluster.group_id(group),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                partition_assignment_strategy="cooperative-sticky",
                session_timeout_ms=session_timeout_ms,
                heartbeat_interval_ms=session_timeout_ms // 4,
                queued_max_messages_kbytes=FETCHED_MAX_KIB,
            )
        )
        self._held: dict[int, Partition] = {}
        self._come: deque[Read] = deque()  # and was not asked for yet
        self._failed: Outage | Fault | None = None
        self._news = asyncio.Event()  # of either
        self._pump: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Join the group.

        Raises:
            Outage: no broker answers.
        """
        await self._thread.call(self._subscribe)
        self._pump = asyncio.create_task(self._keep_polling())

    async def next(self) -> Sequence[Read]:
        """Return the messages that have come, at most `FACTS_AT_ONCE_MAX`: a partition's together, in their order.

        Raises:
            Outage: the group can't be read from for now.
        """
        await self._news.wait()
        if self._failed and not self._come:
            raise self._failed
        come = [self._come.popleft() for _ in range(min(len(self._come), FACTS_AT_ONCE_MAX))]
        if not (self._come or self._failed):
            self._news.clear()
        return sorted(come, key=lambda read: read.partition.number)

    def has(self, partition: Partition) -> bool:
        """Tell whether a partition was not taken away meanwhile."""
        return self._held.get(partition.number) is partition

    async def done(self, partition: Partition, end: int) -> None:
        """Commit what is done of a partition; nothing where another has it now, to whom it comes again."""
        moved = partition.offset.done(end)
        if moved is not None:
            await self._thread.call(self._commit, partition, moved)

    async def leave(self) -> None:
        """Leave the group; what is not done goes to the others."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        await self._thread.call(self._consumer.close)
        self._thread.end()

    async def _keep_polling(self) -> None:
        while self._failed is None:
            try:
                self._come.extend(await self._thread.call(self._poll, HELD_MAX - len(self._come)))
            except (Outage, Fault) as error:
                self._failed = error
            if self._come or self._failed:
                self._news.set()

    # Below, what is called in the client's thread.

    def _subscribe(self) -> None:
        self._cluster.make_topic()
        self._consumer.subscribe(
            [self._cluster.topic], on_assign=self._assigned, on_revoke=self._taken, on_lost=self._taken
        )

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._held |= {partition.partition: Partition(partition.partition) for partition in partitions}

    def _taken(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [partition.partition for partition in partitions if partition.partition in self._held]
        self._pause([self._held.pop(number) for number in numbers], False)

    def _poll(self, room: int) -> Sequence[Read]:
        for partition in self._held.values():
            if partition.to_commit is not None:
                self._commit(partition, partition.to_commit)
        self._pause(self._held.values(), room <= 0)
        return poll(self._consumer, min(max(1, room), FACTS_AT_ONCE_MAX), self._held.get)

    def _pause(self, partitions: Iterable[Partition], paused: bool) -> None:
        turned = [partition for partition in partitions if partition.paused is not paused]
        if turned:
            places = [TopicPartition(self._cluster.topic, partition.number) for partition in turned]
            (self._consumer.pause if paused else self._consumer.resume)(places)
        for partition in turned:
            partition.paused = paused

    def _commit(self, partition: Partition, offset: int) -> None:
        if not self.has(partition):
            return
        try:
            place = TopicPartition(self._cluster.topic, partition.number, offset)
            self._consumer.commit(offsets=[place], asynchronous=False)
            partition.to_commit = None
        except KafkaException as error:
            if error.args[0].code() not in _NO_MEMBER:
                raise
            partition.to_commit = offset  # and tried again, where the partition stays here


def poll(consumer: Consumer, most: int, held: Callable[[int], Partition | None]) -> Sequence[Read]:
    """Return at most so many messages of the partitions that are `held`; waits `POLL_S` for the first; blocks."""
    reads: list[Read] = []
    wait_s = POLL_S
    while len(reads) < most and (message := consumer.poll(wait_s)) is not None:
        wait_s = 0.0
        error = message.error()
        if error is not None:
            if error.code() in _PASSING:
                continue
            raise in_our_terms(error)
        partition = held(message.partition() or 0)
        if partition is not None:
            reads.append(Read(partition, message))
    return reads
