"""Limits: lowering holds at once, raising or removing waits; the tightest one that breaks is told."""

from datetime import timedelta
from itertools import permutations

import pytest

from tests.clock import NOON
from touchline.core.limits import LENGTH_OF_PERIOD, RAISE_WAITS, Breach, Limit, LimitKind, Period, breach

LATER = NOON + RAISE_WAITS
MICROSECOND = timedelta(microseconds=1)
STAKE_DAY, STAKE_WEEK = (LimitKind.STAKE, Period.DAY), (LimitKind.STAKE, Period.WEEK)
LOSS_DAY, DEPOSIT_DAY = (LimitKind.LOSS, Period.DAY), (LimitKind.DEPOSIT, Period.DAY)
BETS = frozenset({LimitKind.STAKE, LimitKind.LOSS})


def test_a_raise_waits_a_day_and_periods_roll_over_days() -> None:
    assert timedelta(days=1) == RAISE_WAITS
    assert [LENGTH_OF_PERIOD[period].days for period in Period] == [1, 7, 30]


@pytest.mark.parametrize(
    ("current", "wanted", "at_once", "a_day_later"),
    [
        (None, 0, 0, 0),
        (None, 100, 100, 100),
        (None, None, None, None),
        (100, 99, 99, 99),
        (100, 0, 0, 0),
        (100, 100, 100, 100),
        (100, 101, 100, 101),
        (100, None, 100, None),
        (0, None, 0, None),
        (0, 1, 0, 1),
    ],
)
def test_lowering_holds_at_once_and_raising_waits(
    current: int | None, wanted: int | None, at_once: int | None, a_day_later: int | None
) -> None:
    after = Limit(current).changed(wanted, NOON)
    assert after.at(NOON) == at_once
    assert after.at(LATER - MICROSECOND) == at_once
    assert after.at(LATER) == a_day_later


def test_lowering_while_a_raise_waits_forgets_the_raise() -> None:
    after = Limit(100).changed(500, NOON).changed(50, NOON)
    assert (after.at(NOON), after.at(LATER)) == (50, 50)


def test_asking_for_what_holds_while_a_raise_waits_takes_the_raise_back() -> None:
    after = Limit(100).changed(500, NOON).changed(100, NOON)
    assert (after.at(NOON), after.at(LATER)) == (100, 100)


def test_removing_a_limit_that_there_is_not_leaves_nothing_waiting() -> None:
    assert Limit().changed(None, NOON) == Limit()


def test_a_second_raise_waits_anew() -> None:
    half = NOON + RAISE_WAITS / 2
    after = Limit(100).changed(500, NOON).changed(600, half)
    assert (after.at(LATER), after.at(half + RAISE_WAITS)) == (100, 600)


def test_a_raise_that_has_come_into_force_is_what_is_raised_or_lowered_next() -> None:
    raised = Limit(100).changed(500, NOON)
    assert raised.changed(400, LATER).at(LATER) == 400
    assert raised.changed(600, LATER).at(LATER) == 500


@pytest.mark.parametrize(
    ("limits", "spent", "amount", "expected"),
    [
        ({}, {}, 10**12, None),
        ({STAKE_DAY: 100}, {}, 100, None),
        ({STAKE_DAY: 100}, {}, 101, Breach(*STAKE_DAY, 100)),
        ({STAKE_DAY: 100}, {STAKE_DAY: 60}, 41, Breach(*STAKE_DAY, 40)),
        ({STAKE_DAY: 100}, {STAKE_WEEK: 60}, 100, None),
        ({STAKE_DAY: 100}, {STAKE_DAY: 160}, 1, Breach(*STAKE_DAY, 0)),
        ({LOSS_DAY: 100}, {LOSS_DAY: -50}, 150, None),
        ({LOSS_DAY: 100}, {LOSS_DAY: -50}, 151, Breach(*LOSS_DAY, 150)),
        ({DEPOSIT_DAY: 0}, {DEPOSIT_DAY: 10}, 1, None),
        ({STAKE_DAY: None}, {STAKE_DAY: 10**9}, 1, None),
        ({STAKE_DAY: 0}, {}, 1, Breach(*STAKE_DAY, 0)),
        ({STAKE_WEEK: 100, STAKE_DAY: 50}, {STAKE_WEEK: 90}, 60, Breach(*STAKE_WEEK, 10)),
        ({STAKE_WEEK: 100, STAKE_DAY: 50}, {}, 60, Breach(*STAKE_DAY, 50)),
        ({STAKE_DAY: 50, STAKE_WEEK: 100}, {STAKE_WEEK: 90}, 60, Breach(*STAKE_WEEK, 10)),
    ],
)
def test_the_tightest_limit_that_would_break_is_told_with_what_is_left(
    limits: dict[tuple[LimitKind, Period], int | None],
    spent: dict[tuple[LimitKind, Period], int],
    amount: int,
    expected: Breach | None,
) -> None:
    held = {key: Limit(amount_minor) for key, amount_minor in limits.items()}
    assert breach(held, spent, BETS, amount, NOON) == expected


@pytest.mark.parametrize("over", [(0, 0, 0), (7, 9, 8), (9, 7, 7)])  # spent beyond a limit, nothing is left of it
def test_limits_equally_tight_are_told_alike_in_whatever_order_they_are_held(over: tuple[int, ...]) -> None:
    keys = (STAKE_DAY, (LimitKind.LOSS, Period.WEEK), LOSS_DAY)
    spent = {key: 100 + more for key, more in zip(keys, over, strict=True)}
    told = {breach(dict.fromkeys(order, Limit(100)), spent, BETS, 1, NOON) for order in permutations(keys)}
    assert told == {Breach(*LOSS_DAY, 0)}


def test_a_raise_counts_from_its_instant_on() -> None:
    limits = {STAKE_DAY: Limit(100).changed(200, NOON)}
    assert breach(limits, {}, BETS, 150, LATER - MICROSECOND) == Breach(*STAKE_DAY, 100)
    assert breach(limits, {}, BETS, 150, LATER) is None
