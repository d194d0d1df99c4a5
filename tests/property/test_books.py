"""Money is conserved over any sequence of deposits, bets, settlements, voids, rollbacks and corrections.

The machine keeps two records of each sum, as the platform does: what the core says of a wallet and a bet, and the
transfers, folded by account. They must agree after every step, also while decisions are half carried out.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.clock import NOON
from tests.samples import AWAY, DRAW, HOME, MARKET, RULES, SECOND, bet, market, settlement
from touchline.core.acceptance import Acceptance, Position, decide
from touchline.core.account import Account
from touchline.core.bet import Bet, BetResult, BetStatus, PlaceBet
from touchline.core.errors import Rejection
from touchline.core.funds import FundsAcceptance, FundsPosition, MoveFunds, decide_funds
from touchline.core.ids import BetId, PlayerId, TransferId
from touchline.core.ledger import (
    CASHIER,
    HOUSE,
    STAKES,
    Posting,
    Transfer,
    TransferKind,
    Wallet,
    debt_account,
    wallet_account,
)
from touchline.core.market import MarketStatus, MarketStep, step_market
from touchline.core.settlement import (
    VOIDED,
    Outcome,
    Plan,
    Settlement,
    SettlementKind,
    carry_out,
    plan_rollback,
    plan_settle,
    plan_void,
    settled_payout_minor,
)

PLAYERS = [PlayerId("alice"), PlayerId("bob"), PlayerId("carol")]
SELECTIONS = [HOME, DRAW, AWAY]
factors = st.sampled_from(["0", "0", "0", "1/2", "1/3", "1"]).map(Fraction)
outcomes = st.builds(
    Outcome,
    st.sampled_from(BetResult),
    factors,
    st.sampled_from(["1", "1", "1/2", "1/3", "7/9"]).map(Fraction),
)
results_of_all = st.fixed_dictionaries(dict.fromkeys(SELECTIONS, outcomes))
amounts = st.integers(10, 20_000)
players = st.sampled_from(PLAYERS)
WORKED = st.sampled_from([0, 1, 2, 1_000, 1_000, 1_000])  # bets, before the worker is killed


class Books(RuleBasedStateMachine):
    """One market, three players, and a settlement worker that may stop between any two bets."""

    @initialize()
    def open(self) -> None:
        self.market = market()
        self.now = NOON
        self.wallets = dict.fromkeys(PLAYERS, Wallet(0))
        self.bets: dict[BetId, Bet] = {}
        self.settlements: list[Settlement] = []
        self.undone: set[int] = set()
        self.finished = 0  # how many of the settlements, oldest first, are carried out
        self.transfers: dict[TransferId, Transfer] = {}
        self.made = 0
        for player in PLAYERS:
            self.move_funds(player, TransferKind.DEPOSIT, 40_000)
            self.place(player, HOME, 10_000)

    def fresh(self) -> UUID:
        self.made += 1
        self.now += SECOND
        return UUID(int=self.made)

    def post(self, player: PlayerId, posting: Posting) -> None:
        for transfer in posting.transfers:
            assert transfer.transfer_id not in self.transfers
            assert transfer.amount_minor > 0
            assert transfer.debit != transfer.credit
            self.transfers[transfer.transfer_id] = transfer
        self.wallets[player] = posting.wallet

    def record(self, plan: Plan | None) -> None:
        if plan is None:
            return
        self.market = plan.market
        for draft in plan.settlements:
            self.settlements.append(replace(draft, settlement_id=len(self.settlements) + 1))
            if draft.undoes is not None:
                self.undone.add(draft.undoes)

    def standing(self) -> list[Settlement]:
        decided = (SettlementKind.SETTLE, SettlementKind.VOID)
        return [s for s in reversed(self.settlements) if s.kind in decided and s.settlement_id not in self.undone]

    def account(self, player: PlayerId) -> Account:
        return Account(player_id=player, currency="EUR", wallet=self.wallets[player])

    @rule(player=players, kind=st.sampled_from([TransferKind.DEPOSIT, TransferKind.WITHDRAWAL]), amount=amounts)
    def move_funds(self, player: PlayerId, kind: TransferKind, amount: int) -> None:
        request = MoveFunds(
            move_id=self.fresh(), player_id=player, kind=kind, amount_minor=amount, idempotency_key="f"
        )
        answer = decide_funds(request, FundsPosition(account=self.account(player), now=self.now))
        if isinstance(answer, FundsAcceptance) and answer.posting is not None:
            self.post(player, answer.posting)

    @rule(player=players, selection=st.sampled_from(SELECTIONS), stake=amounts)
    def place_where_it_is_open_again(self, player: PlayerId, selection: Any, stake: int) -> None:
        self.trade(MarketStep.RESUME)
        self.place(player, selection, stake)

    def place(self, player: PlayerId, selection: Any, stake: int) -> None:
        offered = self.market.selection(selection)
        assert offered is not None
        request = PlaceBet(
            bet_id=BetId(self.fresh()),
            player_id=player,
            market_id=MARKET,
            selection_id=selection,
            odds_milli=offered.odds_milli or 0,
            odds_version=self.market.odds_version,
            stake_minor=stake,
        )
        where = Position(account=self.account(player), market=self.market, rules=RULES, now=self.now)
        answer = decide(request, where)
        if isinstance(answer, Acceptance) and answer.posting is not None:
            self.bets[answer.bet.bet_id] = answer.bet
            self.post(player, answer.posting)

    @rule(step=st.sampled_from([MarketStep.SUSPEND, MarketStep.CLOSE]))
    def trade(self, step: MarketStep) -> None:
        try:
            self.market = step_market(self.market, step, self.now)
        except Rejection:
            return  # the lifecycle has no such step from here

    @rule(results=results_of_all, corrects=st.booleans(), worked=WORKED)
    def settle(self, results: dict[Any, Outcome], corrects: bool, worked: int) -> None:
        try:
            self.record(plan_settle(self.market, self.standing(), results, self.now, corrects=corrects))
        except Rejection:
            return  # void, or settled otherwise
        self.work_on(worked)

    @rule(
        ages_s=st.just((None, None)) | st.tuples(st.integers(2, 9), st.none() | st.integers(0, 2)), worked=WORKED
    )
    def void(self, ages_s: tuple[int | None, int | None], worked: int) -> None:
        window = tuple(None if age is None else self.now - timedelta(seconds=age) for age in ages_s)
        try:
            self.record(plan_void(self.market, self.standing(), self.now, (window[0], window[1])))
        except Rejection:
            return  # a window on a settled market
        self.work_on(worked)

    @rule(kind=st.sampled_from([SettlementKind.ROLLBACK_SETTLEMENT, SettlementKind.ROLLBACK_VOID]), worked=WORKED)
    def roll_back(self, kind: SettlementKind, worked: int) -> None:
        try:
            self.record(plan_rollback(self.market, self.standing(), kind, self.now))
        except Rejection:
            return  # nothing to take back
        self.work_on(worked)

    @rule(worked=WORKED)
    def work_on(self, worked: int) -> None:
        """Work at most `worked` bets of each settlement in turn, and look at all of them once none is left."""
        while self.finished < len(self.settlements):
            before = self.finished
            self.work(worked)
            if self.finished == before:
                return
        self.agree_with_the_results()

    def work(self, bets_max: int) -> None:
        """Carry the oldest unfinished settlement out for a few bets; one taken back pays nobody further."""
        oldest = self.settlements[self.finished]
        left = [b for b in self.bets.values() if oldest.has_to_work(b)]
        if oldest.settlement_id in self.undone:
            left = []
        for b in left[:bets_max]:
            move = carry_out(oldest, b, self.wallets[b.player_id], self.now)
            assert not oldest.has_to_work(move.bet)
            self.bets[b.bet_id] = move.bet
            self.post(b.player_id, move.posting)
        self.finished += len(left) <= bets_max

    def agree_with_the_results(self) -> None:
        """Every bet is as what stands of the market's decisions says, and nothing is left over."""
        by_id = {s.settlement_id: s for s in self.standing()}
        for b in self.bets.values():
            if b.status is BetStatus.PLACED:
                assert b.settlement_id is None
                assert self.market.status not in (MarketStatus.SETTLED, MarketStatus.VOID)
                continue
            by = by_id[b.settlement_id or 0]
            outcome = VOIDED if by.kind is SettlementKind.VOID else by.results[b.selection_id]
            assert b.payout_minor == settled_payout_minor(b.stake_minor, b.odds_milli, outcome)

    @invariant()
    def no_wallet_is_below_zero_and_nobody_holds_money_while_he_owes(self) -> None:
        for wallet in self.wallets.values():
            assert wallet.balance_minor >= 0
            assert wallet.debt_minor >= 0
            assert wallet.balance_minor * wallet.debt_minor == 0

    @invariant()
    def the_transfers_say_the_same(self) -> None:
        sums = folded(self.transfers)
        assert sum(sums.values()) == 0
        expected = {STAKES: 0, HOUSE: 0, CASHIER: sums[CASHIER]}
        for player, wallet in self.wallets.items():
            expected[wallet_account(player)] = wallet.balance_minor
            expected[debt_account(player)] = -wallet.debt_minor
        for b in self.bets.values():
            if b.status is BetStatus.PLACED:
                expected[STAKES] += b.stake_minor
            elif b.status is BetStatus.SETTLED:
                expected[HOUSE] += b.stake_minor - (b.payout_minor or 0)
        assert {account: total for account, total in sums.items() if total} == {
            account: total for account, total in expected.items() if total
        }


TestBooks = Books.TestCase


def folded(transfers: Mapping[TransferId, Transfer]) -> defaultdict[str, int]:
    """Each account's balance by its transfers alone."""
    sums: defaultdict[str, int] = defaultdict(int)
    for transfer in transfers.values():
        sums[transfer.debit] -= transfer.amount_minor
        sums[transfer.credit] += transfer.amount_minor
    return sums


def worked(decision: Settlement, of: Bet, wallet: Wallet, at: datetime) -> tuple[Bet, Wallet]:
    move = carry_out(decision, of, wallet, at)
    return move.bet, move.posting.wallet


@given(
    stake=st.integers(1, 10**9),
    odds_milli=st.integers(1_001, 10_000_000),
    first=outcomes,
    second=outcomes,
    spent=st.integers(0, 10**12),
)
def test_a_correction_ends_where_the_right_results_at_once_would_have(
    stake: int, odds_milli: int, first: Outcome, second: Outcome, spent: int
) -> None:
    taken = bet(stake_minor=stake, odds_milli=odds_milli)
    wrong = settlement(SettlementKind.SETTLE, 1, results={HOME: first})
    undo = settlement(SettlementKind.ROLLBACK_SETTLEMENT, 2, undoes=1)
    right = settlement(SettlementKind.SETTLE, 3, results={HOME: second})
    decided, wallet = worked(wrong, taken, Wallet(0), NOON)
    gone = min(spent, wallet.balance_minor)
    undone, wallet = worked(undo, decided, Wallet(wallet.balance_minor - gone), NOON)
    assert undone == taken
    corrected, wallet = worked(right, undone, wallet, NOON)
    direct, expected = worked(right, taken, Wallet(0), NOON)
    assert corrected == direct
    assert wallet.balance_minor - wallet.debt_minor == expected.balance_minor - gone


@given(stake=st.integers(1, 10**12), odds_milli=st.integers(1_001, 10_000_000), outcome=outcomes)
def test_a_payout_is_within_half_a_unit_of_the_exact_sum_and_never_below_it_by_more(
    stake: int, odds_milli: int, outcome: Outcome
) -> None:
    paid = settled_payout_minor(stake, odds_milli, outcome)
    won = {BetResult.WON: Fraction(odds_milli, 1_000), BetResult.LOST: Fraction(0), BetResult.VOID: None}
    odds = won[outcome.result]
    void = outcome.void_factor
    exact = stake if odds is None else stake * void + stake * (1 - void) * odds * outcome.dead_heat_factor
    assert -Fraction(1, 2) < paid - exact <= Fraction(1, 2)
