"""Facts taken to Kafka: an idempotent producer, whose messages every replica in sync has before they count.

Invariant: what is sent to a partition is there in its order with no hole, whatever happens. So no message is ever
given up alone: the client sends each again for as long as it takes, and where that is too long the whole producer
is dropped with all that it still holds. What was sent already is then published twice, and known by shard and seq.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from touchline.adapters.kafka.cluster import FACT_ID, KIND, SHARD, Cluster, Thread, in_our_terms
from touchline.core.errors import Outage
from touchline.core.facts import AccountOpened, BetAccepted, Body, CarriedOver, Fact, kind_of
from touchline.core.funds import FundsMoved
from touchline.wire.facts_v1 import fact_to_wire

PUBLISH_TIMEOUT_S: Final = 10.0
QUEUED_MAX: Final = 10_000  # messages that a producer holds


class KafkaPublisher:
    """The `FactPublisher` port."""

    def __init__(self, cluster: Cluster, timeout_s: float = PUBLISH_TIMEOUT_S) -> None:
        self._cluster = cluster
        self._timeout_s = timeout_s
        self._thread = Thread("kafka publisher")
        self._producer: Producer | None = None

    async def publish(self, facts: Sequence[Fact]) -> None:
        """See `ports.FactPublisher`. An event's facts are in one partition; those of none, with their player."""
        await self._thread.call(self._publish, facts)

    async def close(self) -> None:
        """Drop the producer; whatever was published is there."""
        await self._thread.call(self._drop)
        self._thread.end()

    def _publish(self, facts: Sequence[Fact]) -> None:
        producer = self._producer or self._begin()
        refused: list[KafkaError] = []

        def told(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                refused.append(error)

        try:
            for fact in facts:
                producer.produce(
                    self._cluster.topic,
                    key=key_of(fact.body),
                    value=fact_to_wire(fact),
                    headers=[
                        (FACT_ID, str(fact.fact_id).encode()),
                        (SHARD, str(fact.shard).encode()),
                        (KIND, kind_of(fact.body).value.encode()),
                    ],
                    on_delivery=told,
                )
            left = producer.flush(self._timeout_s)
        except BufferError:
            left = len(producer)
        except KafkaException:  # after some errors a producer refuses whatever comes, for good
            self._drop()
            raise
        if refused or left:
            self._drop()
            raise in_our_terms(refused[0]) if refused else Outage("Kafka")

    def _begin(self) -> Producer:
        self._cluster.make_topic()
        options: dict[str, Any] = self._cluster.configuration(
            enable_idempotence=True,
            acks="all",
            message_timeout_ms=0,  # for ever: see above
            queue_buffering_max_messages=QUEUED_MAX,
            partitioner="murmur2_random",  # as the other languages' clients
            compression_type="lz4",
        )
        self._producer = Producer(options)
        return self._producer

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            with suppress(KafkaException):  # what made it useless, told once more
                producer.poll(0)


def key_of(body: Body) -> str:
    """Return what facts that are to stay in order have in common: the event, else the player."""
    match body:
        case AccountOpened() | FundsMoved():
            return body.player_id
        case BetAccepted():
            return body.bet.event_id
        case CarriedOver():
            return body.player_id if body.bet is None else body.bet.event_id
        case _:
            return body.event_id
