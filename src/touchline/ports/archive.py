"""The door to all that facts and the tables beside them hold, for whoever works one out from the other.

Any method may raise `Outage` or `Fault`, as in `touchline.ports`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from touchline.core.batch import ExposureMoved, Place
from touchline.core.bet import Bet
from touchline.core.facts import Body, Fact, FoldedWallet
from touchline.core.folding import Fold
from touchline.core.funds import FundsMoved
from touchline.core.ids import BetId, PlayerId
from touchline.core.ledger import Transfer

PAGE_FACTS: Final = 5_000


@dataclass(slots=True)
class PlayerState:
    """All that is on record of one player, or all that facts come to."""

    player_id: PlayerId
    wallet: FoldedWallet | None = None
    bets: list[Bet] = field(default_factory=list)
    moves: list[FundsMoved] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A shard's wallets, open bets and exposures as the facts before `next_seq` leave them."""

    next_seq: int
    fold: Fold


class Archive(Protocol):
    """The facts and the tables, as they all are at one instant."""

    @property
    def shards(self) -> Mapping[int, int]:
        """Where the next fact of each shard of accounts stands, by shard."""

    async def gaps(self, shard: int) -> str | None:
        """Return in words what is missing in a shard's row of facts, or None."""

    def facts_by_player(self, shard: int) -> AsyncIterator[Fact]:
        """Yield a shard's facts player by player, by their ids, each one's in order."""

    def states(self, shard: int) -> AsyncIterator[PlayerState]:
        """Yield what the tables hold of a shard's players, by their ids; each list by its ids."""

    def facts_since(self, shard: int, seq: int) -> AsyncIterator[Sequence[Fact]]:
        """Yield a shard's facts from a place on, at most `PAGE_FACTS` at a time."""

    async def facts_of_bets(self, shard: int, bet_ids: Collection[BetId], before: int) -> Sequence[Fact]:
        """Return the facts about some bets that stand before a place, in order."""

    async def snapshot_at(self, shard: int) -> int:
        """Return where a shard's newest snapshot ends, that is its `next_seq`; 1 where there is none."""

    async def newest_snapshot(self, shard: int) -> Snapshot | None:
        """Return a shard's newest snapshot, None where there is none."""

    async def exposures(self) -> Mapping[Place, ExposureMoved]:
        """Return the exposures of all shards together, without those that are nothing."""

    def open_states(self, shard: int) -> AsyncIterator[PlayerState]:
        """Yield wallets and open bets of a shard's players, and nothing else of them."""


class ArchiveStore(Protocol):
    """Where facts, tables and snapshots are."""

    def reading(self) -> AbstractAsyncContextManager[Archive]:
        """Read everything as it is at one instant, until the end of the block."""

    async def keep_snapshot(self, shard: int, snapshot: Snapshot, at: datetime) -> None:
        """Keep a snapshot; older ones of the shard are dropped."""

    async def carry_over(
        self, shards: int, carried: Callable[[PlayerState], Iterable[Body]], at: datetime
    ) -> int:
        """Record what `carried` makes of each player on record, where no fact of an account is; returns how many.

        All of it is one transaction, in which nobody else writes the tables. `shards` is how many the books get
        where they are in none yet.

        Raises:
            Outage: somebody else writes the books; stop him first.
        """

    def held(self) -> AbstractAsyncContextManager[None]:
        """Keep every shard from being written by anybody else until the end of the block.

        Raises:
            Outage: a writer is at work; stop it first.
        """

    async def rewrite(self, states: AsyncIterator[PlayerState]) -> int:
        """Write wallets, bets and moves as `states` say where the tables say otherwise; returns how many rows.

        What no fact tells of stays. Transfers stay as they are: they can only be added to, and are not here.
        """

    async def rewrite_exposures(self, exposures: Mapping[Place, ExposureMoved]) -> int:
        """Write the exposures of all shards; returns how many were otherwise."""
