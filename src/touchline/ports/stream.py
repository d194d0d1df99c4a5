"""The doors that `stream` opens beside the others: odds that are pushed, a ledger in shards, facts in a log.

Any method may raise `Outage` or `Fault`, as in `touchline.ports`; only what else can be raised is said below.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from touchline.core.bet import PlaceBet
from touchline.core.delivery import EventChanged, Image, MarketChanged
from touchline.core.errors import Rejection
from touchline.core.facts import Fact
from touchline.core.funds import FundsMoved, MoveFunds
from touchline.core.ids import MarketId
from touchline.core.settlement import Settlement
from touchline.ports import Balance, Credentials, Placed, Worked

__all__ = [
    "CHANGES_AT_ONCE_MAX",
    "FACTS_AT_ONCE_MAX",
    "Delivery",
    "EventChanged",
    "FactLog",
    "FactPublisher",
    "Image",
    "Ledger",
    "MarketChanged",
    "OddsStream",
    "ShownMarkets",
]

CHANGES_AT_ONCE_MAX: Final = 1_000
FACTS_AT_ONCE_MAX: Final = 1_000


class OddsStream(Protocol):
    """Odds and events as their authority changes them."""

    def follow(self) -> AsyncIterator[Image | Sequence[MarketChanged | EventChanged]]:
        """Yield an image, then changes in the order of their cursors, none left out; for ever.

        After an outage it goes on by itself: with the changes missed, or with a new image where they can't be had.
        An empty sequence says that there was nothing for a while and that the authority was heard of.
        """


class ShownMarkets(Protocol):
    """What is offered as the bytes that go out, read from memory where that is current."""

    def held_body(self, market_id: MarketId) -> bytes | None:
        """Return a market as `MarketV1` in JSON; None where memory can't tell."""

    async def events_body(self, status: str | None) -> bytes:
        """Return what `MarketStore.events` does, as `EventsV1` in JSON."""

    async def changes_body(self, cursor: str | None) -> bytes:
        """Return what `MarketStore.changed_since` does, as `ChangesV1` in JSON.

        Raises:
            Rejection: MALFORMED: no cursor of ours.
        """


class Ledger(Protocol):
    """Accounts in shards: whatever moves money is decided and recorded by the one writer of the player's shard.

    An `Outage` means that nothing was recorded, or that the same key tells.
    """

    @property
    def shards(self) -> int:
        """How many shards there are; they are numbered from 1."""

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """Open an account with an empty wallet; False where the username is taken by another player.

        The same player under the same username again is a retry, and True.
        """

    def place(self, request: PlaceBet) -> Awaitable[Placed | Rejection]:
        """Decide and record a bet; it is begun at once, and done once it is durable.

        A retry under the key has the first answer. Where a future is returned, a bet costs no task.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player.
        """

    async def move_funds(self, request: MoveFunds) -> tuple[FundsMoved, Balance | None] | Rejection:
        """Decide and record a deposit or withdrawal; the balance is None for a retry.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player.
        """

    async def to_work(self, shard: int, settlement: Settlement) -> int:
        """Return how many bets of a shard `settlement` has to work.

        No bet that was decided before this call and is not counted will ever be recorded on the market.
        """

    async def work(self, shard: int, settlement: Settlement, at: datetime, limit: int) -> Worked:
        """Carry `settlement` out on at most `limit` more bets of a shard, in one transaction; 0: all is done."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Facts for a consumer, in order; `done` puts on record that they are worked and need not come again."""

    facts: Sequence[Fact]
    done: Callable[[], Awaitable[None]]


class FactLog(Protocol):
    """Facts as consumers read them: those of one shard, or of one event, in order; each at least once."""

    def consume(self, group: str) -> AsyncIterator[Delivery]:
        """Yield what `group` has not done yet, at most `FACTS_AT_ONCE_MAX` at a time, for ever.

        Of a group's consumers one gets a fact. Those that were not done when a consumer died come again, to it
        or to another.
        """

    async def unread(self, group: str) -> int:
        """Return how many facts `group` has not done yet; those that the log passes over may be among them."""

    def tail(self) -> AsyncIterator[Sequence[Fact]]:
        """Yield what is recorded from now on, to everyone who asks, for ever.

        The first is empty: whatever is recorded once it has come will be yielded.
        """


class FactPublisher(Protocol):
    """Where a relay takes facts to."""

    async def publish(self, facts: Sequence[Fact]) -> None:
        """Return once all are durably in the log, in their order; publishing some again does no harm."""
