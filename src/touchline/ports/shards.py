"""The doors of a shard's writer: the records that it alone writes, and the authority on what is offered.

Any method may raise `Outage` or `Fault`, as in `touchline.ports`; only what else can be raised is said below.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from touchline.core.batch import Batch, LookedUp, Version
from touchline.core.bet import PlaceBet
from touchline.core.funds import MoveFunds
from touchline.core.ids import MarketId, PlayerId
from touchline.core.limits import Spent
from touchline.core.market import Market
from touchline.core.settlement import Settlement
from touchline.ports import Credentials, Worked

Request = PlaceBet | MoveFunds


@dataclass(frozen=True, slots=True)
class Offered:
    """Markets as they were all at one instant; `at` is that instant by their authority's clock.

    None where it has none but ours.
    """

    markets: Mapping[MarketId, Market]
    at: datetime | None = None


Authority = Callable[[Collection[MarketId]], Awaitable[Offered]]  # those that it knows of the markets asked for


class ShardRecords(Protocol):
    """One shard's records, while this process is their one writer.

    After an `Outage` they may be another's: nothing more is asked of them, and whatever is recorded late is not.
    """

    async def look_up(self, requests: Sequence[Request]) -> LookedUp:
        """Return what the decisions on `requests` depend on, all but markets, `spent` and `asked_milli`."""

    async def spent(self, player_ids: Collection[PlayerId], now: datetime) -> Mapping[PlayerId, Spent]:
        """Return what counts against players' limits, as it is just now."""

    async def asked_milli(self, versions: Collection[Version]) -> Mapping[Version, int]:
        """Return what versions of markets that have passed offered, of those that are on record."""

    async def placed_since(
        self, player_ids: Collection[PlayerId], since: datetime
    ) -> Iterable[tuple[PlayerId, datetime]]:
        """Return of each bet that one of the players placed after `since` who it was, and when."""

    async def record(self, batch: Batch) -> bool:
        """Put a batch on record in one transaction, and return once that is durable.

        False, and nothing recorded, where another shard meanwhile took what was left of an exposure's bound. Who
        is `fast` is flagged after it.
        """

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.stream.Ledger`."""

    async def to_work(self, settlement: Settlement) -> int:
        """Return how many bets of this shard `settlement` has to work."""

    async def work(self, settlement: Settlement, at: datetime, limit: int) -> Worked:
        """Carry `settlement` out on at most `limit` more bets of this shard in one transaction; 0: all is done."""

    async def lost(self) -> None:
        """Wait until the shard is no longer this process's, and raise what says so."""


class ShardStore(Protocol):
    """Where one shard's records are."""

    @property
    def shard(self) -> int:
        """The shard's number."""

    def taken(self) -> AbstractAsyncContextManager[ShardRecords]:
        """Be the shard's one writer until the end of the block; an `Outage` where another is."""
