"""A soccer match as a random process in time: goals, the checks and stops around them, and the clock.

Invariant: a match is a function of its seed alone, so that whoever knows the seed knows the match to its end.
All times here are match seconds: seconds of the match's own timeline since kick-off, half-time included.

Calibrated on 1,446 matches of the French, German, Italian and Spanish top divisions 2017/18 (Pappalardo et al.,
"A public data set of spatio-temporal match events in soccer competitions", Sci Data 6, 236 (2019), CC BY 4.0).
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from random import Random
from typing import Final

HALF_S: Final = 2_700.0
BREAK_S: Final = 300.0  # a half-time of five minutes: nobody wants to watch fifteen of nothing
STOPPAGE_1_MEAN_S: Final = 70.0  # the first half lasts 2,770 s on average, 5 % over 2,898
STOPPAGE_1_MAX_S: Final = 420.0
STOPPAGE_2_S: Final = (0.0, 156.0, 480.0)  # least, most likely, most: 2,912 s on average, 90 % in 2,742 to 3,059
BIN_S: Final = 300.0

# Goals by five minutes of each half, its stoppage last: how much likelier than on average. And goals in 90 minutes
# of play by the score's state, home's and away's. Both were fitted together, with the strengths below, so that the
# source's own figures come out: 2.715 goals a match (1.528 home), by five minutes and by state of the score.
SHAPE_1: Final = (0.723, 0.773, 0.837, 0.920, 1.071, 1.020, 0.944, 0.858, 0.888, 1.180)
SHAPE_2: Final = (0.894, 1.146, 1.060, 1.041, 1.027, 1.177, 1.120, 1.014, 1.164, 1.401)
RATES_LEVEL: Final = (1.518, 1.102)
RATES_HOME_LEADS: Final = (1.387, 1.159)
RATES_AWAY_LEADS: Final = (1.423, 1.143)
RATE_PER_S: Final = 1 / 5_400.0
# Strength: the logarithm of home's goals over what is usual, away's with the other sign; seven steps, binomial.
STRENGTH_STEPS: Final = 6
STRENGTH_STEP: Final = 0.245
STRENGTH_MEAN: Final = math.cosh(STRENGTH_STEP / 2) ** STRENGTH_STEPS  # of exp(strength), so that it averages out

# Per match, same source: 0.23 penalties scored (of 2.715 goals) and 0.09 missed.
PENALTY_SHARE: Final = 0.23 / 2.715
PENALTIES_MISSED: Final = 0.09
# Assumed, no source: how often a goal is checked, and how often play is stopped for a check that gives nothing.
CHECK_SHARE: Final = 0.15
CHECKS_WITHOUT_GOAL: Final = 0.35
# In a recorded match of an exchange the markets were suspended for 60, 121 and 61 s around goals.
STOP_GOAL_S: Final = 60.0
STOP_CHECK_S: Final = (60.0, 120.0)
STOP_PENALTY_S: Final = 75.0  # from the award to the kick
RESULT_AFTER_S: Final = 60.0  # from the final whistle to the results


class Side(StrEnum):
    """Who scored."""

    HOME = "home"
    AWAY = "away"


class Reason(StrEnum):
    """Why betting stops."""

    GOAL = "goal"
    CHECK = "check"
    PENALTY = "penalty"


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal: when the ball went in, and when it stood, later where it was checked."""

    scored_s: float
    confirmed_s: float
    side: Side


@dataclass(frozen=True, slots=True)
class Stop:
    """A time in which nobody can bet."""

    from_s: float
    until_s: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Score:
    """Goals that stand."""

    home: int = 0
    away: int = 0

    @property
    def total(self) -> int:
        """All goals."""
        return self.home + self.away

    @property
    def rates(self) -> tuple[float, float]:
        """Goals in 90 minutes that sides of usual strength score at this score, home's and away's."""
        if self.home == self.away:
            return RATES_LEVEL
        return RATES_HOME_LEADS if self.home > self.away else RATES_AWAY_LEADS

    def after(self, side: Side) -> "Score":
        """The score one goal later."""
        return Score(self.home + (side is Side.HOME), self.away + (side is Side.AWAY))

    def __str__(self) -> str:
        return f"{self.home}-{self.away}"


@dataclass(frozen=True, slots=True)
class Match:
    """A whole match, to its end. `strength` is above 0 where home is the better side."""

    strength: float
    half_1_s: float
    half_2_s: float
    goals: tuple[Goal, ...]
    stops: tuple[Stop, ...]  # in order, none touching the next

    @property
    def restart_s(self) -> float:
        """When the second half begins."""
        return self.half_1_s + BREAK_S

    @property
    def end_s(self) -> float:
        """The final whistle."""
        return self.restart_s + self.half_2_s

    @property
    def result_s(self) -> float:
        """When the results are official."""
        return self.end_s + RESULT_AFTER_S

    def score(self, at_s: float = math.inf) -> Score:
        """Return the score that stands at `at_s`."""
        score = Score()
        for goal in self.goals:
            if goal.confirmed_s <= at_s:
                score = score.after(goal.side)
        return score

    def stop(self, at_s: float) -> Stop | None:
        """Return the stop that `at_s` lies in, or None."""
        return next((stop for stop in self.stops if stop.from_s <= at_s < stop.until_s), None)

    def clock(self, at_s: float) -> str | None:
        """Return the clock as it is shown: "63:20", "45:00+1:10", "HT", "FT"; None before kick-off."""
        if at_s < 0:
            return None
        if at_s >= self.end_s:
            return "FT"
        if self.half_1_s <= at_s < self.restart_s:
            return "HT"
        half, played_s = (1, at_s) if at_s < self.half_1_s else (2, at_s - self.restart_s)
        shown, over_s = min(played_s, HALF_S) + (half - 1) * HALF_S, max(played_s - HALF_S, 0)
        return _minutes(shown) + (f"+{_minutes(over_s, '')}" if over_s else "")

    def expected_goals(self, at_s: float) -> tuple[float, float]:
        """Return how many goals each side is expected to score from `at_s` on, at the score that stands.

        Nobody knows how long stoppage lasts: it is expected at its mean, and never less than its last quarter.
        """
        left = _shape_left(at_s, self) * RATE_PER_S
        home, away = self.score(at_s).rates
        return home * _factor(self.strength) * left, away * _factor(-self.strength) * left


def play_match(seed: str) -> Match:
    """Return the match of `seed`."""
    chance = Random(seed)
    strength = sum(chance.choice((-0.5, 0.5)) for _ in range(STRENGTH_STEPS)) * STRENGTH_STEP
    half_1_s = HALF_S + min(chance.expovariate(1 / STOPPAGE_1_MEAN_S), STOPPAGE_1_MAX_S)
    low, likely, high = STOPPAGE_2_S
    half_2_s = HALF_S + chance.triangular(low, high, likely)
    goals: list[Goal] = []
    stops: list[Stop] = []
    score = Score()
    for starts_s, lasts_s, shape in ((0.0, half_1_s, SHAPE_1), (half_1_s + BREAK_S, half_2_s, SHAPE_2)):
        for scored_s, side in _goals_of_half(chance, score, strength, lasts_s, shape):
            score = score.after(side)
            goal, stop = _announced(chance, starts_s, scored_s, lasts_s, side)
            goals.append(goal)
            stops.append(stop)
        stops += _stops_without_goal(chance, starts_s, lasts_s)
    return Match(strength, half_1_s, half_2_s, tuple(goals), _merged(stops))


def _goals_of_half(
    chance: Random, score: Score, strength: float, lasts_s: float, shape: tuple[float, ...]
) -> list[tuple[float, Side]]:
    """Return goals by thinning: drawn at the highest rate there can be, kept by how high it really is."""
    goals: list[tuple[float, Side]] = []
    factors = _factor(strength), _factor(-strength)
    at_s = 0.0
    while True:
        home, away = (rate * factor * RATE_PER_S for rate, factor in zip(score.rates, factors, strict=True))
        at_s += chance.expovariate((home + away) * max(shape))
        if at_s >= lasts_s:
            return goals
        if chance.random() * max(shape) < shape[min(int(at_s // BIN_S), len(shape) - 1)]:
            side = Side.HOME if chance.random() * (home + away) < home else Side.AWAY
            goals.append((at_s, side))
            score = score.after(side)


def _announced(chance: Random, starts_s: float, scored_s: float, lasts_s: float, side: Side) -> tuple[Goal, Stop]:
    """Return a goal of a half and the stop around it: from a penalty's award, or until a check is over."""
    at_s = starts_s + scored_s
    drawn, check_s = chance.random(), chance.uniform(*STOP_CHECK_S)
    if drawn < PENALTY_SHARE and scored_s > STOP_PENALTY_S:
        return Goal(at_s, at_s, side), Stop(at_s - STOP_PENALTY_S, at_s + STOP_GOAL_S, Reason.PENALTY)
    if drawn > 1 - CHECK_SHARE and scored_s + check_s < lasts_s:
        return Goal(at_s, at_s + check_s, side), Stop(at_s, at_s + check_s + STOP_GOAL_S, Reason.CHECK)
    return Goal(at_s, at_s, side), Stop(at_s, at_s + STOP_GOAL_S, Reason.GOAL)


def _stops_without_goal(chance: Random, starts_s: float, lasts_s: float) -> list[Stop]:
    stops = []
    for a_match, reason in ((CHECKS_WITHOUT_GOAL, Reason.CHECK), (PENALTIES_MISSED, Reason.PENALTY)):
        at_s = chance.expovariate(a_match / 2 / lasts_s)
        while at_s < lasts_s:
            stops.append(Stop(starts_s + at_s, starts_s + at_s + chance.uniform(*STOP_CHECK_S), reason))
            at_s += chance.expovariate(a_match / 2 / lasts_s)
    return stops


def _merged(stops: list[Stop]) -> tuple[Stop, ...]:
    merged: list[Stop] = []
    for stop in sorted(stops, key=lambda stop: stop.from_s):
        if merged and stop.from_s <= merged[-1].until_s:
            last = merged.pop()
            stop = Stop(last.from_s, max(last.until_s, stop.until_s), last.reason)
        merged.append(stop)
    return tuple(merged)


def _factor(strength: float) -> float:
    return math.exp(strength) / STRENGTH_MEAN


def _shape_left(at_s: float, match: Match) -> float:
    """Return the seconds that are left to play, each weighed by how likely a goal is in it."""
    if at_s < match.half_1_s:
        return _half_left(max(at_s, 0.0), SHAPE_1, _LEFT_1) + _LEFT_2[0]
    return _half_left(max(at_s - match.restart_s, 0.0), SHAPE_2, _LEFT_2)


def _half_left(played_s: float, shape: tuple[float, ...], left: tuple[float, ...]) -> float:
    place = int(played_s // BIN_S)
    if place >= len(shape) - 1:
        return max(left[-2] - (played_s - HALF_S) * shape[-1], left[-2] / 4)
    return left[place] - (played_s - place * BIN_S) * shape[place]


def _bins_left(shape: tuple[float, ...], stoppage_s: float) -> tuple[float, ...]:
    """Return for the start of each bin, and the end of the last, what is left as `_shape_left` counts it."""
    weights = [weight * BIN_S for weight in shape[:-1]] + [shape[-1] * stoppage_s]
    return tuple(reversed(list(accumulate(reversed(weights), initial=0.0))))


def _minutes(seconds: float, pad: str = "0") -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:{pad}>2}:{rest:02}" if pad else f"{minutes}:{rest:02}"


_LEFT_1: Final = _bins_left(SHAPE_1, STOPPAGE_1_MEAN_S)
_LEFT_2: Final = _bins_left(SHAPE_2, sum(STOPPAGE_2_S) / 3)
