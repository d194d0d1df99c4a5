"""The log of facts as Kafka holds it.

Invariant: of a fact that was published twice only the first is delivered, for as long as a partition stays with a
consumer; when another takes over, what is not done comes again to that one.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from time import sleep
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from touchline.adapters.kafka.backlog import Backlog
from touchline.adapters.kafka.cluster import REQUEST_TIMEOUT_S, SHARD, Cluster, Thread
from touchline.adapters.kafka.group import FETCHED_MAX_KIB, GroupConsumer, Partition, Read, poll
from touchline.core.errors import Outage
from touchline.core.facts import Fact
from touchline.ports.stream import FACTS_AT_ONCE_MAX, Delivery
from touchline.wire.facts_v1 import fact_from_wire

LOOKS_MAX: Final = 50  # at a partition that nobody leads yet, its topic being new
LOOK_AGAIN_AFTER_S: Final = 0.1
_NO_LEADER: Final = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART})
SESSION_TIMEOUT_MS: Final = 10_000  # a consumer not heard of for so long is dead, and others take over


class KafkaFactLog:
    """The `FactLog` port; `shards` names those that are read, None all of them."""

    def __init__(
        self, cluster: Cluster, shards: Collection[int] | None = None, session_timeout_ms: int = SESSION_TIMEOUT_MS
    ) -> None:
        self._cluster = cluster
        self._shards = None if shards is None else {str(shard).encode() for shard in shards}
        self._session_timeout_ms = session_timeout_ms
        self._backlogs: dict[str, Backlog] = {}

    async def consume(self, group: str) -> AsyncIterator[Delivery]:
        """See `ports.FactLog`. What is delivered together is of one partition."""
        consumer = GroupConsumer(self._cluster, group, self._session_timeout_ms)
        try:
            await consumer.join()
            while True:
                for partition, of_partition in groupby(await consumer.next(), attrgetter("partition")):
                    if not consumer.has(partition):
                        continue
                    reads = list(of_partition)
                    end = (reads[-1].message.offset() or 0) + 1
                    partition.offset.hand_out(end)
                    done = partial(consumer.done, partition, end)
                    if facts := self._new_of(reads):
                        yield Delivery(facts, done)
                    else:
                        await done()
        finally:
            await consumer.leave()

    async def unread(self, group: str) -> int:
        """See `ports.FactLog`. Facts of shards that are not read are counted too, until they are passed over."""
        if group not in self._backlogs:
            self._backlogs[group] = Backlog(self._cluster, group)
        return await self._backlogs[group].count()

    async def tail(self) -> AsyncIterator[Sequence[Fact]]:
        """See `ports.FactLog`."""
        thread, cluster = Thread("kafka tail"), self._cluster
        consumer = Consumer(
            cluster.configuration(
                group_id=cluster.group_id("tail"),  # the client wants one; nothing is committed
                enable_auto_commit=False,
                queued_max_messages_kbytes=FETCHED_MAX_KIB,
            )
        )
        try:
            partitions = await thread.call(_begin_at_the_end, consumer, cluster)
            yield ()
            while True:
                if facts := self._new_of(await thread.call(poll, consumer, FACTS_AT_ONCE_MAX, partitions.get)):
                    yield facts
        finally:
            await thread.call(consumer.close)
            thread.end()

    def _new_of(self, reads: Sequence[Read]) -> Sequence[Fact]:
        found = ((read.partition, _fact_of(read.message)) for read in reads if self._wants(read.message))
        return tuple(fact for partition, fact in found if partition.is_new(fact))

    def _wants(self, message: Message) -> bool:
        return self._shards is None or dict(message.headers() or {}).get(SHARD) in self._shards


def _fact_of(message: Message) -> Fact:
    return fact_from_wire(message.value() or b"")


def _begin_at_the_end(consumer: Consumer, cluster: Cluster) -> dict[int, Partition]:
    """Read every partition of the topic from where it ends now; blocks."""
    cluster.make_topic()
    numbers = consumer.list_topics(cluster.topic, timeout=REQUEST_TIMEOUT_S).topics[cluster.topic].partitions
    consumer.assign([_end_of(consumer, cluster.topic, number) for number in numbers])
    return {number: Partition(number) for number in numbers}


def _end_of(consumer: Consumer, topic: str, number: int) -> TopicPartition:
    for left in reversed(range(LOOKS_MAX)):
        try:
            place = TopicPartition(topic, number)
            return TopicPartition(topic, number, consumer.get_watermark_offsets(place, REQUEST_TIMEOUT_S)[1])
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER or not left:
                raise
            sleep(LOOK_AGAIN_AFTER_S)
    raise Outage("Kafka")
