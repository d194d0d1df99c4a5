"""Many requests of one shard, decided one after another, each seeing what those before it did.

Invariant: nothing is decided here but by `decide` and `decide_funds`. What a batch adds to what was looked up is
what its own requests did, and those of the batch before it where the look came too early to see them; so the
answers are those that the requests would have had one by one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from touchline.core.acceptance import Acceptance, Position, Rules, decide
from touchline.core.account import Account
from touchline.core.bet import Bet, PlaceBet
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.facts import BetAccepted, Body
from touchline.core.funds import FundsAcceptance, FundsMoved, FundsPosition, MoveFunds, decide_funds
from touchline.core.ids import MarketId, PlayerId, SelectionId
from touchline.core.ledger import Posting, TransferKind, Wallet
from touchline.core.limits import LimitKind, Spent
from touchline.core.market import Market
from touchline.core.rates import BetRates
from touchline.core.values import value

Place = tuple[MarketId, SelectionId]
Key = tuple[PlayerId, str]
Version = tuple[MarketId, int, SelectionId]  # a selection as a version of its market offered it


@value(frozen=True, slots=True)
class HeldAccount:
    """An account as it is on record, with its wallet's version."""

    account: Account
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedUp:
    """What the decisions on some requests depend on, as it was on record at one instant.

    `next_seq` is where the shard's next fact stood then: it tells what the look has seen. Who is not among
    `accounts` has none; `exposures` are liabilities; `spent` is there for those who have limits, `asked_milli` for
    versions that have passed, where a tolerance asks for them.
    """

    next_seq: int
    accounts: Mapping[PlayerId, HeldAccount]
    exposures: Mapping[Place, int] = field(default_factory=dict)
    bets: Mapping[Key, Bet] = field(default_factory=dict)
    moves: Mapping[Key, FundsMoved] = field(default_factory=dict)
    spent: Mapping[PlayerId, Spent] = field(default_factory=dict)
    asked_milli: Mapping[Version, int] = field(default_factory=dict)


@dataclass(slots=True)
class ExposureMoved:
    """By how much the open bets on a selection grew."""

    bets: int = 0
    stakes_minor: int = 0
    liability_minor: int = 0

    def plus(self, other: "ExposureMoved") -> "ExposureMoved":
        """Return both together."""
        return ExposureMoved(
            self.bets + other.bets,
            self.stakes_minor + other.stakes_minor,
            self.liability_minor + other.liability_minor,
        )


@dataclass(slots=True)
class WalletMoved:
    """A wallet as it is left, and the version at which it was found."""

    wallet: Wallet
    currency: str
    version: int
    found: int


class Batch:
    """What requests came to: the facts to record, in order, and all that they change.

    `before` is the batch before this one where it may not be on record yet. `rates` have counted that one, and bar
    who bets too often; None where that is seen to before. `fast` are those who bet faster than a person.
    """

    def __init__(
        self,
        looked_up: LookedUp,
        markets: Mapping[MarketId, Market],
        rules: Rules,
        now: datetime,
        before: "Batch | None" = None,
        rates: BetRates | None = None,
    ) -> None:
        self.now = now
        self.first_seq = looked_up.next_seq
        self.facts: list[Body] = []
        self.postings: list[Posting] = []
        self.bets: list[Bet] = []
        self.moves: list[FundsMoved] = []
        self.wallets: dict[PlayerId, WalletMoved] = {}
        self.exposures: dict[Place, ExposureMoved] = {}
        self.fast: set[PlayerId] = set()
        self.markets = markets
        self.rules = rules
        self._looked_up = looked_up
        self._rates = rates
        self._taken: dict[PlayerId, int] = {}  # how many bets of each, where there are rates
        self._bet_keys: dict[Key, Bet] = {}
        self._move_keys: dict[Key, FundsMoved] = {}
        self._spent: dict[tuple[PlayerId, LimitKind], int] = {}
        self._before: Batch | None = None
        if before is not None and looked_up.next_seq != before.next_seq:
            if looked_up.next_seq != before.first_seq:
                raise Fault(f"fact {looked_up.next_seq} is next, after {before.first_seq} to {before.next_seq}")
            self.first_seq = before.next_seq
            self._before = before
            before._before = None  # it is decided to its end, and would keep all that ever were

    @property
    def next_seq(self) -> int:
        """Where the shard's next fact stands once this batch is on record."""
        return self.first_seq + len(self.facts)

    def hidden_from(self, looked_up: LookedUp, player_ids: Iterable[PlayerId]) -> bool:
        """Tell whether a look came too early to see what this batch does to any of `player_ids`."""
        return looked_up.next_seq != self.next_seq and any(player_id in self.wallets for player_id in player_ids)

    def place(self, request: PlaceBet) -> Acceptance | Rejection:
        """Decide on a bet, and take it where it is accepted.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player.
        """
        account, rates = self._account(request.player_id), self._rates
        where = (request.market_id, request.selection_id)
        taken = self._taken.get(request.player_id, 0)
        answer = decide(
            request,
            Position(
                account=account,
                market=self.markets.get(request.market_id),
                rules=self.rules,
                now=self.now,
                exposure_minor=self._exposure_minor(where),
                spent=self._spent_by(account) if account.limits else {},
                earlier=None if request.idempotency_key is None else self._bet_under(request),
                asked_milli=self._looked_up.asked_milli.get(
                    (request.market_id, request.odds_version, request.selection_id)
                ),
                barred=None if rates is None else rates.refusal(request.player_id, self.now, taken),
            ),
        )
        if isinstance(answer, Acceptance) and answer.posting is not None:
            self._take(answer.bet, answer.posting)
            if rates is not None:
                self._taken[request.player_id] = taken + 1
                if rates.is_fast(request.player_id, self.now, taken + 1):
                    self.fast.add(request.player_id)
            if account.limits:
                self._count(account, LimitKind.STAKE, answer.bet.stake_minor)
                self._count(account, LimitKind.LOSS, answer.bet.stake_minor)
        return answer

    def move_funds(self, request: MoveFunds) -> FundsAcceptance | Rejection:
        """Decide on a deposit or withdrawal, and take it where it is accepted.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player.
        """
        account = self._account(request.player_id)
        answer = decide_funds(
            request,
            FundsPosition(
                account=account,
                now=self.now,
                spent=self._spent_by(account) if account.limits else {},
                earlier=self._move_under(request),
            ),
        )
        if isinstance(answer, FundsAcceptance) and answer.posting is not None:
            moved = answer.moved
            self._post(answer.posting, moved)
            self.moves.append(moved)
            self._move_keys[moved.player_id, moved.idempotency_key] = moved
            if account.limits and moved.kind is TransferKind.DEPOSIT:
                self._count(account, LimitKind.DEPOSIT, moved.amount_minor)
        return answer

    def _take(self, bet: Bet, posting: Posting) -> None:
        self._post(posting, BetAccepted(bet=bet))
        self.bets.append(bet)
        if bet.idempotency_key is not None:
            self._bet_keys[bet.player_id, bet.idempotency_key] = bet
        where = (bet.market_id, bet.selection_id)
        exposure = self.exposures.get(where)
        if exposure is None:
            exposure = self.exposures[where] = ExposureMoved()
        exposure.bets += 1
        exposure.stakes_minor += bet.stake_minor
        exposure.liability_minor += bet.liability_minor

    def _post(self, posting: Posting, fact: Body) -> None:
        cause = posting.cause
        moved = self.wallets.get(cause.player_id)
        if moved is None:
            found = self._version(cause.player_id)
            self.wallets[cause.player_id] = WalletMoved(posting.wallet, cause.currency, found + 1, found)
        else:
            moved.wallet = posting.wallet
            moved.version += 1
        self.postings.append(posting)
        self.facts.append(fact)

    def _account(self, player_id: PlayerId) -> Account:
        held = self._looked_up.accounts.get(player_id)
        if held is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        account, moved = held.account, self._moved(player_id)
        if moved is None:
            return account
        return Account(
            player_id=player_id,
            currency=account.currency,
            wallet=moved.wallet,
            locked_until=account.locked_until,
            excluded_until=account.excluded_until,
            limits=account.limits,
        )

    def _moved(self, player_id: PlayerId) -> WalletMoved | None:
        moved = self.wallets.get(player_id)
        if moved is None and self._before is not None:
            moved = self._before.wallets.get(player_id)
        return moved

    def _version(self, player_id: PlayerId) -> int:
        moved = self._moved(player_id)
        return self._looked_up.accounts[player_id].version if moved is None else moved.version

    def _exposure_minor(self, where: Place) -> int:
        exposure_minor = self._looked_up.exposures.get(where, 0)
        for layer in (self, self._before):
            moved = None if layer is None else layer.exposures.get(where)
            if moved is not None:
                exposure_minor += moved.liability_minor
        return exposure_minor

    def _bet_under(self, request: PlaceBet) -> Bet | None:
        key = (request.player_id, request.idempotency_key or "")
        found = self._looked_up.bets.get(key) or self._bet_keys.get(key)
        if found is None and self._before is not None:
            found = self._before._bet_keys.get(key)
        return found

    def _move_under(self, request: MoveFunds) -> FundsMoved | None:
        key = (request.player_id, request.idempotency_key)
        found = self._looked_up.moves.get(key) or self._move_keys.get(key)
        if found is None and self._before is not None:
            found = self._before._move_keys.get(key)
        return found

    def _count(self, account: Account, kind: LimitKind, amount_minor: int) -> None:
        counted = (account.player_id, kind)
        self._spent[counted] = self._spent.get(counted, 0) + amount_minor

    def _spent_by(self, account: Account) -> Spent:
        """What counts against limits; what a batch does lies within every period."""
        player_id, layers = account.player_id, [self] if self._before is None else [self._before, self]
        return {
            (kind, period): amount + sum(layer._spent.get((player_id, kind), 0) for layer in layers)
            for (kind, period), amount in self._looked_up.spent.get(player_id, {}).items()
        }
