"""Settlement: what a result does to a bet and its money, and how a market's decisions follow one another."""

from dataclasses import replace
from datetime import datetime
from fractions import Fraction

import pytest

from tests.clock import NOON
from tests.samples import (
    ALICE,
    AWAY,
    DRAW,
    DRAWN,
    HOME,
    HOME_WON,
    SECOND,
    bet,
    market,
    outcome,
    settlement,
)
from touchline.core.bet import Bet, BetResult, BetStatus
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.ids import SelectionId
from touchline.core.ledger import HOUSE, STAKES, Wallet, debt_account, wallet_account
from touchline.core.market import MarketStatus, Selection, SelectionStatus
from touchline.core.settlement import (
    VOIDED,
    BetMove,
    Outcome,
    Settlement,
    SettlementKind,
    carry_out,
    check_results,
    plan_rollback,
    plan_settle,
    plan_void,
    settled_payout_minor,
)

SETTLE, VOID = SettlementKind.SETTLE, SettlementKind.VOID
UNSETTLE, UNVOID = SettlementKind.ROLLBACK_SETTLEMENT, SettlementKind.ROLLBACK_VOID
LATER = NOON + SECOND
WALLET, DEBT = wallet_account(ALICE), debt_account(ALICE)


def moves(move: BetMove) -> list[tuple[str, str, int]]:
    return [(transfer.debit, transfer.credit, transfer.amount_minor) for transfer in move.posting.transfers]


def settle_as(what: Outcome, of: Bet | None = None, wallet: Wallet | None = None) -> BetMove:
    decision = settlement(SETTLE, results={HOME: what})
    return carry_out(decision, of or bet(), wallet or Wallet(0), LATER)


@pytest.mark.parametrize(
    ("what", "payout"),
    [
        (outcome("won"), 2_500),
        (outcome("lost"), 0),
        (outcome("void"), 1_000),
        (outcome("void", void="1"), 1_000),
        (outcome("won", void="1"), 1_000),
        (outcome("won", void="1/2"), 1_750),  # half won
        (outcome("lost", void="1/2"), 500),  # half lost
        (outcome("won", dead_heat="1/2"), 1_250),
        (outcome("won", dead_heat="1/3"), 833),  # 833.33
        (outcome("won", void="1/2", dead_heat="1/2"), 1_125),
        (outcome("lost", dead_heat="1/2"), 0),
    ],
    ids=str,
)
def test_a_bet_of_ten_at_two_and_a_half_pays_by_the_formula(what: Outcome, payout: int) -> None:
    assert settled_payout_minor(1_000, 2_500, what) == payout


@pytest.mark.parametrize(
    ("stake_minor", "odds_milli", "what", "payout"),
    [
        (1, 1_500, outcome("won"), 2),  # 1.5
        (1, 1_499, outcome("won"), 1),
        (500, 1_250, outcome("won", dead_heat="1/2"), 313),  # 312.5
        (1, 1_001, outcome("lost", void="1/2"), 1),  # 0.5
        (3, 2_000, outcome("won", void="1/3", dead_heat="1/2"), 3),
        (10**12, 10_000_000, outcome("won", dead_heat="1/3"), 3_333_333_333_333_333),
    ],
    ids=str,
)
def test_a_payout_is_rounded_once_at_the_end_half_up(
    stake_minor: int, odds_milli: int, what: Outcome, payout: int
) -> None:
    assert settled_payout_minor(stake_minor, odds_milli, what) == payout


@pytest.mark.parametrize(
    ("void", "dead_heat"), [("-1/9", "1"), ("10/9", "1"), ("0", "0"), ("0", "-1"), ("0", "2")]
)
def test_factors_out_of_their_range_are_refused(void: str, dead_heat: str) -> None:
    with pytest.raises(Rejection) as refused:
        Outcome(BetResult.WON, Fraction(void), Fraction(dead_heat))
    assert refused.value.code is Code.MALFORMED
    assert refused.value.extra["field"] == ("dead_heat_factor" if void == "0" else "void_factor")


@pytest.mark.parametrize(
    ("what", "status", "result", "expected"),
    [
        (outcome("won"), "SETTLED", "won", [(STAKES, HOUSE, 1_000), (HOUSE, WALLET, 2_500)]),
        (outcome("lost"), "SETTLED", "lost", [(STAKES, HOUSE, 1_000)]),
        (outcome("lost", void="1/2"), "SETTLED", "lost", [(STAKES, HOUSE, 1_000), (HOUSE, WALLET, 500)]),
        (outcome("void"), "VOID", "void", [(STAKES, WALLET, 1_000)]),
        (outcome("lost", void="1"), "VOID", "void", [(STAKES, WALLET, 1_000)]),
    ],
    ids=str,
)
def test_a_settled_bet_moves_its_stake_and_its_payout(
    what: Outcome, status: str, result: str, expected: list[tuple[str, str, int]]
) -> None:
    move = settle_as(what)
    assert moves(move) == expected
    paid = sum(amount for _, credit, amount in expected if credit == WALLET)
    assert move.posting.wallet == Wallet(paid)
    assert move.bet == replace(
        bet(),
        status=BetStatus(status),
        result=BetResult(result),
        payout_minor=paid,
        settled_at=LATER,
        settlement_id=1,
    )


def test_a_void_gives_the_stake_back() -> None:
    move = carry_out(settlement(VOID), bet(), Wallet(5), LATER)
    assert (move.bet.status, move.bet.result, move.bet.payout_minor) == (BetStatus.VOID, BetResult.VOID, 1_000)
    assert move.posting.wallet == Wallet(1_005)


@pytest.mark.parametrize("what", [outcome("won"), outcome("lost"), outcome("void"), outcome("lost", void="1/2")])
def test_rolling_back_makes_the_bet_as_if_it_had_never_been_decided(what: Outcome) -> None:
    decided = settle_as(what, wallet=Wallet(700))
    undo = settlement(UNSETTLE, 2, undoes=1)
    back = carry_out(undo, decided.bet, decided.posting.wallet, LATER + SECOND)
    assert back.bet == bet()
    assert back.posting.wallet == Wallet(700)
    net: dict[str, int] = {}
    for debit, credit, amount in moves(decided) + moves(back):
        net[debit] = net.get(debit, 0) - amount
        net[credit] = net.get(credit, 0) + amount
    assert set(net.values()) == {0}


def test_rolling_back_what_the_winner_has_spent_leaves_a_debt_that_the_next_payout_repays() -> None:
    won = settle_as(outcome("won"))
    back = carry_out(settlement(UNSETTLE, 2, undoes=1), won.bet, Wallet(300), LATER)
    assert moves(back) == [(WALLET, HOUSE, 300), (DEBT, HOUSE, 2_200), (HOUSE, STAKES, 1_000)]
    assert back.posting.wallet == Wallet(0, 2_200)
    again = carry_out(settlement(SETTLE, 3), back.bet, back.posting.wallet, LATER)
    assert moves(again) == [(STAKES, HOUSE, 1_000), (HOUSE, DEBT, 2_200), (HOUSE, WALLET, 300)]
    assert again.posting.wallet == Wallet(300)


def test_no_transfer_of_one_settlement_has_the_id_of_another() -> None:
    won = settle_as(outcome("won"))
    back = carry_out(settlement(UNSETTLE, 2, undoes=1), won.bet, won.posting.wallet, LATER)
    again = carry_out(settlement(SETTLE, 3), back.bet, back.posting.wallet, LATER)
    ids = [transfer.transfer_id for move in (won, back, again) for transfer in move.posting.transfers]
    assert len(set(ids)) == len(ids)
    assert settle_as(outcome("won")).posting.transfers == won.posting.transfers


@pytest.mark.parametrize(
    ("decision", "of"),
    [
        (settlement(SETTLE), settle_as(outcome("won")).bet),
        (settlement(VOID), settle_as(outcome("void")).bet),
        (settlement(SETTLE, results=DRAWN), bet(selection_id=SelectionId("stranger"))),
        (settlement(UNSETTLE, 2, undoes=1), bet()),
        (settlement(UNSETTLE, 3, undoes=2), settle_as(outcome("won")).bet),
        (settlement(SETTLE), bet(status=BetStatus.WON)),
        (settlement(UNSETTLE, 2, undoes=1), bet(status=BetStatus.WON, settlement_id=1, payout_minor=5)),
    ],
    ids=["twice", "void twice", "no result", "open", "of another", "in between", "back in between"],
)
def test_a_bet_that_a_settlement_could_not_meet_is_a_fault(decision: Settlement, of: Bet) -> None:
    with pytest.raises(Fault):
        carry_out(decision, of, Wallet(10_000), LATER)


def test_results_must_name_every_selection_and_no_stranger() -> None:
    assert check_results(market(), HOME_WON) == HOME_WON
    with pytest.raises(Rejection) as missing:
        check_results(market(), {HOME: outcome("won"), DRAW: outcome("lost")})
    assert (missing.value.code, missing.value.extra["field"]) == (Code.MALFORMED, "results")
    with pytest.raises(Rejection) as stranger:
        check_results(market(), {**HOME_WON, SelectionId("nobody"): outcome("lost")})
    assert stranger.value.code is Code.SELECTION_NOT_FOUND


def test_a_removed_selection_that_results_leave_out_is_void_and_one_they_name_is_as_they_say() -> None:
    scratched = Selection(AWAY, "Away", 3_100, SelectionStatus.REMOVED)
    runners = market(selections=(*market().selections[:2], scratched))
    two = {HOME: outcome("won"), DRAW: outcome("lost")}
    assert check_results(runners, two) == {**two, AWAY: VOIDED}
    assert check_results(runners, HOME_WON) == HOME_WON


def kinds(plan: object) -> list[str]:
    settlements: tuple[Settlement, ...] = getattr(plan, "settlements", ())
    return [draft.kind.value for draft in settlements]


@pytest.mark.parametrize("status", [MarketStatus.ACTIVE, MarketStatus.SUSPENDED, MarketStatus.CLOSED])
def test_an_open_market_is_settled_by_one_settlement(status: MarketStatus) -> None:
    before = market(status=status)
    plan = plan_settle(before, [], HOME_WON, LATER, corrects=False)
    assert plan is not None
    assert (plan.market.status, plan.market.odds_version) == (MarketStatus.SETTLED, before.odds_version + 1)
    assert plan.settlements == (settlement(SETTLE, 0, LATER),)


def test_the_same_results_again_change_nothing_and_others_correct_only_where_they_may() -> None:
    decided, standing = market(status=MarketStatus.SETTLED), [settlement(SETTLE, 4)]
    assert plan_settle(decided, standing, HOME_WON, LATER, corrects=True) is None
    assert plan_settle(decided, standing, HOME_WON, LATER, corrects=False) is None
    with pytest.raises(Rejection) as refused:
        plan_settle(decided, standing, DRAWN, LATER, corrects=False)
    assert refused.value.code is Code.MARKET_CLOSED
    plan = plan_settle(decided, standing, DRAWN, LATER, corrects=True)
    assert plan is not None
    assert plan.settlements == (
        settlement(UNSETTLE, 0, LATER, undoes=4),
        settlement(SETTLE, 0, LATER, results=DRAWN),
    )
    assert plan.market == decided  # nothing that a bettor sees has changed


def test_a_void_market_is_not_settled_before_its_void_is_taken_back() -> None:
    with pytest.raises(Rejection) as refused:
        plan_settle(market(status=MarketStatus.VOID), [settlement(VOID, 4)], HOME_WON, LATER, corrects=True)
    assert refused.value.code is Code.MARKET_CLOSED


def test_voiding_takes_a_settlement_back_first_and_a_void_market_stays() -> None:
    plan = plan_void(market(), [], LATER)
    assert plan is not None
    assert (plan.market.status, kinds(plan)) == (MarketStatus.VOID, ["void"])
    plan = plan_void(market(status=MarketStatus.SETTLED), [settlement(SETTLE, 4)], LATER)
    assert plan is not None
    assert (plan.market.status, kinds(plan)) == (MarketStatus.VOID, ["rollback_settlement", "void"])
    assert plan.settlements[0].undoes == 4
    assert plan_void(market(status=MarketStatus.VOID), [settlement(VOID, 4)], LATER) is None


@pytest.mark.parametrize("window", [(NOON, LATER), (NOON, None), (None, LATER)])
def test_a_window_voids_bets_and_leaves_the_market_as_it_is(
    window: tuple[datetime | None, datetime | None],
) -> None:
    plan = plan_void(market(), [], LATER, window)
    assert plan is not None
    assert plan.market == market()
    assert [(draft.placed_from, draft.placed_until) for draft in plan.settlements] == [window]
    assert plan.settlements[0].windowed
    with pytest.raises(Rejection) as refused:
        plan_void(market(status=MarketStatus.SETTLED), [settlement(SETTLE, 4)], LATER, window)
    assert refused.value.code is Code.MARKET_CLOSED


def test_taking_back_leaves_the_market_suspended() -> None:
    plan = plan_rollback(market(status=MarketStatus.SETTLED), [settlement(SETTLE, 4)], UNSETTLE, LATER)
    assert (plan.market.status, plan.market.odds_version) == (MarketStatus.SUSPENDED, 8)
    assert plan.settlements == (settlement(UNSETTLE, 0, LATER, undoes=4),)
    plan = plan_rollback(market(status=MarketStatus.VOID), [settlement(VOID, 5)], UNVOID, LATER)
    assert (plan.market.status, plan.settlements[0].undoes) == (MarketStatus.SUSPENDED, 5)


def test_taking_a_windowed_void_back_leaves_the_market_as_it_is() -> None:
    plan = plan_rollback(market(), [settlement(VOID, 5, placed_from=NOON)], UNVOID, LATER)
    assert plan.market == market()
    assert [(draft.kind, draft.undoes) for draft in plan.settlements] == [(UNVOID, 5)]


def test_bets_that_a_windowed_void_gives_back_to_a_settled_market_are_settled_with_it() -> None:
    standing = [settlement(SETTLE, 6), settlement(VOID, 5, placed_from=NOON)]
    plan = plan_rollback(market(status=MarketStatus.SETTLED), standing, UNVOID, LATER)
    assert plan.settlements == (settlement(UNVOID, 0, LATER, undoes=5), settlement(SETTLE, 0, LATER))
    assert plan.market.status is MarketStatus.SETTLED


def test_all_that_settled_a_market_is_taken_back_together() -> None:
    decided = market(status=MarketStatus.SETTLED)
    standing = [settlement(SETTLE, 8), settlement(SETTLE, 6)]  # 8 settled what a windowed void had given back
    unsettled = plan_rollback(decided, standing, UNSETTLE, LATER)
    voided = plan_void(decided, standing, LATER)
    corrected = plan_settle(decided, standing, DRAWN, LATER, corrects=True)
    assert voided is not None
    assert corrected is not None
    assert [draft.undoes for draft in unsettled.settlements] == [8, 6]
    assert [draft.undoes for draft in voided.settlements] == [8, 6, None]
    assert [draft.undoes for draft in corrected.settlements] == [8, 6, None]


@pytest.mark.parametrize(
    ("status", "standing", "kind"),
    [
        (MarketStatus.ACTIVE, [], UNSETTLE),
        (MarketStatus.ACTIVE, [], UNVOID),
        (MarketStatus.SETTLED, [settlement(SETTLE, 4)], UNVOID),
        (MarketStatus.VOID, [settlement(VOID, 4)], UNSETTLE),
    ],
)
def test_nothing_to_take_back_is_refused(
    status: MarketStatus, standing: list[Settlement], kind: SettlementKind
) -> None:
    with pytest.raises(Rejection) as refused:
        plan_rollback(market(status=status), standing, kind, LATER)
    assert refused.value.code is Code.MARKET_CLOSED


def test_a_decided_market_without_its_settlement_on_record_is_a_fault() -> None:
    with pytest.raises(Fault):
        plan_settle(market(status=MarketStatus.SETTLED), [], DRAWN, LATER, corrects=True)


@pytest.mark.parametrize(
    ("decision", "of", "works"),
    [
        (settlement(SETTLE), bet(), True),
        (settlement(SETTLE), bet(status=BetStatus.VOID, settlement_id=9), False),
        (settlement(SETTLE), bet(status=BetStatus.SETTLED, settlement_id=1), False),
        (settlement(VOID, placed_from=NOON), bet(), True),
        (settlement(VOID, placed_from=LATER), bet(), False),
        (settlement(VOID, placed_until=LATER), bet(), True),
        (settlement(VOID, placed_until=NOON), bet(), False),
        (settlement(UNSETTLE, 2, undoes=1), bet(status=BetStatus.SETTLED, settlement_id=1), True),
        (settlement(UNSETTLE, 2, undoes=1), bet(status=BetStatus.SETTLED, settlement_id=9), False),
        (settlement(UNSETTLE, 2, undoes=1), bet(), False),
    ],
)
def test_which_bets_a_settlement_still_has_to_work_is_read_off_the_bet(
    decision: Settlement, of: Bet, works: bool
) -> None:
    assert decision.has_to_work(of) is works
