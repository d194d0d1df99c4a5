"""The books in memory as an auditor reads them.

Invariant: each check compares two independent records, as the database's do.
"""

from collections import defaultdict
from collections.abc import Iterator

from touchline.adapters.memory.tables import Exposure, Tables
from touchline.core.audit import judge
from touchline.core.bet import Bet, BetStatus
from touchline.core.ids import BetId, MarketId, SelectionId
from touchline.core.ledger import CASHIER, HOUSE, STAKES, debt_account, wallet_account
from touchline.core.market import DECIDED, MarketStatus


class MemoryBooks:
    """The `Books` port."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    async def discrepancies(self) -> list[str]:
        """See `ports.Books`."""
        return [
            *self._wallets(),
            *self._bets(),
            *self._exposures(),
            *self._prices(),
            *self._left_over(),
            *self._decided(),
        ]

    async def sums(self) -> dict[str, int]:
        """See `ports.Books`."""
        tables, folded = self._tables, self._folded()
        open_bets = [bet for bet in tables.bets.values() if bet.status is BetStatus.PLACED]
        return {
            "bets": len(tables.bets),
            "open_bets": len(open_bets),
            "transfers": len(tables.transfers),
            "wallets": sum(held.wallet.balance_minor for held in tables.wallets.values()),
            "debts": sum(held.wallet.debt_minor for held in tables.wallets.values()),
            "stakes": sum(bet.stake_minor for bet in open_bets),
            "house": folded[HOUSE],
            "cashier": folded[CASHIER],
        }

    def _folded(self) -> dict[str, int]:
        folded: dict[str, int] = defaultdict(int)
        for transfer in self._tables.transfers.values():
            folded[transfer.debit] -= transfer.amount_minor
            folded[transfer.credit] += transfer.amount_minor
        return folded

    def _wallets(self) -> Iterator[str]:
        folded, known = self._folded(), {STAKES, HOUSE, CASHIER}
        for player_id, held in self._tables.wallets.items():
            wallet, debt = wallet_account(player_id), debt_account(player_id)
            known |= {wallet, debt}
            if (held.wallet.balance_minor, held.wallet.debt_minor) != (folded[wallet], -folded[debt]):
                yield (
                    f"wallet of {player_id}: holds {held.wallet.balance_minor} and owes {held.wallet.debt_minor}, "
                    f"its transfers say {folded[wallet]} and {-folded[debt]}"
                )
        for account in sorted(set(folded) - known):
            yield f"account {account}: moves money and is nobody's"

    def _bets(self) -> Iterator[str]:
        moved: dict[BetId, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for transfer in self._tables.transfers.values():
            if transfer.bet_id is not None:
                moved[transfer.bet_id][transfer.debit.split(":")[0]] -= transfer.amount_minor
                moved[transfer.bet_id][transfer.credit.split(":")[0]] += transfer.amount_minor
        for bet_id in {**self._tables.bets, **moved}:
            bet, got = self._tables.bets.get(bet_id), moved[bet_id]
            player = got["wallet"] + got["debt"]
            if bet is None or (player, got[STAKES], got[HOUSE]) != _due(bet):
                yield f"bet {bet_id}: its transfers gave the player {player}, hold {got[STAKES]}"

    def _exposures(self) -> Iterator[str]:
        folded: dict[tuple[MarketId, SelectionId], Exposure] = defaultdict(Exposure)
        for bet in self._tables.bets.values():
            if bet.status is BetStatus.PLACED:
                place = (bet.market_id, bet.selection_id)
                folded[place] = folded[place].moved(bet, 1)
        for place in {**self._tables.exposures, **folded}:
            if self._tables.exposures.get(place, Exposure()) != folded[place]:
                yield f"exposure of {place[0]} {place[1]}: its open bets say {folded[place].liability_minor}"

    def _prices(self) -> Iterator[str]:
        for bet in self._tables.bets.values():
            offered = self._tables.history.get((bet.market_id, bet.odds_version))
            selection = None if offered is None else offered.selection(bet.selection_id)
            offered_milli = None if selection is None else selection.odds_milli
            if offered is None or offered.status is not MarketStatus.ACTIVE or offered_milli != bet.odds_milli:
                yield (
                    f"bet {bet.bet_id}: {bet.odds_milli} thousandths were not offered by {bet.market_id} "
                    f"at version {bet.odds_version}"
                )
        for market in self._tables.markets.values():
            versions = sorted(version for key, version in self._tables.history if key == market.market_id)
            if versions != list(range(1, market.odds_version + 1)):
                yield f"market {market.market_id}: version {market.odds_version}, its history has gaps"

    def _left_over(self) -> Iterator[str]:
        unfinished = {s.market_id for s in self._tables.settlements.values() if s.finished_at is None}
        for bet in self._tables.bets.values():
            status = self._tables.markets[bet.market_id].status
            if bet.status is BetStatus.PLACED and status in DECIDED and bet.market_id not in unfinished:
                yield f"bet {bet.bet_id}: still open, though market {bet.market_id} is {status.value}"

    def _decided(self) -> Iterator[str]:
        settlements = self._tables.settlements
        for bet in self._tables.bets.values():
            if bet.status is BetStatus.PLACED:
                continue
            number = bet.settlement_id or 0
            undone = settlements.get(self._tables.undone.get(number, 0))
            taken_back = undone is not None and undone.finished_at is not None
            wrong = judge(bet, settlements.get(number), taken_back=taken_back)
            if wrong:
                yield f"bet {bet.bet_id}: {wrong}"


def _due(bet: Bet) -> tuple[int, int, int]:
    """Return what the player got from a bet in all, what is held of it, and what the house won."""
    if bet.status is BetStatus.PLACED:
        return -bet.stake_minor, bet.stake_minor, 0
    paid = bet.payout_minor or 0
    return paid - bet.stake_minor, 0, bet.stake_minor - paid
