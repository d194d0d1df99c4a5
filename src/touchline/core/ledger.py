"""Double entry: every movement of money is one row that debits one account and credits another.

Invariants: an amount is above zero; a wallet never falls below zero; a player holds a balance or a debt, never
both, since whatever he is credited repays his debt first.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha1
from typing import Final
from uuid import UUID

from touchline.core.errors import Fault
from touchline.core.ids import BetId, PlayerId, TransferId
from touchline.core.values import value

STAKES: Final = "stakes"  # stakes of open bets, owed to nobody yet
HOUSE: Final = "house"  # what the book has won or lost
CASHIER: Final = "cashier"  # money outside the platform: deposits come from it, withdrawals go to it
BOOKS_OWN: Final = frozenset({STAKES, HOUSE, CASHIER})  # every other account is a player's

_NAMESPACE_BYTES: Final = UUID("6f1b7a52-2d0b-5c0e-9c5a-1f7d2a6b9e10").bytes
_NO_VERSION: Final = ~(0xF << 76 | 0x3 << 62)  # of an id all but the bits that say its version and variant
_VERSION_5: Final = 5 << 76 | 0b10 << 62
_VERSION_8: Final = 8 << 76 | 0b10 << 62
_AFTER_TIME: Final = (1 << 80) - 1


class TransferKind(StrEnum):
    """Why money moved."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    STAKE = "stake"
    STAKE_RELEASED = "stake_released"  # a decided bet's stake goes to the house
    PAYOUT = "payout"
    REFUND = "refund"
    ROLLBACK = "rollback"


def wallet_account(player_id: PlayerId) -> str:
    """Return the name of the account that holds what a player can bet or withdraw."""
    return f"wallet:{player_id}"


def debt_account(player_id: PlayerId) -> str:
    """Return the name of the account whose overdraft is what a player owes after a rollback."""
    return f"debt:{player_id}"


@value(frozen=True, slots=True)
class Transfer:
    """`amount_minor` leaves `debit` and reaches `credit`; the id derives from its cause, so it posts once."""

    transfer_id: TransferId
    kind: TransferKind
    debit: str
    credit: str
    amount_minor: int
    currency: str
    bet_id: BetId | None
    recorded_at: datetime


@value(frozen=True, slots=True)
class Wallet:
    """What a player has and what he owes, in minor units of his currency."""

    balance_minor: int
    debt_minor: int = 0


@value(frozen=True, slots=True)
class Cause:
    """What a posting is for: its name makes the transfers' ids, so that it can be posted once only."""

    name: str
    player_id: PlayerId
    currency: str
    at: datetime
    bet_id: BetId | None = None


class Posting:
    """The transfers of one cause, gathered in order, and the wallet as they leave it."""

    def __init__(self, cause: Cause, wallet: Wallet) -> None:
        self.cause = cause
        self.wallet = wallet
        self._transfers: list[Transfer] = []

    @property
    def transfers(self) -> Sequence[Transfer]:
        """The transfers so far."""
        return tuple(self._transfers)

    def move(self, kind: TransferKind, debit: str, credit: str, amount_minor: int) -> None:
        """Add one transfer between two accounts that are not the player's; nothing where the amount is zero."""
        if amount_minor < 0:
            raise Fault(f"a transfer of {amount_minor} for {self.cause.name}")
        if amount_minor == 0:
            return
        cause, transfers = self.cause, self._transfers
        transfer_id = TransferId(derived_id(f"{cause.name}#{len(transfers)}", cause.bet_id))
        transfers.append(
            Transfer(transfer_id, kind, debit, credit, amount_minor, cause.currency, cause.bet_id, cause.at)
        )

    def take(self, kind: TransferKind, credit: str, amount_minor: int, *, may_owe: bool = False) -> None:
        """Take from the player's wallet; what it lacks becomes his debt where `may_owe`.

        Raises:
            Fault: the wallet lacks it and he may not owe it: the decision should have refused.
        """
        paid = min(amount_minor, self.wallet.balance_minor)
        owed = amount_minor - paid
        if owed and not may_owe:
            raise Fault(f"{self.cause.name} takes {amount_minor} from a wallet of {self.wallet.balance_minor}")
        self.move(kind, wallet_account(self.cause.player_id), credit, paid)
        if owed:
            self.move(kind, debt_account(self.cause.player_id), credit, owed)
        self.wallet = Wallet(self.wallet.balance_minor - paid, self.wallet.debt_minor + owed)

    def give(self, kind: TransferKind, debit: str, amount_minor: int) -> None:
        """Credit the player: his debt first, then his wallet."""
        repaid = min(amount_minor, self.wallet.debt_minor)
        if repaid:
            self.move(kind, debit, debt_account(self.cause.player_id), repaid)
        self.move(kind, debit, wallet_account(self.cause.player_id), amount_minor - repaid)
        self.wallet = Wallet(self.wallet.balance_minor + amount_minor - repaid, self.wallet.debt_minor - repaid)


def derived_id(name: str, beside: UUID | None = None) -> UUID:
    """Return the id that belongs to a cause of this name, always the same: RFC 9562's version 5.

    With `beside` it is of version 8, and begins with the 48 bits that this one begins with, its time: so that what
    is recorded together stands together in an index, however large that has grown.
    """
    # uuid.uuid5, without what it spends on being general: settlement asks for three a bet.
    digest = sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).digest()
    number = int.from_bytes(digest[:16], "big") & _NO_VERSION
    if beside is None:
        return UUID(int=number | _VERSION_5)
    return UUID(int=beside.int >> 80 << 80 | number & _AFTER_TIME | _VERSION_8)


def deposit(cause: Cause, wallet: Wallet, amount_minor: int) -> Posting:
    """Return the posting of a deposit."""
    posting = Posting(cause, wallet)
    posting.give(TransferKind.DEPOSIT, CASHIER, amount_minor)
    return posting


def withdrawal(cause: Cause, wallet: Wallet, amount_minor: int) -> Posting:
    """Return the posting of a withdrawal that the wallet covers."""
    posting = Posting(cause, wallet)
    posting.take(TransferKind.WITHDRAWAL, CASHIER, amount_minor)
    return posting
