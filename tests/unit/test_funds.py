"""Deposits and withdrawals: what is taken, and the order of refusals."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.clock import NOON
from tests.samples import ALICE, SECOND, account
from touchline.core.errors import Code, Rejection
from touchline.core.funds import FundsAcceptance, FundsMoved, FundsPosition, MoveFunds, decide_funds
from touchline.core.ledger import TransferKind, Wallet
from touchline.core.limits import Limit, LimitKind, Period

DEPOSIT, WITHDRAWAL = TransferKind.DEPOSIT, TransferKind.WITHDRAWAL
DEPOSITS_OF_DAY = (LimitKind.DEPOSIT, Period.DAY)


def move(kind: TransferKind, amount_minor: int = 5_000) -> MoveFunds:
    return MoveFunds(
        move_id=UUID(int=9), player_id=ALICE, kind=kind, amount_minor=amount_minor, idempotency_key="f1"
    )


def at(**changed: Any) -> FundsPosition:
    return replace(FundsPosition(account=account(), now=NOON), **changed)


def moved(request: MoveFunds, where: FundsPosition) -> FundsMoved:
    decided = decide_funds(request, where)
    assert isinstance(decided, FundsAcceptance), decided
    return decided.moved


def code(request: MoveFunds, where: FundsPosition) -> Code:
    decided = decide_funds(request, where)
    assert isinstance(decided, Rejection), decided
    return decided.code


@pytest.mark.parametrize(("kind", "after"), [(DEPOSIT, 105_000), (WITHDRAWAL, 95_000)])
def test_money_moves_and_the_record_tells_the_balance_after_it(kind: TransferKind, after: int) -> None:
    decided = decide_funds(move(kind), at())
    assert isinstance(decided, FundsAcceptance)
    assert decided.posting is not None
    assert decided.posting.wallet == Wallet(after)
    assert decided.moved.balance_minor == after
    assert [transfer.kind for transfer in decided.posting.transfers] == [kind]


def test_a_deposit_repays_a_debt_first() -> None:
    owing = account(wallet=Wallet(0, 2_000))
    assert moved(move(DEPOSIT), at(account=owing)).balance_minor == 3_000
    assert moved(move(DEPOSIT, 1_500), at(account=owing)).balance_minor == 0


@pytest.mark.parametrize("kind", [DEPOSIT, WITHDRAWAL])
def test_the_same_key_answers_the_first_and_another_request_under_it_is_a_conflict(kind: TransferKind) -> None:
    earlier = moved(move(kind), at())
    excluded = account(excluded_until=NOON + SECOND, locked_until=NOON + SECOND, wallet=Wallet(0))
    where = at(account=excluded, earlier=earlier)
    assert decide_funds(move(kind), where) == FundsAcceptance(earlier, None)
    assert code(move(kind, 5_001), where) is Code.IDEMPOTENCY_CONFLICT
    other = WITHDRAWAL if kind is DEPOSIT else DEPOSIT
    assert code(move(other), where) is Code.IDEMPOTENCY_CONFLICT


@pytest.mark.parametrize(
    ("kind", "changed", "expected"),
    [
        (DEPOSIT, {"excluded_until": NOON + SECOND, "locked_until": NOON + SECOND}, Code.SELF_EXCLUDED),
        (WITHDRAWAL, {"excluded_until": NOON + SECOND, "locked_until": NOON + SECOND}, Code.ACCOUNT_LOCKED),
        (DEPOSIT, {"locked_until": NOON + SECOND, "limits": {DEPOSITS_OF_DAY: Limit(0)}}, Code.ACCOUNT_LOCKED),
        (WITHDRAWAL, {"locked_until": NOON + SECOND, "wallet": Wallet(0)}, Code.ACCOUNT_LOCKED),
        (DEPOSIT, {"limits": {DEPOSITS_OF_DAY: Limit(4_999)}}, Code.LIMIT_EXCEEDED),
        (WITHDRAWAL, {"wallet": Wallet(4_999)}, Code.INSUFFICIENT_BALANCE),
        (WITHDRAWAL, {"wallet": Wallet(0, 1_000)}, Code.INSUFFICIENT_BALANCE),
    ],
)
def test_the_first_refusal_that_applies_is_the_answer(
    kind: TransferKind, changed: dict[str, Any], expected: Code
) -> None:
    assert code(move(kind), at(account=account(**changed))) is expected


def test_an_excluded_player_can_take_his_money_out() -> None:
    excluded = account(excluded_until=NOON + SECOND)
    assert moved(move(WITHDRAWAL, 100_000), at(account=excluded)).balance_minor == 0


def test_limits_on_stakes_and_losses_keep_no_deposit_out_and_deposit_limits_no_withdrawal_in() -> None:
    limits = {(kind, Period.DAY): Limit(0) for kind in (LimitKind.STAKE, LimitKind.LOSS)}
    moved(move(DEPOSIT), at(account=account(limits=limits)))
    moved(move(WITHDRAWAL), at(account=account(limits={DEPOSITS_OF_DAY: Limit(0)})))


def test_a_deposit_up_to_the_limit_is_taken_and_beyond_it_told_what_is_left() -> None:
    where = at(account=account(limits={DEPOSITS_OF_DAY: Limit(6_000)}), spent={DEPOSITS_OF_DAY: 1_000})
    moved(move(DEPOSIT, 5_000), where)
    refusal = decide_funds(move(DEPOSIT, 5_001), where)
    assert isinstance(refusal, Rejection)
    assert refusal.extra == {"limit": "deposit", "period": "day", "left": "50.00"}
