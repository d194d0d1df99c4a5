"""The checker's own arithmetic of payouts beside the platform's: two implementations, one rule."""

from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchline.core.bet import BetResult
from touchline.core.settlement import Outcome, settled_payout_minor
from touchline.lab.payouts_judged import Decision, ResultOfSelection, WorkedBet, expected

FACTORS = st.fractions(0, 1, max_denominator=8)


def bet(stake: int, odds_milli: int) -> WorkedBet:
    return WorkedBet(
        bet_id=UUID(int=1),
        user_id="ann",
        market_id="m",
        selection_id="home",
        odds_milli=odds_milli,
        stake_minor=stake,
        idempotency_key=None,
        status="PLACED",
        result=None,
        payout_minor=None,
        settlement_id=None,
        market_status="active",
        moves=[],
    )


def settled(result: str, void: str = "0", dead_heat: str = "1") -> Decision:
    return Decision(1, "m", "settle", {"home": ResultOfSelection(result, void, dead_heat)}, taken_back=False)


@pytest.mark.parametrize(
    ("stake", "odds_milli", "decision", "result", "paid"),
    [
        (1_000, 2_100, settled("won"), "won", 2_100),
        (1_000, 2_100, settled("lost"), "lost", 0),
        (1_000, 2_100, settled("void"), "void", 1_000),
        (1_000, 2_100, settled("won", void="1"), "void", 1_000),
        (1_000, 2_100, settled("won", void="0.5"), "won", 1_550),
        (1_000, 2_100, settled("lost", void="1/2"), "lost", 500),
        (1_000, 2_100, settled("won", dead_heat="1/3"), "won", 700),
        (1_000, 3_200, settled("won", dead_heat="1/3"), "won", 1_067),
        (5, 1_100, settled("won"), "won", 6),  # 5.5 goes up
        (333, 1_500, settled("won"), "won", 500),  # 499.5 goes up
        (1, 1_001, settled("won"), "won", 1),
        (1_000, 2_100, Decision(1, "m", "void", {}, taken_back=False), "void", 1_000),
    ],
)
def test_a_bet_pays(stake: int, odds_milli: int, decision: Decision, result: str, paid: int) -> None:
    assert expected(bet(stake, odds_milli), decision) == (result, paid)


@given(
    stake=st.integers(1, 10**9),
    odds_milli=st.integers(1_001, 10_000_000),
    result=st.sampled_from(BetResult),
    void=FACTORS,
    dead_heat=FACTORS.filter(bool),
)
def test_it_is_what_the_platform_pays(
    stake: int, odds_milli: int, result: BetResult, void: Fraction, dead_heat: Fraction
) -> None:
    decision = settled(result.value, str(void), str(dead_heat))
    paid = settled_payout_minor(stake, odds_milli, Outcome(result, void, dead_heat))
    assert expected(bet(stake, odds_milli), decision)[1] == paid
