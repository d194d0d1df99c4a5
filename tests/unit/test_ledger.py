"""The ledger: transfers that can't be unbalanced, and a wallet that never falls below zero."""

from uuid import UUID, uuid5

import pytest

from tests.clock import NOON
from tests.samples import ALICE
from touchline.core.errors import Fault
from touchline.core.ids import BetId
from touchline.core.ledger import (
    CASHIER,
    HOUSE,
    STAKES,
    Cause,
    Posting,
    TransferKind,
    Wallet,
    debt_account,
    deposit,
    wallet_account,
    withdrawal,
)

NAMESPACE = UUID("6f1b7a52-2d0b-5c0e-9c5a-1f7d2a6b9e10")  # of every transfer there is: it never changes
WALLET, DEBT = wallet_account(ALICE), debt_account(ALICE)


def posting(balance_minor: int, debt_minor: int = 0, name: str = "cause") -> Posting:
    return Posting(Cause(name, ALICE, "EUR", NOON), Wallet(balance_minor, debt_minor))


def moves(of: Posting) -> list[tuple[str, str, int]]:
    return [(transfer.debit, transfer.credit, transfer.amount_minor) for transfer in of.transfers]


@pytest.mark.parametrize(
    ("wallet", "amount", "after", "expected"),
    [
        ((100, 0), 0, (100, 0), []),
        ((100, 0), 40, (60, 0), [(WALLET, HOUSE, 40)]),
        ((100, 0), 100, (0, 0), [(WALLET, HOUSE, 100)]),
        ((100, 0), 130, (0, 30), [(WALLET, HOUSE, 100), (DEBT, HOUSE, 30)]),
        ((0, 0), 30, (0, 30), [(DEBT, HOUSE, 30)]),
        ((0, 20), 30, (0, 50), [(DEBT, HOUSE, 30)]),
    ],
)
def test_what_a_wallet_lacks_becomes_a_debt_where_it_may(
    wallet: tuple[int, int], amount: int, after: tuple[int, int], expected: list[tuple[str, str, int]]
) -> None:
    taken = posting(*wallet)
    taken.take(TransferKind.ROLLBACK, HOUSE, amount, may_owe=True)
    assert taken.wallet == Wallet(*after)
    assert moves(taken) == expected


@pytest.mark.parametrize(
    ("wallet", "amount", "after", "expected"),
    [
        ((100, 0), 0, (100, 0), []),
        ((100, 0), 40, (140, 0), [(HOUSE, WALLET, 40)]),
        ((0, 50), 40, (0, 10), [(HOUSE, DEBT, 40)]),
        ((0, 50), 50, (0, 0), [(HOUSE, DEBT, 50)]),
        ((0, 50), 80, (30, 0), [(HOUSE, DEBT, 50), (HOUSE, WALLET, 30)]),
    ],
)
def test_what_is_given_repays_the_debt_first(
    wallet: tuple[int, int], amount: int, after: tuple[int, int], expected: list[tuple[str, str, int]]
) -> None:
    given = posting(*wallet)
    given.give(TransferKind.PAYOUT, HOUSE, amount)
    assert given.wallet == Wallet(*after)
    assert moves(given) == expected


def test_taking_more_than_a_wallet_holds_is_a_fault_and_moves_nothing() -> None:
    taken = posting(100)
    with pytest.raises(Fault):
        taken.take(TransferKind.STAKE, STAKES, 101)
    assert (taken.wallet, moves(taken)) == (Wallet(100), [])


def test_a_negative_amount_is_a_fault() -> None:
    started = posting(100)
    with pytest.raises(Fault):
        started.move(TransferKind.PAYOUT, HOUSE, STAKES, -1)
    with pytest.raises(Fault):
        started.take(TransferKind.STAKE, STAKES, -1)
    with pytest.raises(Fault):
        started.give(TransferKind.PAYOUT, HOUSE, -1)
    assert (started.wallet, moves(started)) == (Wallet(100), [])


def test_a_transfers_id_follows_from_its_cause_and_its_place() -> None:
    def ids(name: str) -> list[object]:
        made = posting(100, name=name)
        made.take(TransferKind.ROLLBACK, HOUSE, 130, may_owe=True)
        return [transfer.transfer_id for transfer in made.transfers]

    first = ids("bet/1")
    assert len(set(first)) == 2
    assert ids("bet/1") == first
    assert not set(ids("bet/2")) & set(first)


def test_a_deposit_comes_from_the_cashier_and_a_withdrawal_goes_there() -> None:
    cause = Cause("move", ALICE, "EUR", NOON)
    assert moves(deposit(cause, Wallet(5), 100)) == [(CASHIER, WALLET, 100)]
    assert moves(withdrawal(cause, Wallet(100), 100)) == [(WALLET, CASHIER, 100)]
    with pytest.raises(Fault):
        withdrawal(cause, Wallet(99), 100)


def test_a_transfers_id_is_made_of_its_cause_and_place_alone() -> None:
    of = posting(100, name="a cause")
    of.move(TransferKind.PAYOUT, HOUSE, STAKES, 1)
    of.move(TransferKind.PAYOUT, HOUSE, STAKES, 2)
    assert [transfer.transfer_id for transfer in of.transfers] == [
        uuid5(NAMESPACE, f"a cause#{place}") for place in range(2)
    ]


def test_a_bets_transfers_stand_beside_it_in_an_index() -> None:
    bet_id = BetId(UUID("0198c2a4-5bf6-7000-8000-000000000000"))
    of = Posting(Cause("a cause", ALICE, "EUR", NOON, bet_id=bet_id), Wallet(100))
    of.take(TransferKind.STAKE, STAKES, 10)
    of.give(TransferKind.REFUND, STAKES, 10)
    for place, transfer in enumerate(of.transfers):
        derived = uuid5(NAMESPACE, f"a cause#{place}")
        assert transfer.transfer_id.bytes[:6] == bet_id.bytes[:6]
        assert transfer.transfer_id.version == 8
        assert transfer.transfer_id.bytes[7:] == derived.bytes[7:]
        assert transfer.transfer_id.bytes[6] & 0xF == derived.bytes[6] & 0xF
