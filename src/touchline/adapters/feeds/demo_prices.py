"""What a bookmaker offers on a soccer match in play: fair chances from the goals still to come, then a margin.

Invariant: a price never gives its backer an edge by the model's own chances; where no such price can be shown, the
selection is suspended.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from touchline.adapters.feeds.demo_model import Score, Side
from touchline.core.ids import SelectionId

GOALS_MAX: Final = 12  # by one side from now on; what lies beyond is next to nothing
# A price charges odds this much shorter than fair, as bookmakers do: 6 % on an even chance, next to nothing on a
# near certainty, so that it still has a price.
ODDS_RATIO: Final = 1.12
ODDS_MILLI_LEAST: Final = 1_010
FAIR_ODDS_MAX: Final = 500
# Prices move in steps that grow with them: below each bound, in thousandths, the step.
STEPS_MILLI: Final = ((5_000, 10), (20_000, 50), (10_000_000, 100))
LINE: Final = 2  # over / under two and a half goals


class MarketKind(StrEnum):
    """What can be bet on. Of `NEXT_GOAL` there is one market for each goal."""

    MATCH_ODDS = "MATCH_ODDS"
    OVER_UNDER_25 = "OVER_UNDER_25"
    BOTH_TEAMS_TO_SCORE = "BOTH_TEAMS_TO_SCORE"
    NEXT_GOAL = "NEXT_GOAL"


@dataclass(frozen=True, slots=True)
class Outlook:
    """A match from here on: the score that stands, and the goals expected of each side."""

    score: Score
    home_goals: float
    away_goals: float


HOME, DRAW, AWAY = SelectionId("home"), SelectionId("draw"), SelectionId("away")
OVER, UNDER = SelectionId("over"), SelectionId("under")
YES, NO = SelectionId("yes"), SelectionId("no")
NONE = SelectionId("none")
SELECTIONS: Final[Mapping[MarketKind, tuple[SelectionId, ...]]] = {
    MarketKind.MATCH_ODDS: (HOME, DRAW, AWAY),
    MarketKind.OVER_UNDER_25: (OVER, UNDER),
    MarketKind.BOTH_TEAMS_TO_SCORE: (YES, NO),
    MarketKind.NEXT_GOAL: (HOME, AWAY, NONE),
}
SELECTION_OF_SIDE: Final = {Side.HOME: HOME, Side.AWAY: AWAY}


def fair_chances(kind: MarketKind, outlook: Outlook) -> dict[SelectionId, float]:
    """Return the chance of each selection, summing to 1: goals to come are two independent Poisson numbers."""
    score, home, away = outlook.score, outlook.home_goals, outlook.away_goals
    if kind is MarketKind.MATCH_ODDS:
        return _match_odds(score, home, away)
    if kind is MarketKind.OVER_UNDER_25:
        under = sum(_poisson(home + away)[: max(LINE - score.total + 1, 0)])
        return {OVER: 1 - under, UNDER: under}
    if kind is MarketKind.BOTH_TEAMS_TO_SCORE:
        home_scores = 1.0 if score.home else -math.expm1(-home)
        away_scores = 1.0 if score.away else -math.expm1(-away)
        return {YES: home_scores * away_scores, NO: 1 - home_scores * away_scores}
    none = math.exp(-home - away)
    share = home / (home + away)
    return {HOME: (1 - none) * share, AWAY: (1 - none) * (1 - share), NONE: none}


def offered_odds_milli(chance: float) -> int | None:
    """Return the odds offered on a selection, in thousandths, rounded down to a step.

    None where the fair odds exceed `FAIR_ODDS_MAX`, or the odds fall below `ODDS_MILLI_LEAST`.
    """
    if chance * FAIR_ODDS_MAX < 1:
        return None
    charged = chance * ODDS_RATIO / (1 - chance + chance * ODDS_RATIO)
    milli = int(1000 / charged)
    step = next(step for bound, step in STEPS_MILLI if milli < bound)
    milli -= milli % step
    return milli if milli >= ODDS_MILLI_LEAST else None


def winner(kind: MarketKind, score: Score, *, final: bool) -> SelectionId | None:
    """Return the selection that has won, from the score that stands; None while the market is open.

    The winner of a `NEXT_GOAL` market is its scorer, which no score tells: see `demo`.
    """
    if kind is MarketKind.MATCH_ODDS and final:
        return DRAW if score.home == score.away else HOME if score.home > score.away else AWAY
    if kind is MarketKind.OVER_UNDER_25 and (final or score.total > LINE):
        return OVER if score.total > LINE else UNDER
    if kind is MarketKind.BOTH_TEAMS_TO_SCORE and (final or (score.home and score.away)):
        return YES if score.home and score.away else NO
    return NONE if kind is MarketKind.NEXT_GOAL and final else None


def _match_odds(score: Score, home: float, away: float) -> dict[SelectionId, float]:
    ahead = score.home - score.away
    home_goals, away_goals = _poisson(home), _poisson(away)
    home_wins = draw = 0.0
    for more, chance in enumerate(home_goals):
        level_at = ahead + more  # away goals that bring the sides level
        home_wins += chance * sum(away_goals[: max(level_at, 0)])
        if 0 <= level_at <= GOALS_MAX:
            draw += chance * away_goals[level_at]
    return {HOME: home_wins, DRAW: draw, AWAY: max(1 - home_wins - draw, 0.0)}


def _poisson(mean: float) -> list[float]:
    chances = [math.exp(-mean)]
    for count in range(1, GOALS_MAX + 1):
        chances.append(chances[-1] * mean / count)
    return chances
