"""The demo's match model against the figures it is calibrated on, and its prices against its matches."""

import math
from collections import Counter

import pytest

from tests.shared import shared_json
from touchline.adapters.feeds.demo_model import (
    BIN_S,
    HALF_S,
    SHAPE_1,
    Goal,
    Match,
    Reason,
    Score,
    Side,
    Stop,
    play_match,
)
from touchline.adapters.feeds.demo_prices import (
    AWAY,
    DRAW,
    HOME,
    NO,
    NONE,
    OVER,
    UNDER,
    YES,
    MarketKind,
    Outlook,
    fair_chances,
    offered_odds_milli,
    winner,
)

MATCHES = 20_000
ERRORS = 4  # standard errors: one false alarm in 16,000
KINDS = (MarketKind.MATCH_ODDS, MarketKind.OVER_UNDER_25, MarketKind.BOTH_TEAMS_TO_SCORE)


@pytest.fixture(scope="module")
def matches() -> list[Match]:
    """Many matches."""
    return [play_match(f"calibration/{number}") for number in range(MATCHES)]


@pytest.fixture(scope="module")
def source() -> dict:
    """What real matches were like."""
    return shared_json("calibration.json")["soccer_goal_process"]


def test_goals_a_match(matches: list[Match], source: dict) -> None:
    for side, real in (("home", source["home_goals_per_match"]), ("away", source["away_goals_per_match"])):
        goals = [getattr(match.score(), side) for match in matches]
        mean = sum(goals) / MATCHES
        assert mean == pytest.approx(real, abs=ERRORS * math.sqrt(real / MATCHES))


def test_goals_by_five_minutes(matches: list[Match], source: dict) -> None:
    found: Counter[str] = Counter()
    for match in matches:
        for goal in match.goals:
            half, at_s = (
                ("1H", goal.scored_s)
                if goal.scored_s < match.half_1_s
                else ("2H", goal.scored_s - match.restart_s)
            )
            found[f"{half}_{min(int(at_s // BIN_S), len(SHAPE_1) - 1) * 5:02}"] += 1
    for minutes, real in source["goals_by_period_and_5min"].items():
        expected = real / source["matches"] * MATCHES
        assert found[minutes] == pytest.approx(expected, abs=ERRORS * math.sqrt(expected) + 0.03 * expected), (
            minutes
        )


def test_goals_by_the_state_of_the_score(matches: list[Match], source: dict) -> None:
    goals: Counter[str] = Counter()
    played_s: Counter[str] = Counter()
    for match in matches:
        score, since_s = Score(), 0.0
        ends = [(goal.scored_s, goal.side) for goal in match.goals]
        for at_s, side in [*ends, (match.end_s, None)]:
            state = (
                "level" if score.home == score.away else "home_leads" if score.home > score.away else "away_leads"
            )
            rest = match.restart_s - match.half_1_s if since_s < match.half_1_s < at_s else 0
            played_s[state] += at_s - since_s - rest
            if side is not None:
                goals[f"{state}_{side.value[0].upper()}"] += 1
                score, since_s = score.after(side), at_s
    for key, real in source["goals_per_90min_by_score_state"].items():
        rate = goals[key] / played_s[key[:-2]] * 5400
        assert rate == pytest.approx(real, abs=ERRORS * real / math.sqrt(goals[key]) + 0.02 * real), key


def test_how_long_halves_last(matches: list[Match], source: dict) -> None:
    for period, field in (("1H", "half_1_s"), ("2H", "half_2_s")):
        lengths = sorted(getattr(match, field) for match in matches)
        real = source["period_length_seconds"][period]
        assert sum(lengths) / MATCHES == pytest.approx(real["mean"], abs=5)
        assert lengths[MATCHES // 20] == pytest.approx(real["p05"], abs=30)
        assert lengths[-MATCHES // 20] == pytest.approx(real["p95"], abs=40)


def test_penalties(matches: list[Match], source: dict) -> None:
    stops = [stop for match in matches for stop in match.stops if stop.reason is Reason.PENALTY]
    real = source["per_match"]["penalty_goal"] + source["per_match"]["penalty_missed"]
    assert len(stops) / MATCHES == pytest.approx(real, rel=0.1)


@pytest.mark.parametrize("minute", [0, 30, 60, 85])
def test_fair_chances_come_true(matches: list[Match], minute: int) -> None:
    expected: Counter[str] = Counter()
    happened: Counter[str] = Counter()
    for match in matches:
        at_s = minute * 60 + (match.restart_s - HALF_S if minute >= 45 else 0)
        outlook = Outlook(match.score(at_s), *match.expected_goals(at_s))
        for kind in KINDS:
            expected.update(fair_chances(kind, outlook))
            happened[winner(kind, match.score(), final=True)] += 1
    for selection in (HOME, DRAW, AWAY, OVER, UNDER, YES, NO):
        assert expected[selection] / MATCHES == pytest.approx(happened[selection] / MATCHES, abs=0.02), selection


def test_the_next_goals_side_comes_true(matches: list[Match]) -> None:
    expected: Counter[str] = Counter()
    happened: Counter[str] = Counter()
    for match in matches:
        expected.update(fair_chances(MarketKind.NEXT_GOAL, Outlook(Score(), *match.expected_goals(0))))
        happened[match.goals[0].side.value if match.goals else NONE] += 1
    for selection in (HOME, AWAY, NONE):
        assert expected[selection] / MATCHES == pytest.approx(happened[selection] / MATCHES, abs=0.02), selection


def test_a_match_is_a_function_of_its_seed() -> None:
    assert play_match("a") == play_match("a")
    assert play_match("a") != play_match("b")


def test_nobody_can_bet_while_a_goal_is_not_in_the_prices(matches: list[Match]) -> None:
    for match in matches:
        for goal in match.goals:
            stop = match.stop(goal.scored_s)
            assert stop is not None
            assert stop.from_s <= goal.scored_s <= goal.confirmed_s < stop.until_s
            assert match.stop(goal.confirmed_s) == stop
        for stop, after in zip(match.stops, match.stops[1:], strict=False):
            assert stop.until_s < after.from_s
        assert all(goal.confirmed_s <= match.end_s for goal in match.goals)


def test_a_checked_goal_counts_when_it_stands() -> None:
    match = Match(0.0, HALF_S, HALF_S, (Goal(600, 690, Side.HOME),), (Stop(600, 750, Reason.CHECK),))
    assert (str(match.score(689)), str(match.score(690))) == ("0-0", "1-0")


@pytest.mark.parametrize(
    ("at_s", "clock"),
    [
        (-1, None),
        (0, "00:00"),
        (63, "01:03"),
        (2699, "44:59"),
        (2770, "45:00+1:10"),
        (2800, "HT"),
        (3099, "HT"),
        (3100, "45:00"),
        (3100 + 1100, "63:20"),
        (3100 + 2700 + 130, "90:00+2:10"),
        (3100 + 2900, "FT"),
    ],
)
def test_the_clock(at_s: float, clock: str | None) -> None:
    assert Match(0.0, 2800, 2900, (), ()).clock(at_s) == clock


@pytest.mark.parametrize(
    ("chance", "odds"),
    [
        (1, None),
        (0.99, None),
        (0.98, 1010),
        (0.9, 1090),
        (0.5, 1890),
        (0.25, 3670),
        (0.1, 9000),
        (0.02, 44_700),
        (0.0021, 425_200),
        (0.0019, None),  # longer than anybody would offer
        (0, None),
    ],
)
def test_odds_are_rounded_down_to_a_step_and_bounded(chance: float, odds: int | None) -> None:
    assert offered_odds_milli(chance) == odds


def test_a_market_has_an_overround(matches: list[Match]) -> None:
    overrounds = []
    for match in matches[:2000]:
        for at_s in (0, 1800, match.restart_s + 900):
            outlook = Outlook(match.score(at_s), *match.expected_goals(at_s))
            for kind in MarketKind:
                odds = [offered_odds_milli(chance) for chance in fair_chances(kind, outlook).values()]
                if None not in odds:
                    overrounds.append(sum(1000 / each for each in odds if each))
    assert len(overrounds) > 10_000
    assert min(overrounds) > 1.003
    assert max(overrounds) < 1.095
    assert 1.05 < sum(overrounds) / len(overrounds) < 1.07


@pytest.mark.parametrize(
    ("kind", "score", "final", "won"),
    [
        (MarketKind.MATCH_ODDS, Score(1, 0), False, None),
        (MarketKind.MATCH_ODDS, Score(1, 0), True, HOME),
        (MarketKind.MATCH_ODDS, Score(1, 1), True, DRAW),
        (MarketKind.MATCH_ODDS, Score(0, 1), True, AWAY),
        (MarketKind.OVER_UNDER_25, Score(1, 1), False, None),
        (MarketKind.OVER_UNDER_25, Score(2, 1), False, OVER),
        (MarketKind.OVER_UNDER_25, Score(2, 0), True, UNDER),
        (MarketKind.BOTH_TEAMS_TO_SCORE, Score(4, 0), False, None),
        (MarketKind.BOTH_TEAMS_TO_SCORE, Score(1, 1), False, YES),
        (MarketKind.BOTH_TEAMS_TO_SCORE, Score(4, 0), True, NO),
        (MarketKind.NEXT_GOAL, Score(4, 0), False, None),
        (MarketKind.NEXT_GOAL, Score(4, 0), True, NONE),
    ],
)
def test_who_has_won(kind: MarketKind, score: Score, final: bool, won: str | None) -> None:
    assert winner(kind, score, final=final) == won
