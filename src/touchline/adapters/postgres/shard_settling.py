"""What a settlement does to a shard's next bets, decided from the bets and wallets as they stand."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import bet_of, wallet_of
from touchline.core.batch import ExposureMoved, Place, WalletMoved
from touchline.core.bet import BetStatus
from touchline.core.facts import BetDecided, Body
from touchline.core.ids import PlayerId
from touchline.core.ledger import Posting
from touchline.core.settlement import ROLLBACKS, BetMove, Settlement, carry_out
from touchline.ports import Balance

_QUERIES: Final = Queries("shards.sql")


class Work:
    """Bets as a settlement leaves them one after another, with the facts to record and all that they change."""

    def __init__(self, settlement: Settlement, at: datetime) -> None:
        self.moves: list[BetMove] = []
        self.facts: list[Body] = []
        self.wallets: dict[PlayerId, WalletMoved] = {}
        self.exposures: dict[Place, ExposureMoved] = {}
        self._settlement = settlement
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

    def add(self, row: Any) -> None:
        """Carry the settlement out on the bet of a row that joins its wallet."""
        bet = bet_of(row)
        moved = self.wallets.get(bet.player_id)
        before = wallet_of(row) if moved is None else moved.wallet
        move = carry_out(self._settlement, bet, before, self._at)
        self.moves.append(move)
        if move.posting.wallet != before:  # a lost bet leaves it as it was, and so its version
            if moved is None:
                found = row["version"]
                moved = self.wallets[bet.player_id] = WalletMoved(before, bet.currency, found, found)
            moved.wallet = move.posting.wallet
            moved.version += 1
        opened = 1 if move.bet.status is BetStatus.PLACED else -1
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
                status=move.bet.status,
                result=move.bet.result,
                payout_minor=move.bet.payout_minor,
                decided_at=self._at,
            )
        )


async def count_bets(connection: Any, settlement: Settlement, shard: int, shards: int) -> int:
    """Return how many bets of a shard `settlement` has to work."""
    query, *arguments = _to_work("count", settlement, shard, shards)
    return int(await connection.fetchval(query, *arguments))


async def next_moves(
    connection: Any, settlement: Settlement, shard: int, shards: int, at: datetime, limit: int
) -> Work:
    """Return what `settlement` does to the next bets of a shard; no lock is needed, as nobody else writes them."""
    query, *arguments = _to_work("open", settlement, shard, shards)
    work = Work(settlement, at)
    for row in await connection.fetch(query, *arguments, limit):
        work.add(row)
    return work


def _to_work(verb: str, settlement: Settlement, shard: int, shards: int) -> tuple[Any, ...]:
    if settlement.kind in ROLLBACKS:
        return _QUERIES[f"{verb}_decided"], settlement.market_id, settlement.undoes, shards, shard
    return (
        _QUERIES[f"{verb}_placed"],
        settlement.market_id,
        settlement.placed_from,
        settlement.placed_until,
        settlement.settlement_id,
        shards,
        shard,
    )
