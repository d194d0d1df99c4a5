"""The decision on a bet: what is taken at which price, and that the first refusal in the order wins."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest

from tests.clock import NOON
from tests.samples import ALICE, AWAY, HOME, RULES, SECOND, account, bet, market, place_bet, position
from touchline.core.acceptance import Acceptance, Position, decide
from touchline.core.bet import Accept, BetStatus, PlaceBet
from touchline.core.errors import Code, Rejection
from touchline.core.ids import SelectionId
from touchline.core.ledger import STAKES, TransferKind, Wallet, wallet_account
from touchline.core.limits import Limit, LimitKind, Period
from touchline.core.market import MarketStatus, Selection, SelectionStatus
from touchline.core.price import format_odds
from touchline.core.rates import too_many_bets

Case = tuple[PlaceBet, Position]
STAKE_OF_DAY = (LimitKind.STAKE, Period.DAY)


def _selection(where: Position, **changed: Any) -> Position:
    """`where`, the selection of home changed; a position without a market stays as it is."""
    if where.market is None:
        return where
    selections = tuple(replace(s, **changed) if s.selection_id == HOME else s for s in where.market.selections)
    return replace(where, market=replace(where.market, selections=selections))


def _market(where: Position, **changed: Any) -> Position:
    return where if where.market is None else replace(where, market=replace(where.market, **changed))


def _account(where: Position, **changed: Any) -> Position:
    return replace(where, account=replace(where.account, **changed))


# What makes each refusal apply, and touches nothing that another one looks at.
CAUSES: dict[Code, Callable[[PlaceBet, Position], Case]] = {
    Code.RATE_LIMITED: lambda r, p: (r, replace(p, barred=too_many_bets(10, 1))),
    Code.IDEMPOTENCY_CONFLICT: lambda r, p: (r, replace(p, earlier=bet(stake_minor=7))),
    Code.SELF_EXCLUDED: lambda r, p: (r, _account(p, excluded_until=NOON + SECOND)),
    Code.ACCOUNT_LOCKED: lambda r, p: (r, _account(p, locked_until=NOON + SECOND)),
    Code.MARKET_NOT_FOUND: lambda r, p: (r, replace(p, market=None)),
    Code.SELECTION_NOT_FOUND: lambda r, p: (r, _selection(p, selection_id=SelectionId("gone"))),
    Code.MARKET_CLOSED: lambda r, p: (r, _market(p, status=MarketStatus.CLOSED)),
    Code.MARKET_SUSPENDED: lambda r, p: (r, _selection(p, status=SelectionStatus.SUSPENDED)),
    Code.BET_EXPIRED: lambda r, p: (replace(r, valid_until=NOON - SECOND), p),
    Code.ODDS_CHANGED: lambda r, p: (replace(r, odds_version=6), p),
    Code.STAKE_OUT_OF_RANGE: lambda r, p: (r, replace(p, rules=replace(p.rules, stake_max_minor=999))),
    Code.LIMIT_EXCEEDED: lambda r, p: (r, _account(p, limits={STAKE_OF_DAY: Limit(999)})),
    Code.EXPOSURE_EXCEEDED: lambda r, p: (r, replace(p, exposure_minor=p.rules.exposure_max_minor)),
    Code.INSUFFICIENT_BALANCE: lambda r, p: (r, _account(p, wallet=Wallet(999))),
}


def answer(*codes: Code) -> Acceptance | Rejection:
    """What is decided where all of `codes` apply."""
    request, where = place_bet(), position()
    for code in sorted(codes, key=lambda code: code is Code.MARKET_NOT_FOUND):  # without a market none can change
        request, where = CAUSES[code](request, where)
    return decide(request, where)


def refused(*codes: Code) -> Code:
    decided = answer(*codes)
    assert isinstance(decided, Rejection)
    return decided.code


def accepted(request: PlaceBet, where: Position) -> Acceptance:
    decided = decide(request, where)
    assert isinstance(decided, Acceptance), decided
    return decided


def rejected(request: PlaceBet, where: Position) -> Rejection:
    decided = decide(request, where)
    assert isinstance(decided, Rejection), decided
    return decided


def test_the_causes_stand_in_the_published_order() -> None:
    assert list(CAUSES) == [code for code in Code if code in CAUSES]


@pytest.mark.parametrize("code", list(CAUSES))
def test_each_cause_alone_is_refused_with_its_own_code(code: Code) -> None:
    assert refused(code) is code


@pytest.mark.parametrize(("first", "second"), list(combinations(CAUSES, 2)))
def test_of_two_refusals_that_apply_the_first_in_the_order_is_the_answer(first: Code, second: Code) -> None:
    assert refused(first, second) is first


def test_with_every_refusal_applying_they_come_one_after_another_as_each_is_mended() -> None:
    codes = list(CAUSES)
    assert [refused(*codes[place:]) for place in range(len(codes))] == codes


def test_a_bet_is_taken_as_asked_and_its_stake_moves() -> None:
    taken = accepted(place_bet(), position())
    assert taken.bet == bet()
    assert taken.posting is not None
    assert taken.posting.wallet == Wallet(99_000)
    (stake,) = taken.posting.transfers
    assert (stake.kind, stake.debit, stake.credit) == (TransferKind.STAKE, wallet_account(ALICE), STAKES)
    assert (stake.amount_minor, stake.bet_id, stake.recorded_at) == (1_000, taken.bet.bet_id, NOON)


def test_a_retry_answers_the_first_bet_whatever_has_become_of_the_market_and_the_money() -> None:
    settled = bet(status=BetStatus.SETTLED, requested_valid_until=NOON - SECOND)
    causes = [code for code in CAUSES if code is not Code.IDEMPOTENCY_CONFLICT]
    request, where = place_bet(), position()
    for code in sorted(causes, key=lambda code: code is Code.MARKET_NOT_FOUND):
        if code not in (Code.ODDS_CHANGED,):  # a retry asks for what was asked for first
            request, where = CAUSES[code](request, where)
    assert accepted(request, replace(where, earlier=settled)) == Acceptance(settled, None)


@pytest.mark.parametrize(
    ("asked_milli", "current_milli", "accept", "taken"),
    [
        (2_500, 2_500, Accept.NONE, False),  # the same price at another version is another offer
        (2_500, 2_400, Accept.NONE, False),
        (2_500, 2_600, Accept.NONE, False),
        (2_500, 2_499, Accept.BETTER, False),
        (2_500, 2_500, Accept.BETTER, True),
        (2_500, 2_501, Accept.BETTER, True),
        (2_500, 1_001, Accept.ANY, True),
        (2_500, 9_999, Accept.ANY, True),
    ],
)
def test_a_bet_on_a_version_that_has_passed_is_taken_only_as_the_bettor_allows(
    asked_milli: int, current_milli: int, accept: Accept, taken: bool
) -> None:
    where = _market(_selection(position(), odds_milli=current_milli), odds_version=8)
    request = place_bet(odds_milli=asked_milli, accept=accept)
    if taken:
        placed = accepted(request, where).bet
        assert (placed.odds_milli, placed.odds_version) == (current_milli, 8)
        assert (placed.requested_odds_milli, placed.requested_odds_version) == (asked_milli, 7)
    else:
        refusal = rejected(request, where)
        assert refusal.code is Code.ODDS_CHANGED
        assert refusal.extra == {"current_odds": format_odds(current_milli), "current_odds_version": 8}


# What 1 % honours where version 7 offered 2.50: the current price, what the bettor takes, what he gets.
WITHIN = [
    (2_475, Accept.NONE, (2_500, 7)),
    (2_475, Accept.BETTER, (2_500, 7)),
    (2_475, Accept.ANY, (2_500, 7)),
    (2_500, Accept.NONE, (2_500, 8)),
    (2_500, Accept.ANY, (2_500, 8)),
    (2_525, Accept.NONE, (2_500, 7)),
    (2_525, Accept.BETTER, (2_525, 8)),
    (2_525, Accept.ANY, (2_525, 8)),
    (2_474, Accept.NONE, None),
    (2_474, Accept.BETTER, None),
    (2_474, Accept.ANY, (2_474, 8)),
    (2_526, Accept.NONE, None),
    (2_526, Accept.BETTER, (2_526, 8)),
]


@pytest.mark.parametrize(("current_milli", "accept", "taken"), WITHIN)
def test_within_the_tolerance_the_bettor_gets_the_better_of_the_prices_that_he_takes(
    current_milli: int, accept: Accept, taken: tuple[int, int] | None
) -> None:
    rules = replace(RULES, odds_tolerance_pct=Fraction(1))
    where = _market(_selection(position(rules=rules), odds_milli=current_milli), odds_version=8)
    request = place_bet(accept=accept)
    if taken is None:
        assert rejected(request, replace(where, asked_milli=2_500)).code is Code.ODDS_CHANGED
        return
    placed = accepted(request, replace(where, asked_milli=2_500)).bet
    assert (placed.odds_milli, placed.odds_version) == taken
    # Without the tolerance, or where version 7 offered another price, he gets the current one or none.
    for strict in (replace(where, asked_milli=2_499), replace(where, rules=RULES, asked_milli=2_500)):
        decided = decide(request, strict)
        assert isinstance(decided, Rejection) or decided.bet.odds_milli == current_milli


def test_what_an_honoured_price_costs_the_book_is_what_is_checked() -> None:
    rules = replace(RULES, odds_tolerance_pct=Fraction(1))
    lower = _market(_selection(position(rules=rules), odds_milli=2_475), odds_version=8)
    full = replace(lower, asked_milli=2_500, exposure_minor=1_000_000 - 1_500)
    accepted(place_bet(), full)
    assert rejected(place_bet(), replace(full, exposure_minor=1_000_000 - 1_499)).code is Code.EXPOSURE_EXCEEDED


def test_a_price_that_was_never_offered_at_the_version_is_refused() -> None:
    assert rejected(place_bet(odds_milli=2_600), position()).code is Code.ODDS_CHANGED
    assert rejected(place_bet(odds_version=8), position()).code is Code.ODDS_CHANGED


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (MarketStatus.SUSPENDED, Code.MARKET_SUSPENDED),
        (MarketStatus.CLOSED, Code.MARKET_CLOSED),
        (MarketStatus.SETTLED, Code.MARKET_CLOSED),
        (MarketStatus.VOID, Code.MARKET_CLOSED),
    ],
)
def test_only_an_active_market_takes_bets(status: MarketStatus, code: Code) -> None:
    assert rejected(place_bet(accept=Accept.ANY), _market(position(), status=status)).code is code


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"odds_milli": None}, Code.MARKET_SUSPENDED),
        ({"status": SelectionStatus.SUSPENDED}, Code.MARKET_SUSPENDED),
        ({"status": SelectionStatus.REMOVED}, Code.SELECTION_NOT_FOUND),
    ],
    ids=str,
)
def test_only_an_active_selection_with_a_price_takes_bets(changed: dict[str, Any], code: Code) -> None:
    where = _selection(position(), **changed)
    assert rejected(place_bet(accept=Accept.ANY), where).code is code
    accepted(place_bet(selection_id=AWAY, odds_milli=3_100), where)


def test_the_bounds_of_the_stake_are_within() -> None:
    where = position()
    for stake in (where.rules.stake_min_minor, where.rules.stake_max_minor):
        accepted(place_bet(stake_minor=stake), where)
    for stake in (where.rules.stake_min_minor - 1, where.rules.stake_max_minor + 1):
        refusal = rejected(place_bet(stake_minor=stake), where)
        assert refusal.code is Code.STAKE_OUT_OF_RANGE
        assert refusal.extra == {"min": "0.10", "max": "1000.00"}


def test_a_whole_balance_can_be_staked_and_not_a_cent_more() -> None:
    where = position(account=account(wallet=Wallet(1_000)))
    posting = accepted(place_bet(), where).posting
    assert posting is not None
    assert posting.wallet == Wallet(0)
    assert rejected(place_bet(stake_minor=1_001), where).code is Code.INSUFFICIENT_BALANCE


def test_the_books_exposure_may_be_full_and_not_over() -> None:
    full = position(exposure_minor=1_000_000 - 1_500)  # 10.00 at 2.50 costs the book 15.00
    accepted(place_bet(), full)
    assert rejected(place_bet(), replace(full, exposure_minor=full.exposure_minor + 1)).code is (
        Code.EXPOSURE_EXCEEDED
    )


@pytest.mark.parametrize("kind", [LimitKind.STAKE, LimitKind.LOSS])
def test_a_limit_refuses_the_stake_that_would_break_it_and_tells_what_is_left(kind: LimitKind) -> None:
    limits = {(kind, Period.WEEK): Limit(5_000)}
    where = position(account=account(limits=limits), spent={(kind, Period.WEEK): 4_000})
    accepted(place_bet(stake_minor=1_000), where)
    refusal = rejected(place_bet(stake_minor=1_001), where)
    assert refusal.code is Code.LIMIT_EXCEEDED
    assert refusal.extra == {"limit": kind.value, "period": "week", "left": "10.00"}


def test_a_deposit_limit_keeps_nobody_from_betting() -> None:
    limits = {(LimitKind.DEPOSIT, Period.DAY): Limit(0)}
    accepted(place_bet(), position(account=account(limits=limits)))


def test_an_exclusion_or_a_lock_ends_at_its_instant() -> None:
    for field in ("excluded_until", "locked_until"):
        accepted(place_bet(), position(account=account(**{field: NOON})))
        rejected(place_bet(), position(account=account(**{field: NOON + SECOND})))


def test_a_bet_is_valid_up_to_and_at_its_instant() -> None:
    accepted(place_bet(valid_until=NOON), position())
    late = rejected(place_bet(valid_until=NOON), position(now=NOON + SECOND))
    assert late.code is Code.BET_EXPIRED


def test_a_market_of_one_selection_is_a_market() -> None:
    alone = market(selections=(Selection(HOME, "Home", 2_500),))
    accepted(place_bet(), position(market=alone))
    assert rejected(place_bet(selection_id=AWAY), position(market=alone)).code is Code.SELECTION_NOT_FOUND
