"""What a settlement does to a shard's next bets, decided from the bets and wallets as they stand.

Invariant: only a shard's writer changes its bets, and asks here for each change; so bets that were read ahead are
as they were read, unless something went wrong, and then they are read again.
"""

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import bet_of, wallet_of
from touchline.core.batch import ExposureMoved, Place, WalletMoved
from touchline.core.bet import Bet, BetStatus
from touchline.core.facts import BetDecided, Body
from touchline.core.ids import MarketId, PlayerId
from touchline.core.ledger import Posting
from touchline.core.settlement import ROLLBACKS, BetMove, Settlement, carry_out
from touchline.ports import Balance

READ_AHEAD_MAX: Final = 2_000  # bets of a market, read at once and worked some at a time
MARKETS_AHEAD_MAX: Final = 16  # whose bets are held
_QUERIES: Final = Queries("shards.sql")


class Work:
    """Bets as a settlement leaves them one after another, with the facts to record and all that they change.

    `found` are rows of the players' wallets.
    """

    def __init__(self, settlement: Settlement, found: Sequence[Any], at: datetime) -> None:
        self.moves: list[BetMove] = []
        self.facts: list[Body] = []
        self.wallets: dict[PlayerId, WalletMoved] = {}
        self.exposures: dict[Place, ExposureMoved] = {}
        self._settlement = settlement
        self._found = {row["user_id"]: row for row in found}
        self._at = at

    @property
    def postings(self) -> Sequence[Posting]:
        """The postings, in order."""
        return [move.posting for move in self.moves]

    @property
    def balances(self) -> Mapping[PlayerId, Balance]:
        """The balances that are left changed."""
        return {
            player_id: Balance(moved.wallet.balance_minor, moved.currency, moved.version)
            for player_id, moved in self.wallets.items()
        }

    def add(self, bet: Bet) -> None:
        """Carry the settlement out on a bet."""
        moved = self.wallets.get(bet.player_id)
        found = self._found[bet.player_id]
        before = wallet_of(found) if moved is None else moved.wallet
        move = carry_out(self._settlement, bet, before, self._at)
        self.moves.append(move)
        if move.posting.wallet != before:  # a lost bet leaves it as it was, and so its version
            if moved is None:
                version = found["version"]
                moved = self.wallets[bet.player_id] = WalletMoved(before, bet.currency, version, version)
            moved.wallet = move.posting.wallet
            moved.version += 1
        opened = 1 if move.status is BetStatus.PLACED else -1
        exposure = self.exposures.setdefault((bet.market_id, bet.selection_id), ExposureMoved())
        exposure.bets += opened
        exposure.stakes_minor += opened * bet.stake_minor
        exposure.liability_minor += opened * bet.liability_minor
        self.facts.append(
            BetDecided(
                bet_id=bet.bet_id,
                player_id=bet.player_id,
                event_id=bet.event_id,
                settlement_id=self._settlement.settlement_id,
                kind=self._settlement.kind,
                status=move.status,
                result=move.result,
                payout_minor=move.payout_minor,
                decided_at=self._at,
            )
        )


class _Ahead(NamedTuple):
    """Rows of bets that a settlement has yet to work."""

    settlement_id: int
    rows: deque[Any]


class ShardSettling:
    """The bets of shard `shard` of `shards`, read over the connection of its writer."""

    def __init__(self, connection: Any, shard: int, shards: int) -> None:
        self._connection = connection
        self._shard = shard
        self._shards = shards
        self._ahead: dict[MarketId, _Ahead] = {}

    async def count(self, settlement: Settlement) -> int:
        """Return how many bets `settlement` has to work."""
        query, *arguments = self._to_work("count", settlement)
        return int(await self._connection.fetchval(query, *arguments))

    @asynccontextmanager
    async def next(self, settlement: Settlement, at: datetime, limit: int) -> AsyncIterator[Work]:
        """Lend what `settlement` does to the next bets, to be recorded; they come again where the block fails."""
        market_id = settlement.market_id
        ahead = self._ahead.pop(market_id, None)
        if ahead is None or ahead.settlement_id != settlement.settlement_id:
            ahead = await self._read(settlement)
        rows = ahead.rows
        some = [rows.popleft() for _ in range(min(limit, len(rows)))]
        players = list({row["user_id"] for row in some})
        work = Work(settlement, await self._connection.fetch(_QUERIES["wallets_of"], players), at)
        for row in some:
            work.add(bet_of(row))
        yield work
        if rows:
            if len(self._ahead) >= MARKETS_AHEAD_MAX:
                self._ahead.clear()
            self._ahead[market_id] = ahead

    async def _read(self, settlement: Settlement) -> _Ahead:
        """Read bets, and put them in the order of their players, so that some of them move few wallets."""
        query, *arguments = self._to_work("open", settlement)
        rows = await self._connection.fetch(query, *arguments, READ_AHEAD_MAX)
        return _Ahead(settlement.settlement_id, deque(sorted(rows, key=lambda row: row["user_id"])))

    def _to_work(self, verb: str, settlement: Settlement) -> tuple[Any, ...]:
        ours = (self._shards, self._shard)
        if settlement.kind in ROLLBACKS:
            return _QUERIES[f"{verb}_decided"], settlement.market_id, settlement.undoes, *ours
        return (
            _QUERIES[f"{verb}_placed"],
            settlement.market_id,
            settlement.placed_from,
            settlement.placed_until,
            settlement.settlement_id,
            *ours,
        )
