"""Limits: whatever a player asks for and when, nothing is loosened sooner than a day after he asked."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.clock import NOON
from touchline.core.limits import RAISE_WAITS, Limit

amounts = st.none() | st.integers(0, 1_000)
asks = st.lists(st.tuples(st.integers(0, 40), amounts), max_size=12)


def as_number(amount: int | None) -> float:
    return float("inf") if amount is None else amount


@given(asks=asks, later_h=st.integers(0, 60))
def test_a_looser_limit_was_asked_for_at_least_a_day_before_and_a_tighter_one_holds_at_once(
    asks: list[tuple[int, int | None]], later_h: int
) -> None:
    limit, now = Limit(), NOON
    history: list[tuple[object, float]] = []  # when, and what was asked for
    for hours, wanted in asks:
        now += timedelta(hours=hours)
        before = limit.at(now)
        limit = limit.changed(wanted, now)
        history.append((now, as_number(wanted)))
        held = as_number(limit.at(now))
        assert held == min(as_number(before), as_number(wanted))
        assert as_number(limit.at(now + RAISE_WAITS)) == as_number(wanted)
    then = now + timedelta(hours=later_h)
    recent = [wanted for at, wanted in history if at > then - RAISE_WAITS]
    assert as_number(limit.at(then)) <= min([float("inf"), *recent])
