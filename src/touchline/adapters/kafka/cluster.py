"""The cluster and the topic that facts go to, and what counts as Kafka being away.

Invariant: every call of a client blocks, so each client is called by one thread of its own, and no event loop
waits for one.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from touchline.core.errors import Fault, Outage

TOPIC: Final = "touchline.facts"
PARTITIONS: Final = 12  # among so many consumers of a group the work can be shared
ANSWER_TIMEOUT_S: Final = 3  # for any broker to answer at all
REQUEST_TIMEOUT_S: Final = 10
KEPT_FOR_EVER: Final = {"retention.ms": "-1", "retention.bytes": "-1"}  # a new group begins at the first fact
FACT_ID: Final = "fact_id"
SHARD: Final = "shard"
KIND: Final = "kind"
# What trying again can't mend: the request itself is wrong.
_WRONG: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError._INVALID_ARG})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Brokers as HOST:PORT, several with commas, and the topic, with its partitions where it is to be made."""

    servers: str
    topic: str = TOPIC
    partitions: int = PARTITIONS

    def configuration(self, **more: str | int | bool) -> dict[str, Any]:
        """Return a client's configuration; `more` are its options, with underscores for dots."""
        return {
            "bootstrap.servers": self.servers,
            "client.id": "touchline",
            "socket.timeout.ms": REQUEST_TIMEOUT_S * 1_000,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 2,  # what goes wrong is raised, and told by whoever catches it
            **{name.replace("_", "."): value for name, value in more.items()},
        }

    def group_id(self, group: str) -> str:
        """Return what Kafka knows a group of the topic's consumers by."""
        return f"{self.topic}.{group}"

    def make_topic(self) -> None:
        """Make the topic unless it is there; blocks.

        Raises:
            Outage: no broker answers.
        """
        admin = AdminClient(self.configuration())
        topic = NewTopic(self.topic, num_partitions=self.partitions, config=KEPT_FOR_EVER)
        try:
            if self.topic not in admin.list_topics(timeout=ANSWER_TIMEOUT_S).topics:
                admin.create_topics([topic], operation_timeout=REQUEST_TIMEOUT_S)[self.topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise in_our_terms(error.args[0]) from error


class Thread:
    """The one thread that calls a client, so that no two calls of it overlap."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Return what `function` returns there.

        Raises:
            Outage: the client says that Kafka is away.
            Fault: it refuses what it is asked for.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        except KafkaException as error:
            raise in_our_terms(error.args[0]) from error

    def end(self) -> None:
        """Take no more calls; the last one ends by itself."""
        self._executor.shutdown(wait=False)


def in_our_terms(error: KafkaError) -> Outage | Fault:
    """Return what an error of the client is to the platform."""
    if error.code() in _WRONG:
        return Fault(f"Kafka refuses a request: {error.str()}")
    return Outage("Kafka")
