"""What is recorded of a ledger that is a log: facts, from which balances and bets are folded.

Invariant: a fact is never changed; folding a shard's facts in their order gives its wallets, bets and transfers.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID
from zlib import crc32

from touchline.core.bet import Bet, BetResult, BetStatus
from touchline.core.funds import FundsMoved
from touchline.core.ids import BetId, EventId, PlayerId
from touchline.core.ledger import Transfer, Wallet, derived_id
from touchline.core.settlement import Settlement, SettlementKind
from touchline.core.values import value

MARKETS_SHARD: Final = 0  # decisions on markets; accounts are in 1 and up


class FactKind(StrEnum):
    """What a fact tells of."""

    ACCOUNT_OPENED = "AccountOpened"
    FUNDS_MOVED = "FundsMoved"
    BET_ACCEPTED = "BetAccepted"
    BET_DECIDED = "BetDecided"
    MARKET_DECIDED = "MarketDecided"
    CARRIED_OVER = "CarriedOver"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOpened:
    """A player has a wallet, empty, in `currency`."""

    player_id: PlayerId
    currency: str
    opened_at: datetime


@value(frozen=True, slots=True, kw_only=True)
class BetAccepted:
    """A bet was taken: its stake left the wallet."""

    bet: Bet


@dataclass(frozen=True, slots=True, kw_only=True)
class BetDecided:
    """A settlement worked a bet: settled, void, or, by a rollback, open again (`status` PLACED, no result)."""

    bet_id: BetId
    player_id: PlayerId
    event_id: EventId
    settlement_id: int
    kind: SettlementKind
    status: BetStatus
    result: BetResult | None
    payout_minor: int | None
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDecided:
    """A market was settled, voided, or either was taken back; its bets are to be worked."""

    event_id: EventId
    settlement: Settlement


@dataclass(frozen=True, slots=True)
class FoldedWallet:
    """A wallet, and its version: one more with each fact that changed it."""

    wallet: Wallet
    currency: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOver:
    """Some of what stood on record of a player when the log began; his parts together state all of it.

    A bet is as it stood, whether open or decided, with the transfers that it had caused.
    """

    player_id: PlayerId
    part: int
    wallet: FoldedWallet | None = None
    bet: Bet | None = None
    moves: tuple[FundsMoved, ...] = ()
    transfers: tuple[Transfer, ...] = ()


Body = AccountOpened | FundsMoved | BetAccepted | BetDecided | MarketDecided | CarriedOver


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """`seq` is its place in `shard`, gap-free; `epoch` the writer's; `fact_id` derives from its cause."""

    shard: int
    seq: int
    epoch: int
    fact_id: UUID
    recorded_at: datetime
    body: Body


def kind_of(body: Body) -> FactKind:
    """Return the kind of a fact with this body."""
    return _KINDS[type(body)]


def id_of(body: Body) -> UUID:
    """Return the id of the fact with this body: its cause's own, or one derived from it, always the same."""
    match body:
        case BetAccepted():
            return body.bet.bet_id
        case BetDecided():
            return derived_id(f"decided/{body.bet_id}/{body.settlement_id}")
        case FundsMoved():
            return body.move_id
        case AccountOpened():
            return derived_id(f"opened/{body.player_id}")
        case MarketDecided():
            return derived_id(f"market/{body.settlement.settlement_id}")
        case CarriedOver():
            return derived_id(f"carried/{body.player_id}/{body.part}")


def player_of(body: Body) -> PlayerId:
    """Return whom a fact with this body is about, nobody ("") where it is about a market."""
    match body:
        case BetAccepted():
            return body.bet.player_id
        case MarketDecided():
            return PlayerId("")
        case _:
            return body.player_id


_KINDS: Final[dict[type, FactKind]] = {
    AccountOpened: FactKind.ACCOUNT_OPENED,
    FundsMoved: FactKind.FUNDS_MOVED,
    BetAccepted: FactKind.BET_ACCEPTED,
    BetDecided: FactKind.BET_DECIDED,
    MarketDecided: FactKind.MARKET_DECIDED,
    CarriedOver: FactKind.CARRIED_OVER,
}


def shard_of(player_id: PlayerId, shards: int) -> int:
    """Return the shard of an account, 1 to `shards`; the same for ever, wherever it is asked."""
    return 1 + crc32(player_id.encode()) % shards
