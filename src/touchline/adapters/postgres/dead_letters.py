"""Facts that could not be worked, in PostgreSQL.

Invariant: a letter stays until its fact is worked; what is replayed is told anew, and the letter with it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries
from touchline.core.facts import Fact, MarketDecided
from touchline.ports.settling import DeadLetter
from touchline.wire.facts_v1 import body_from_wire

WHY_LENGTH_MAX: Final = 2_000
_QUERIES: Final = Queries("dead_letters.sql")


class PostgresDeadLetters:
    """The `DeadLetters` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bury(self, consumer: str, fact: Fact, why: str, at: datetime) -> None:
        """See `ports.DeadLetters`."""
        letter = (consumer, fact.shard, fact.seq, fact.fact_id, why[:WHY_LENGTH_MAX], at)
        await self._database.value(_QUERIES["bury"], *letter)

    async def resolve(self, consumer: str, fact_id: UUID, at: datetime) -> None:
        """See `ports.DeadLetters`."""
        await self._database.value(_QUERIES["resolve"], consumer, fact_id, at)

    async def waiting(self, limit: int) -> Sequence[DeadLetter]:
        """See `ports.DeadLetters`."""
        return [_letter_of(row) for row in await self._database.fetch(_QUERIES["waiting"], limit)]

    async def replay(self, letter_id: int, at: datetime) -> bool:
        """See `ports.DeadLetters`."""
        return bool(await self._database.value(_QUERIES["replay"], letter_id, at))


def _letter_of(row: Any) -> DeadLetter:
    body = body_from_wire(row["kind"], row["body"])
    settlement = body.settlement if isinstance(body, MarketDecided) else None
    return DeadLetter(
        letter_id=row["letter_id"],
        consumer=row["consumer"],
        shard=row["shard"],
        seq=row["seq"],
        fact_id=row["fact_id"],
        why=row["why"],
        failed_at=row["failed_at"],
        attempts=row["attempts"],
        market_id=None if settlement is None else settlement.market_id,
        settlement_id=None if settlement is None else settlement.settlement_id,
    )
