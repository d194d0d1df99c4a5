"""The doors of settlement from the log: decisions whose market is kept elsewhere, and what could not be worked.

Any method may raise `Outage` or `Fault`, as in `touchline.ports`; only what else can be raised is said below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from touchline.core.facts import Fact
from touchline.core.ids import MarketId
from touchline.core.settlement import Settlement
from touchline.ports import SettlementStore

LETTERS_SHOWN_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Progress:
    """A settlement as it stands; `held_up_by` is one of its market before it that is not carried out."""

    settlement: Settlement
    held_up_by: int | None


class DecisionStore(SettlementStore, Protocol):
    """Decisions on markets that have another authority; the log tells of each."""

    async def ensure_decided(self, market_id: MarketId) -> None:
        """Make sure that a market's status at its authority is what its standing settlements make of it.

        Raises:
            Rejection: MARKET_NOT_FOUND.
        """

    async def progress(self, settlement: Settlement) -> Progress:
        """Return how far a settlement is."""

    async def begin(self, settlement: Settlement, bets: int) -> None:
        """Put on record how many bets there are to work, once."""

    async def tell_untold(self) -> int:
        """Tell the log of unfinished settlements that it has no fact of, and return how many.

        They are another architecture's.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A fact that a consumer could not work, and why; `market_id` and `settlement_id` are its settlement's."""

    letter_id: int
    consumer: str
    shard: int
    seq: int
    fact_id: UUID
    why: str
    failed_at: datetime
    attempts: int
    market_id: MarketId | None
    settlement_id: int | None


class DeadLetters(Protocol):
    """Facts that could not be worked, kept for a person to look at and to be tried again."""

    async def bury(self, consumer: str, fact: Fact, why: str, at: datetime) -> None:
        """Keep a fact that `consumer` could not work; once more the same, it counts the attempts."""

    async def resolve(self, consumer: str, fact_id: UUID, at: datetime) -> None:
        """Put on record that a fact is worked now; nothing where it was not kept."""

    async def waiting(self, limit: int) -> Sequence[DeadLetter]:
        """Return the letters that are not resolved, in the order of their facts, at most `limit`."""

    async def replay(self, letter_id: int, at: datetime) -> bool:
        """Tell the log of a decision once more, so that its consumer tries again; False: no such letter waits."""
