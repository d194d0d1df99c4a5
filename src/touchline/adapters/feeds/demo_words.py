"""What the demo feed says of a match at a moment, in feed messages.

Invariant: a message's id is made of its event, its market and its moment, and a market's result has but one id.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from random import Random
from typing import Final, NamedTuple

from touchline.adapters.feeds.demo_fixtures import ANNOUNCED_S, COMPETITION, Fixture
from touchline.adapters.feeds.demo_model import Match
from touchline.adapters.feeds.demo_prices import (
    AWAY,
    DRAW,
    HOME,
    NO,
    NONE,
    OVER,
    SELECTION_OF_SIDE,
    SELECTIONS,
    UNDER,
    YES,
    MarketKind,
    Outlook,
    fair_chances,
    offered_odds_milli,
    winner,
)
from touchline.core.bet import BetResult
from touchline.core.event import EventStatus
from touchline.core.feed import BetSettlement, BetStop, FixtureChange, OddsChange, PricedSelection
from touchline.core.ids import MarketId, MessageId, SelectionId
from touchline.core.market import MarketStatus, SelectionStatus
from touchline.core.settlement import Outcome

TICK: Final = timedelta(seconds=8)  # between prices, give or take half of TICK_VARIES, by the clock on the wall
TICK_VARIES: Final = timedelta(seconds=2)
SWING_TICKS: Final = 12  # a swing of opinion lasts about as long
SWING: Final = 0.04  # how far opinion swings about the goals expected, as a part of them
JITTER: Final = 0.006
MOMENTS_CACHED_MAX: Final = 1_024


class Kind(IntEnum):
    """What happens; of what happens at once, the first is said first."""

    STOP = 1
    GOAL = 2
    RESUME = 3
    ANNOUNCE = 4
    KICK_OFF = 5
    HALF_TIME = 6
    RESTART = 7
    END = 8
    RESULT = 9
    TICK = 10
    STANDING = 11


class Moment(NamedTuple):
    """Something that happens, in match seconds."""

    match_s: float
    kind: Kind


class Offer(NamedTuple):
    """A market of a match; `goal` counts goals from 1, in `NEXT_GOAL` markets alone."""

    kind: MarketKind
    goal: int = 0


ALWAYS: Final = (
    Offer(MarketKind.MATCH_ODDS),
    Offer(MarketKind.OVER_UNDER_25),
    Offer(MarketKind.BOTH_TEAMS_TO_SCORE),
)


@lru_cache(MOMENTS_CACHED_MAX)
def moments(fixture: Fixture) -> tuple[Moment, ...]:
    """Return all that happens in a match but its ticks, in order."""
    match = fixture.match
    return tuple(
        sorted(
            [
                Moment(ANNOUNCED_S, Kind.ANNOUNCE),
                Moment(0.0, Kind.KICK_OFF),
                Moment(match.half_1_s, Kind.HALF_TIME),
                Moment(match.restart_s, Kind.RESTART),
                Moment(match.end_s, Kind.END),
                Moment(match.result_s, Kind.RESULT),
                *(Moment(goal.confirmed_s, Kind.GOAL) for goal in match.goals),
                *(Moment(stop.from_s, Kind.STOP) for stop in match.stops),
                *(Moment(stop.until_s, Kind.RESUME) for stop in match.stops if stop.until_s < match.end_s),
            ]
        )
    )


def tick_until(fixture: Fixture, until: datetime) -> datetime | None:
    """Return the newest tick up to `until`, None before the first."""
    number = (until - fixture.when(ANNOUNCED_S)) // TICK
    newest = next((tick for each in (number, number - 1) if (tick := _tick(fixture, each)) <= until), None)
    return None if newest is None or newest < fixture.when(ANNOUNCED_S) else newest


def ticks(fixture: Fixture, after: datetime) -> Iterator[datetime]:
    """Yield the ticks after `after`, without end."""
    number = max((after - fixture.when(ANNOUNCED_S)) // TICK, 0)
    while True:
        if (tick := _tick(fixture, number)) > after:
            yield tick
        number += 1


def results(match: Match, at_s: float) -> dict[Offer, SelectionId]:
    """Return the winner of each market that is decided at `at_s`."""
    score, final = match.score(at_s), at_s >= match.result_s
    decided = {offer: won for offer in ALWAYS if (won := winner(offer.kind, score, final=final))}
    standing = sorted(
        (goal for goal in match.goals if goal.confirmed_s <= at_s), key=lambda goal: goal.confirmed_s
    )
    for number, goal in enumerate(standing, start=1):
        decided[Offer(MarketKind.NEXT_GOAL, number)] = SELECTION_OF_SIDE[goal.side]
    if final:
        decided[Offer(MarketKind.NEXT_GOAL, score.total + 1)] = NONE
    return decided


def open_offers(match: Match, at_s: float) -> list[Offer]:
    """Return the markets that are not decided at `at_s`."""
    offers = (*ALWAYS, Offer(MarketKind.NEXT_GOAL, match.score(at_s).total + 1))
    decided = results(match, at_s)
    return [offer for offer in offers if offer not in decided]


@dataclass(frozen=True, slots=True)
class Teller:
    """Says things about a match at a moment."""

    fixture: Fixture
    moment: Moment

    def fixture_change(self) -> FixtureChange:
        """The event as it is: status, score and clock, and for who never heard of it all else."""
        match, at_s = self.fixture.match, self.moment.match_s
        status = EventStatus.LIVE if at_s >= 0 else EventStatus.SCHEDULED
        return FixtureChange(
            message_id=self._message_id(f"{self.fixture.event_id}:fixture"),
            occurred_at=self._at(),
            event_id=self.fixture.event_id,
            name=" v ".join(self.fixture.sides),
            sport="soccer",
            competition=COMPETITION,
            status=EventStatus.ENDED if at_s >= match.result_s else status,
            start_time=self.fixture.kick_off,
            score=str(match.score(at_s)) if at_s >= 0 else None,
            clock=match.clock(at_s),
        )

    def bet_stop(self) -> BetStop:
        """No bets on any market of the match."""
        return BetStop(
            message_id=self._message_id(f"{self.fixture.event_id}:stop"),
            occurred_at=self._at(),
            event_id=self.fixture.event_id,
        )

    def odds_change(self, offer: Offer, status: MarketStatus | None) -> OddsChange:
        """A market's prices; `status` None leaves it as it is, so that a trader's stop outlasts them."""
        market_id = self._market_id(offer)
        return OddsChange(
            message_id=self._message_id(market_id),
            occurred_at=self._at(),
            event_id=self.fixture.event_id,
            market_id=market_id,
            name=self._name(offer),
            market_type=offer.kind.value,
            status=status,
            selections=tuple(self._priced(offer)),
        )

    def settlement(self, offer: Offer, won: SelectionId) -> BetSettlement:
        """A market's results."""
        market_id = self._market_id(offer)
        return BetSettlement(
            message_id=MessageId(f"{market_id}:result"),
            occurred_at=self._at(),
            event_id=self.fixture.event_id,
            market_id=market_id,
            results={
                selection: Outcome(BetResult.WON if selection == won else BetResult.LOST)
                for selection in SELECTIONS[offer.kind]
            },
        )

    def _priced(self, offer: Offer) -> Iterator[PricedSelection]:
        home, away = self.fixture.match.expected_goals(self.moment.match_s)
        swing_home, swing_away = _opinion(self.fixture, self._at())
        outlook = Outlook(self.fixture.match.score(self.moment.match_s), home * swing_home, away * swing_away)
        for selection, chance in fair_chances(offer.kind, outlook).items():
            odds = offered_odds_milli(chance)
            status = SelectionStatus.SUSPENDED if odds is None else SelectionStatus.ACTIVE
            yield PricedSelection(
                selection_id=selection, name=self._selection_name(offer, selection), odds_milli=odds, status=status
            )

    def _at(self) -> datetime:
        return self.fixture.when(self.moment.match_s)

    def _message_id(self, what: str) -> MessageId:
        return MessageId(f"{what}:{self.moment.kind.name.lower()}:{math.floor(self.moment.match_s * 1000)}")

    def _market_id(self, offer: Offer) -> MarketId:
        number = f"_{offer.goal}" if offer.goal else ""
        return MarketId(f"{self.fixture.event_id}:{offer.kind.lower()}{number}")

    def _name(self, offer: Offer) -> str:
        return f"{NAMES[offer.kind]} ({offer.goal})" if offer.goal else NAMES[offer.kind]

    def _selection_name(self, offer: Offer, selection: SelectionId) -> str:
        home, away = self.fixture.sides
        return {HOME: home, AWAY: away}.get(selection) or SELECTION_NAMES[selection]


NAMES: Final = {
    MarketKind.MATCH_ODDS: "Match odds",
    MarketKind.OVER_UNDER_25: "Over/under 2.5 goals",
    MarketKind.BOTH_TEAMS_TO_SCORE: "Both teams to score",
    MarketKind.NEXT_GOAL: "Next goal",
}
SELECTION_NAMES: Final = {
    DRAW: "Draw",
    OVER: "Over 2.5",
    UNDER: "Under 2.5",
    YES: "Yes",
    NO: "No",
    NONE: "No goal",
}


def _tick(fixture: Fixture, number: int) -> datetime:
    varies = Random(f"tick/{fixture.event_id}/{number}").random()
    return fixture.when(ANNOUNCED_S) + number * TICK + varies * TICK_VARIES


def _opinion(fixture: Fixture, at: datetime) -> tuple[float, float]:
    """Return what opinion at the instant `at` makes of each side's expected goals, as factors about 1."""
    number = (at - fixture.when(ANNOUNCED_S)) / TICK
    knot, part = divmod(number / SWING_TICKS, 1)
    smooth = part * part * (3 - 2 * part)
    factors = []
    for side in (HOME, AWAY):
        here, there = (
            Random(f"swing/{fixture.event_id}/{side}/{int(knot) + step}").uniform(-SWING, SWING) for step in (0, 1)
        )
        jitter = Random(f"jitter/{fixture.event_id}/{side}/{int(number)}").uniform(-JITTER, JITTER)
        factors.append(math.exp(here + (there - here) * smooth + jitter))
    return factors[0], factors[1]
