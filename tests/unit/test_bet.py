"""A bet's life: every pair of a status and a step; what a retry is; what it may cost."""

from dataclasses import replace
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from tests.clock import NOON
from tests.samples import AWAY, bet, place_bet
from touchline.core.bet import BET_LIFECYCLE, Accept, BetStatus, BetStep, step_bet
from touchline.core.errors import Fault
from touchline.core.ids import BetId, MarketId, PlayerId

STEPS = ["win", "lose", "void", "pay", "rollback"]
LIFE = {
    "PLACED": "WON LOST VOID - -",
    "WON": "- - - SETTLED -",
    "LOST": "- - - SETTLED -",
    "SETTLED": "- - - - PLACED",
    "VOID": "- - - - PLACED",
}


def test_the_tables_of_this_test_are_whole() -> None:
    assert set(LIFE) == {status.value for status in BetStatus}
    assert [step.value for step in BetStep] == STEPS
    assert sum(word != "-" for row in LIFE.values() for word in row.split()) == len(BET_LIFECYCLE)


@pytest.mark.parametrize(("status", "step"), list(product(BetStatus, BetStep)))
def test_every_step_from_every_status_leads_where_it_should_or_is_a_fault(
    status: BetStatus, step: BetStep
) -> None:
    expected = LIFE[status.value].split()[STEPS.index(step.value)]
    if expected == "-":
        with pytest.raises(Fault):
            step_bet(status, step)
    else:
        assert step_bet(status, step) is BetStatus(expected)


@pytest.mark.parametrize("changed", [{}, {"bet_id": BetId(UUID(int=2))}], ids=str)
def test_the_same_request_again_is_a_retry(changed: dict[str, Any]) -> None:
    assert bet().answers(place_bet(**changed))


def test_what_is_not_on_record_of_a_request_is_not_compared() -> None:
    assert bet(requested_accept=None).answers(place_bet(accept=Accept.ANY, valid_until=NOON))


@pytest.mark.parametrize(
    "changed",
    [
        {"player_id": PlayerId("bob")},
        {"market_id": MarketId("other")},
        {"selection_id": AWAY},
        {"odds_milli": 2_501},
        {"odds_version": 8},
        {"stake_minor": 1_001},
        {"accept": Accept.BETTER},
        {"valid_until": NOON},
    ],
    ids=str,
)
def test_another_request_under_the_same_key_is_no_retry(changed: dict[str, Any]) -> None:
    assert not bet().answers(place_bet(**changed))


def test_a_retry_of_a_bet_taken_at_a_better_price_is_known_by_what_was_asked() -> None:
    better = replace(bet(), odds_milli=2_700, odds_version=9)
    assert better.answers(place_bet())
    assert not better.answers(place_bet(odds_milli=2_700, odds_version=9))


def test_a_bet_pays_its_stake_times_its_odds_and_costs_the_book_the_rest() -> None:
    taken = bet(stake_minor=333, odds_milli=1_909)
    assert taken.potential_payout_minor == 636  # 635.697
    assert taken.liability_minor == 303
