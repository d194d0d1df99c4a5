"""How far a group of consumers is behind the end of the topic.

Invariant: it is asked of the brokers, not of the group's consumers, so that it is told of one that hangs and of a
group that has none.
"""

from typing import Final

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from touchline.adapters.kafka.cluster import Cluster, Thread

ANSWER_TIMEOUT_S: Final = 0.25  # of each of three questions: whoever watches does not wait for long


class Backlog:
    """What a group has before it in a cluster's topic."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._thread: Thread | None = None
        self._admin: AdminClient | None = None

    async def of(self, group: str) -> int:
        """Return how many messages the group has not committed, in all partitions.

        Raises:
            Outage: no broker answers in time.
        """
        self._thread = self._thread or Thread("kafka backlog")
        return await self._thread.call(self._behind, self._cluster.group_id(group))

    def _behind(self, group_id: str) -> int:
        admin = self._admin = self._admin or AdminClient(self._cluster.configuration())
        topic = self._cluster.topic
        numbers = admin.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic].partitions
        if not numbers:
            return 0  # there is no topic yet
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client has no types for it
        asked = {TopicPartition(topic, number): latest for number in numbers}
        ends = admin.list_offsets(asked, request_timeout=ANSWER_TIMEOUT_S)
        groups = [ConsumerGroupTopicPartitions(group_id)]
        told = admin.list_consumer_group_offsets(groups, request_timeout=ANSWER_TIMEOUT_S)[group_id].result()
        done = {each.partition: each.offset for each in told.topic_partitions or () if each.topic == topic}
        return sum(end.result().offset - max(0, done.get(place.partition, 0)) for place, end in ends.items())
