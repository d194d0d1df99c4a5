"""Take facts from the log beside the ledger to one that others read: every fact, in order, at least once.

Invariant: the relay's offset moves once the facts are durably in the other log. A crash in between publishes some
again, which does no harm.
"""

from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from touchline.ports.stream import FactLog, FactPublisher

GROUP: Final = "relay"


@dataclass(frozen=True, slots=True)
class FactRelay:
    """From one log to another; several relays share the shards."""

    log: FactLog
    publisher: FactPublisher

    async def run(self) -> None:
        """Relay for ever; an `Outage` of either side passes through, and running again goes on."""
        deliveries: Any = self.log.consume(GROUP)
        async with aclosing(deliveries):
            async for delivery in deliveries:
                await self.publisher.publish(delivery.facts)
                await delivery.done()
