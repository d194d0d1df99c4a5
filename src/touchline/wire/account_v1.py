"""Accounts, sessions, money and limits on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from touchline.core.account import Account, Role
from touchline.core.funds import FundsMoved
from touchline.core.ids import PlayerId
from touchline.core.ledger import Transfer, TransferKind, debt_account, wallet_account
from touchline.core.limits import LimitKey, LimitKind, Limits, Period
from touchline.core.money import format_minor, parse_minor
from touchline.wire.decimals import decimal_text


class CredentialsV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /auth/register` and `POST /auth/login`."""

    username: str
    password: str


class TokenV1(msgspec.Struct, frozen=True):
    """A session's token."""

    token: str
    expires_at: datetime
    player_id: PlayerId
    role: Role


class BalanceV1(msgspec.Struct, frozen=True):
    """The answer of `GET /account/balance`; `source` tells where it was read."""

    balance: str
    currency: str
    source: Literal["session", "database"]


class MoveFundsV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /account/deposits` and `/account/withdrawals`."""

    amount: msgspec.Raw
    idempotency_key: str


class FundsMovedV1(msgspec.Struct, frozen=True):
    """A deposit or withdrawal that is on record."""

    transaction_id: UUID
    kind: TransferKind
    amount: str
    balance: str
    currency: str
    recorded_at: datetime


class TransactionV1(msgspec.Struct, frozen=True):
    """One movement on the player's account: `amount` is signed, from the player's side."""

    transaction_id: UUID
    kind: TransferKind
    amount: str
    currency: str
    bet_id: UUID | None
    recorded_at: datetime


class TransactionsV1(msgspec.Struct, frozen=True):
    """A page of transactions, newest first; `cursor` is None on the last page."""

    transactions: list[TransactionV1]
    cursor: str | None


class PeriodLimitsV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one kind: a decimal sets one, null removes it, a period left out stays as it is."""

    day: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    week: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    month: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class LimitsRequestV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /account/limits`."""

    deposit: PeriodLimitsV1 | None = None
    stake: PeriodLimitsV1 | None = None
    loss: PeriodLimitsV1 | None = None


class LimitV1(msgspec.Struct, frozen=True):
    """A limit in force, and the one that waits (`next_amount` None: it will be removed)."""

    amount: str | None
    next_amount: str | None = None
    next_at: datetime | None = None


class LimitsV1(msgspec.Struct, frozen=True):
    """A player's limits, by kind and period; `waiting` says in words what is not yet in force."""

    deposit: dict[Period, LimitV1]
    stake: dict[Period, LimitV1]
    loss: dict[Period, LimitV1]
    waiting: list[str]


class SelfExclusionV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /account/self-exclusion`."""

    months: int


class ExcludedV1(msgspec.Struct, frozen=True):
    """The answer of `POST /account/self-exclusion`."""

    excluded_until: datetime


class AccountV1(msgspec.Struct, frozen=True):
    """The answer of `GET /account`. `debt` is what a rollback left owing; credits repay it first."""

    player_id: PlayerId
    username: str
    currency: str
    balance: str
    debt: str
    limits: LimitsV1
    excluded_until: datetime | None
    velocity_flagged_at: datetime | None
    source: Literal["database"] = "database"


def limits_from_wire(body: LimitsRequestV1, currency: str) -> dict[LimitKey, int | None]:
    """Return what the player asks for, None where he removes a limit.

    Raises:
        Rejection: MALFORMED, naming the field.
    """
    wanted: dict[LimitKey, int | None] = {}
    for kind in LimitKind:
        periods: PeriodLimitsV1 | None = getattr(body, kind.value)
        for period in Period:
            raw = msgspec.UNSET if periods is None else getattr(periods, period.value)
            if raw is msgspec.UNSET:
                continue
            field = f"{kind.value}.{period.value}"
            removes = bytes(raw) == b"null"
            wanted[kind, period] = None if removes else parse_minor(field, decimal_text(field, raw), currency)
    return wanted


def limits_to_wire(limits: Limits, currency: str, now: datetime) -> LimitsV1:
    """Return limits as they go out, those that wait said in words as well."""

    def text(minor: int | None) -> str | None:
        return None if minor is None else format_minor(minor, currency)

    by_kind: dict[LimitKind, dict[Period, LimitV1]] = {kind: {} for kind in LimitKind}
    waiting = []
    for (kind, period), limit in limits.items():
        amount = limit.at(now)
        if limit.next_at is not None and now < limit.next_at:
            by_kind[kind][period] = LimitV1(text(amount), text(limit.next_minor), limit.next_at)
            change = f"{text(limit.next_minor)} {currency}" if limit.next_minor is not None else "none"
            at = limit.next_at.isoformat(timespec="seconds").replace("+00:00", "Z")
            waiting.append(f"your {kind.value} limit of the {period.value} becomes {change} at {at}")
        elif amount is not None:
            by_kind[kind][period] = LimitV1(text(amount))
    return LimitsV1(by_kind[LimitKind.DEPOSIT], by_kind[LimitKind.STAKE], by_kind[LimitKind.LOSS], sorted(waiting))


def funds_moved_to_wire(moved: FundsMoved) -> FundsMovedV1:
    """Return a deposit or withdrawal as it goes out."""
    return FundsMovedV1(
        transaction_id=moved.move_id,
        kind=moved.kind,
        amount=format_minor(moved.amount_minor, moved.currency),
        balance=format_minor(moved.balance_minor, moved.currency),
        currency=moved.currency,
        recorded_at=moved.recorded_at,
    )


def account_to_wire(
    account: Account, username: str, now: datetime, velocity_flagged_at: datetime | None
) -> AccountV1:
    """Return an account as its owner reads it."""
    return AccountV1(
        player_id=account.player_id,
        username=username,
        currency=account.currency,
        balance=format_minor(account.wallet.balance_minor, account.currency),
        debt=format_minor(account.wallet.debt_minor, account.currency),
        limits=limits_to_wire(account.limits, account.currency, now),
        excluded_until=account.excluded_until if account.is_excluded(now) else None,
        velocity_flagged_at=velocity_flagged_at,
    )


def transaction_to_wire(transfer: Transfer, player_id: PlayerId) -> TransactionV1:
    """Return a transfer as the player sees it: what he gains is above zero, a repaid debt too."""
    mine = (wallet_account(player_id), debt_account(player_id))
    signed = transfer.amount_minor if transfer.credit in mine else -transfer.amount_minor
    return TransactionV1(
        transaction_id=transfer.transfer_id,
        kind=transfer.kind,
        amount=format_minor(signed, transfer.currency),
        currency=transfer.currency,
        bet_id=transfer.bet_id,
        recorded_at=transfer.recorded_at,
    )
