"""The platform's books in plain dicts, for tests and simulation.

Invariant: no method of the stores over them awaits between its first read and its last write, so that each is one
transaction on one event loop; and whatever the database's own constraints refuse is a `Fault` here.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from touchline.core.account import Account, Role
from touchline.core.bet import Bet, BetStatus
from touchline.core.errors import Fault
from touchline.core.event import Event
from touchline.core.funds import FundsMoved
from touchline.core.ids import BetId, EventId, MarketId, MessageId, PlayerId, SelectionId, TransferId
from touchline.core.ledger import STAKES, Posting, Transfer, TransferKind, Wallet, debt_account, wallet_account
from touchline.core.limits import LENGTH_OF_PERIOD, LimitKind, Limits, Spent
from touchline.core.market import Market
from touchline.core.settlement import Settlement
from touchline.ports import Balance, Revocation

BANKING = frozenset({TransferKind.DEPOSIT, TransferKind.WITHDRAWAL})


class Bell:
    """Wakes whoever waits for something to be told."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait now."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next ring."""
        await self._next.wait()


@dataclass(slots=True)
class Player:
    """A player's row."""

    player_id: PlayerId
    username: str
    role: Role
    password_hash: str
    currency: str
    login_failures: int = 0
    locked_until: datetime | None = None
    excluded_until: datetime | None = None
    limits: Limits = field(default_factory=dict)
    velocity_flagged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeldWallet:
    """A wallet's row."""

    wallet: Wallet
    currency: str
    version: int
    updated_at: datetime

    @property
    def balance(self) -> Balance:
        """The balance as the ports return it."""
        return Balance(self.wallet.balance_minor, self.currency, self.version)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the open bets on one selection add up to."""

    bets: int = 0
    stakes_minor: int = 0
    liability_minor: int = 0

    def moved(self, bet: Bet, by: int) -> "Exposure":
        """Return it with `bet` opened (`by` 1) or closed (-1)."""
        return Exposure(
            self.bets + by,
            self.stakes_minor + by * bet.stake_minor,
            self.liability_minor + by * bet.liability_minor,
        )


@dataclass(slots=True)
class Tables:
    """Every record there is; `epoch` tells these books from others."""

    epoch: str = "0" * 32
    events: dict[EventId, Event] = field(default_factory=dict)  # in the order of their creation
    markets: dict[MarketId, Market] = field(default_factory=dict)
    written: dict[MarketId, int] = field(default_factory=dict)  # the write that last changed each market
    events_written: dict[EventId, int] = field(default_factory=dict)
    writes: int = 0
    history: dict[tuple[MarketId, int], Market] = field(default_factory=dict)
    messages: dict[MessageId, datetime] = field(default_factory=dict)
    players: dict[PlayerId, Player] = field(default_factory=dict)
    wallets: dict[PlayerId, HeldWallet] = field(default_factory=dict)
    bets: dict[BetId, Bet] = field(default_factory=dict)
    bets_by_key: dict[tuple[PlayerId, str], BetId] = field(default_factory=dict)
    exposures: dict[tuple[MarketId, SelectionId], Exposure] = field(default_factory=dict)
    transfers: dict[TransferId, Transfer] = field(default_factory=dict)
    funds_moves: dict[tuple[PlayerId, str], FundsMoved] = field(default_factory=dict)
    settlements: dict[int, Settlement] = field(default_factory=dict)
    undone: dict[int, int] = field(default_factory=dict)  # settlement -> the rollback that undoes it
    counted: set[int] = field(default_factory=set)  # settlements whose total is counted
    requested: int = 0  # plans recorded
    revocations: list[Revocation] = field(default_factory=list)
    bell: Bell = field(default_factory=Bell)
    offer_bell: Bell = field(default_factory=Bell)  # for a market or an event that was written

    def account(self, player_id: PlayerId) -> Account | None:
        """Return a player with his wallet, or None."""
        player = self.players.get(player_id)
        if player is None:
            return None
        return Account(
            player_id=player_id,
            currency=player.currency,
            wallet=self.wallets[player_id].wallet,
            locked_until=player.locked_until,
            excluded_until=player.excluded_until,
            limits=player.limits,
        )

    def write_market(self, market: Market) -> None:
        """Write a market, and its history where the version is new."""
        self.writes += 1
        self.markets[market.market_id] = market
        self.written[market.market_id] = self.writes
        self.history.setdefault((market.market_id, market.odds_version), market)
        self.offer_bell.ring()

    def write_event(self, event: Event) -> None:
        """Write an event."""
        self.writes += 1
        self.events[event.event_id] = event
        self.events_written[event.event_id] = self.writes
        self.offer_bell.ring()

    def post(self, posting: Posting) -> Balance:
        """Record a posting's transfers and write the wallet as it leaves it.

        Raises:
            Fault: the transfers are on record already, or the wallet is one that can't be.
        """
        wallet = posting.wallet
        if wallet.balance_minor < 0 or wallet.debt_minor < 0 or (wallet.balance_minor and wallet.debt_minor):
            raise Fault(f"{posting.cause.name} leaves the wallet {wallet}")
        for transfer in posting.transfers:
            if transfer.transfer_id in self.transfers:
                raise Fault(f"transfer {transfer.transfer_id} is on record already")
        self.transfers |= {transfer.transfer_id: transfer for transfer in posting.transfers}
        old = self.wallets[posting.cause.player_id]
        new = replace(old, wallet=wallet, version=old.version + 1, updated_at=posting.cause.at)
        self.wallets[posting.cause.player_id] = new
        return new.balance

    def move_exposure(self, bet: Bet) -> None:
        """Open or close `bet` in its selection's exposure, by its status."""
        place = (bet.market_id, bet.selection_id)
        by = 1 if bet.status is BetStatus.PLACED else -1
        self.exposures[place] = self.exposures.get(place, Exposure()).moved(bet, by)

    def transfers_of(self, player_id: PlayerId) -> Iterable[Transfer]:
        """Return the transfers on a player's accounts."""
        mine = {wallet_account(player_id), debt_account(player_id)}
        return [transfer for transfer in self.transfers.values() if mine & {transfer.debit, transfer.credit}]

    def spent(self, player_id: PlayerId, now: datetime) -> Spent:
        """Return what counts against a player's limits, by kind and period."""
        mine = {wallet_account(player_id), debt_account(player_id)}
        spent = {(kind, period): 0 for kind in LimitKind for period in LENGTH_OF_PERIOD}
        for transfer in self.transfers_of(player_id):
            left = transfer.amount_minor if transfer.debit in mine else -transfer.amount_minor
            counts = {
                LimitKind.DEPOSIT: -left if transfer.kind is TransferKind.DEPOSIT else 0,
                LimitKind.STAKE: left if STAKES in (transfer.debit, transfer.credit) else 0,
                LimitKind.LOSS: 0 if transfer.kind in BANKING else left,
            }
            for period, length in LENGTH_OF_PERIOD.items():
                if transfer.recorded_at >= now - length:
                    for kind, amount in counts.items():
                        spent[kind, period] += amount
        return spent
