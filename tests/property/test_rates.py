"""How often a player may bet: as many bets as the rule says within any minute, and none less."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.clock import NOON
from tests.samples import bet
from touchline.core.errors import Code
from touchline.core.ids import PlayerId
from touchline.core.rates import MINUTE, BetRates, RateRules

ANN, BOB = PlayerId("ann"), PlayerId("bob")
SECOND = timedelta(seconds=1)
RULES = RateRules(bets_per_minute_max=3, velocity_bets=2, velocity_window=2 * SECOND)
instants = st.lists(st.integers(0, 200), max_size=25).map(sorted)


def at(seconds: float) -> datetime:
    return NOON + seconds * SECOND


def rates(player_id: PlayerId = ANN, *seconds: float) -> BetRates:
    """Rates that have learned of bets before."""
    made = BetRates(RULES)
    assert made.unknown([player_id], at(0)) == [player_id]
    made.learn([player_id], [(player_id, at(one)) for one in seconds])
    return made


def wait_s(made: BetRates, now: datetime, more: int = 0, player_id: PlayerId = ANN) -> object:
    refusal = made.refusal(player_id, now, more)
    assert refusal is None or refusal.code is Code.RATE_LIMITED
    return refusal and refusal.extra["retry_after_s"]


@given(instants, instants)
def test_every_bet_that_the_rule_allows_is_taken_and_no_other(before: Sequence[int], asked: Sequence[int]) -> None:
    earlier = [at(-one) for one in before if one < 60]
    made = BetRates(RULES)
    counted = sorted(earlier)
    for now in map(at, asked):
        made.learn(unknown := made.unknown([ANN], now), [(ANN, one) for one in earlier if unknown])
        within = [one for one in counted if one > now - MINUTE]
        refusal = made.refusal(ANN, now, 0)
        assert (refusal is None) == (len(within) < RULES.bets_per_minute_max)
        if refusal is None:
            counted.append(now)
            made.count([bet(player_id=ANN, placed_at=now)], now)
        else:
            freed = within[len(within) - RULES.bets_per_minute_max] + MINUTE
            assert refusal.extra["retry_after_s"] == max(1, -((now - freed) // SECOND))
            assert made.refusal(ANN, max(freed, now), 0) is None or freed <= now


def test_what_is_not_on_record_counts_as_well() -> None:
    made = rates(ANN, -30)
    assert [wait_s(made, at(0), more) for more in range(4)] == [None, None, 30, 60]


def test_a_bet_that_was_not_recorded_counts_no_more() -> None:
    made = rates()
    lost = [bet(player_id=ANN, placed_at=at(one)) for one in (1, 1, 2)]
    made.count(lost, at(2))
    assert wait_s(made, at(2)) == 59
    made.uncount(lost[:1])
    assert wait_s(made, at(2)) is None


def test_one_who_bets_faster_than_a_person_is_told() -> None:
    made = rates(ANN, -3)
    assert [made.is_fast(ANN, at(0), more) for more in (1, 2)] == [False, True]
    assert made.is_fast(ANN, at(-1), 1)
    assert not made.is_fast(BOB, at(0), 1)


def test_what_was_taken_before_is_asked_for_in_the_first_minute_alone_and_once() -> None:
    made = rates()
    assert made.unknown([ANN, BOB], at(59)) == [BOB]
    assert made.unknown([ANN, BOB], at(60)) == []


def test_who_is_idle_is_forgotten() -> None:
    made = rates(ANN, 0)
    made.count([bet(player_id=BOB, placed_at=at(1))], at(1))
    assert len(made._taken) == 2
    made.count([bet(player_id=BOB, placed_at=at(62))], at(62))
    assert len(made._taken) == 1
