"""Whether a deposit or a withdrawal is taken: one pure function, in the published order of refusals."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from touchline.core.account import Account
from touchline.core.errors import Code, Rejection
from touchline.core.ids import PlayerId
from touchline.core.ledger import Cause, Posting, TransferKind, deposit, withdrawal
from touchline.core.limits import LimitKind, Spent, breach
from touchline.core.money import format_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveFunds:
    """A player's request to bring money in (`DEPOSIT`) or take it out (`WITHDRAWAL`), under his key."""

    move_id: UUID
    player_id: PlayerId
    kind: TransferKind
    amount_minor: int
    idempotency_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FundsMoved:
    """A deposit or withdrawal on record, and the wallet as it left it."""

    move_id: UUID
    player_id: PlayerId
    kind: TransferKind
    amount_minor: int
    currency: str
    balance_minor: int
    idempotency_key: str
    recorded_at: datetime

    def answers(self, request: MoveFunds) -> bool:
        """Tell whether `request` asks for just this, so that it is a retry."""
        return self.kind is request.kind and self.amount_minor == request.amount_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class FundsPosition:
    """All that the decision depends on; `earlier` is what is on record under the request's key."""

    account: Account
    now: datetime
    spent: Spent = field(default_factory=dict)
    earlier: FundsMoved | None = None


@dataclass(frozen=True, slots=True)
class FundsAcceptance:
    """What goes on record, and its posting; a retry has the first answer and no posting."""

    moved: FundsMoved
    posting: Posting | None


def decide_funds(request: MoveFunds, position: FundsPosition) -> FundsAcceptance | Rejection:
    """Return what `request` becomes at `position`, or the first refusal that applies.

    A self-excluded player can take his money out, and can't bring any in.
    """
    if position.earlier is not None:
        if position.earlier.answers(request):
            return FundsAcceptance(position.earlier, None)
        return Rejection(Code.IDEMPOTENCY_CONFLICT, "the key was used for another deposit or withdrawal")
    account, now = position.account, position.now
    deposits = request.kind is TransferKind.DEPOSIT
    if deposits and account.is_excluded(now):
        return Rejection(
            Code.SELF_EXCLUDED, "you have excluded yourself; deposits are closed", until=account.excluded_until
        )
    if account.is_locked(now):
        return Rejection(Code.ACCOUNT_LOCKED, "the account is locked for a while", until=account.locked_until)
    if deposits:
        broken = breach(account.limits, position.spent, frozenset({LimitKind.DEPOSIT}), request.amount_minor, now)
        if broken is not None:
            return Rejection(
                Code.LIMIT_EXCEEDED,
                f"the amount would break your deposit limit of the {broken.period.value}",
                limit=broken.kind.value,
                period=broken.period.value,
                left=format_minor(broken.left_minor, account.currency),
            )
    elif request.amount_minor > account.wallet.balance_minor:
        return Rejection(Code.INSUFFICIENT_BALANCE, "the amount is more than your balance")
    return _accept(request, position)


def _accept(request: MoveFunds, position: FundsPosition) -> FundsAcceptance:
    account = position.account
    cause = Cause(str(request.move_id), request.player_id, account.currency, position.now)
    post = deposit if request.kind is TransferKind.DEPOSIT else withdrawal
    posting = post(cause, account.wallet, request.amount_minor)
    moved = FundsMoved(
        move_id=request.move_id,
        player_id=request.player_id,
        kind=request.kind,
        amount_minor=request.amount_minor,
        currency=account.currency,
        balance_minor=posting.wallet.balance_minor,
        idempotency_key=request.idempotency_key,
        recorded_at=position.now,
    )
    return FundsAcceptance(moved, posting)
