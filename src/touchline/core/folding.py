"""The state that facts leave: wallets, bets, transfers and exposures, worked out anew from nothing else.

Invariant: each fact is folded by the core's own rules of money, so that what comes out is what a writer recorded;
a fact that can't follow those before it is a `Fault`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from touchline.core.batch import ExposureMoved, Place
from touchline.core.bet import Bet, BetStatus
from touchline.core.errors import Fault
from touchline.core.facts import (
    AccountOpened,
    BetAccepted,
    BetDecided,
    Body,
    CarriedOver,
    FoldedWallet,
    MarketDecided,
)
from touchline.core.funds import FundsMoved
from touchline.core.ids import BetId, PlayerId
from touchline.core.ledger import STAKES, Cause, Posting, TransferKind, Wallet, deposit, withdrawal
from touchline.core.settlement import ROLLBACKS, BetMove, close_bet, reopen_bet

UNLIMITED_MINOR: Final = 10**18


@dataclass(slots=True)
class Fold:
    """What facts so far come to. Of `exposures` those that add up to nothing are left out."""

    wallets: dict[PlayerId, FoldedWallet] = field(default_factory=dict)
    bets: dict[BetId, Bet] = field(default_factory=dict)
    exposures: dict[Place, ExposureMoved] = field(default_factory=dict)

    def add(self, body: Body) -> Posting | None:
        """Fold one more fact; returns the money that it moved.

        Raises:
            Fault: it can't follow those before it.
        """
        match body:
            case AccountOpened():
                self._open(body)
                return None
            case FundsMoved():
                return self._move(body)
            case BetAccepted():
                return self._accept(body.bet)
            case BetDecided():
                return self._decide(body)
            case MarketDecided():
                return None  # it moves no money; those of its bets do
            case CarriedOver():
                self._carry(body)
                return None  # what it tells of was moved before

    def _open(self, opened: AccountOpened) -> None:
        if opened.player_id in self.wallets:
            raise Fault(f"the account of {opened.player_id} is opened twice")
        self.wallets[opened.player_id] = FoldedWallet(Wallet(0), opened.currency, 1)

    def _carry(self, carried: CarriedOver) -> None:
        bet = carried.bet
        if carried.wallet is not None:
            if carried.player_id in self.wallets:
                raise Fault(f"the account of {carried.player_id} is carried over, and was there before")
            self.wallets[carried.player_id] = carried.wallet
        if bet is not None:
            if bet.bet_id in self.bets:
                raise Fault(f"bet {bet.bet_id} is carried over, and was there before")
            self.bets[bet.bet_id] = bet
            if bet.status is BetStatus.PLACED:
                self._expose(bet)

    def _move(self, moved: FundsMoved) -> Posting:
        post = deposit if moved.kind is TransferKind.DEPOSIT else withdrawal
        cause = Cause(str(moved.move_id), moved.player_id, moved.currency, moved.recorded_at)
        posting = post(cause, self._wallet(moved.player_id), moved.amount_minor)
        if posting.wallet.balance_minor != moved.balance_minor:
            left = posting.wallet.balance_minor
            raise Fault(f"{moved.kind.value} {moved.move_id} leaves {left}, its fact says {moved.balance_minor}")
        return self._post(posting)

    def _accept(self, bet: Bet) -> Posting:
        if bet.bet_id in self.bets:
            raise Fault(f"bet {bet.bet_id} is accepted twice")
        cause = Cause(str(bet.bet_id), bet.player_id, bet.currency, bet.placed_at, bet_id=bet.bet_id)
        posting = Posting(cause, self._wallet(bet.player_id))
        posting.take(TransferKind.STAKE, STAKES, bet.stake_minor)
        self.bets[bet.bet_id] = bet
        self._expose(bet)
        return self._post(posting)

    def _decide(self, decided: BetDecided) -> Posting:
        bet = self.bets.get(decided.bet_id)
        if bet is None:
            raise Fault(f"bet {decided.bet_id} is decided before it is accepted")
        name = f"{bet.bet_id}/{decided.settlement_id}"
        cause = Cause(name, bet.player_id, bet.currency, decided.decided_at, bet_id=bet.bet_id)
        move = _again(bet, decided, Posting(cause, self._wallet(bet.player_id)))
        if (move.status, move.payout_minor) != (decided.status, decided.payout_minor):
            raise Fault(f"bet {bet.bet_id} comes to {move.status.value}, its fact says {decided.status.value}")
        after = self.bets[bet.bet_id] = move.bet
        self._expose(after)
        return self._post(move.posting)

    def _wallet(self, player_id: PlayerId) -> Wallet:
        held = self.wallets.get(player_id)
        if held is None:
            raise Fault(f"{player_id} has no account yet")
        return held.wallet

    def _post(self, posting: Posting) -> Posting:
        player_id, wallet = posting.cause.player_id, posting.wallet
        held = self.wallets[player_id]
        if wallet != held.wallet:
            self.wallets[player_id] = FoldedWallet(wallet, held.currency, held.version + 1)
        return posting

    def _expose(self, bet: Bet) -> None:
        opened = 1 if bet.status is BetStatus.PLACED else -1
        where = (bet.market_id, bet.selection_id)
        exposure = self.exposures.setdefault(where, ExposureMoved())
        exposure.bets += opened
        exposure.stakes_minor += opened * bet.stake_minor
        exposure.liability_minor += opened * bet.liability_minor
        if exposure == ExposureMoved():
            del self.exposures[where]

    def forget_decided(self) -> None:
        """Keep of the bets the open ones only; a rollback of another asks for its facts again."""
        self.bets = {key: bet for key, bet in self.bets.items() if bet.status is BetStatus.PLACED}


def bets_of(bodies: Iterable[Body]) -> dict[BetId, Bet]:
    """Return bets as facts about them leave them, whatever their players' wallets held."""
    fold = Fold()
    for body in bodies:
        if isinstance(body, BetAccepted | CarriedOver) and (bet := body.bet) is not None:
            fold.wallets.setdefault(bet.player_id, FoldedWallet(Wallet(UNLIMITED_MINOR), bet.currency, 1))
        fold.add(body)
    return fold.bets


def _again(bet: Bet, decided: BetDecided, posting: Posting) -> BetMove:
    if decided.kind in ROLLBACKS:
        return reopen_bet(bet, posting)
    if decided.result is None or decided.payout_minor is None:
        raise Fault(f"bet {bet.bet_id} is decided, and neither how nor at what")
    return close_bet(bet, decided.settlement_id, decided.result, decided.payout_minor, posting)
