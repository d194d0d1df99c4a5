"""How far a group of consumers is behind the end of the topic.

Invariant: it is asked of the brokers by one who does not join the group, so that it is told of a consumer that
hangs, and of a group that has none.
"""

from typing import Final

from confluent_kafka import Consumer, TopicPartition

from touchline.adapters.kafka.cluster import Cluster, Thread

ANSWER_TIMEOUT_S: Final = 0.25  # of each question: whoever watches does not wait for long


class Backlog:
    """What a group has before it in a cluster's topic."""

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._topic = cluster.topic
        self._thread = Thread(f"kafka backlog {group}")
        # Not by an admin client, which ends the whole process where it is asked while no broker is there (2.16).
        configuration = cluster.configuration(group_id=cluster.group_id(group), enable_auto_commit=False)
        self._asking = Consumer(configuration)

    async def count(self) -> int:
        """Return how many messages the group has not committed, in all partitions.

        Raises:
            Outage: no broker answers in time.
        """
        return await self._thread.call(self._count)

    def _count(self) -> int:
        numbers = self._asking.list_topics(self._topic, ANSWER_TIMEOUT_S).topics[self._topic].partitions
        places = [TopicPartition(self._topic, number) for number in numbers]
        if not places:
            return 0  # there is no topic yet
        return sum(map(self._behind, self._asking.committed(places, ANSWER_TIMEOUT_S)))

    def _behind(self, done: TopicPartition) -> int:
        _, end = self._asking.get_watermark_offsets(done, ANSWER_TIMEOUT_S)
        return int(end - max(0, done.offset))  # below 0 where nothing was committed yet
