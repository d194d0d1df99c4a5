"""The demo feed: invented soccer matches, several at once, for ever, at a speed.

Invariant: what is said at an instant is a function of the fixture list and of that instant alone, under ids that
are too; so a process that was killed goes on where the clock is, and nothing is said twice to any effect.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Collection
from datetime import datetime, timedelta
from typing import Final

from touchline.adapters.feeds.demo_fixtures import SEEDS, Fixture, FixtureList, fixture_of
from touchline.adapters.feeds.demo_model import Match
from touchline.adapters.feeds.demo_words import (
    Kind,
    Moment,
    Teller,
    moments,
    open_offers,
    results,
    tick_until,
    ticks,
)
from touchline.core.feed import AnyMessage
from touchline.core.ids import EventId
from touchline.core.market import MarketStatus
from touchline.ports import Clock

LOOK_AGAIN: Final = timedelta(seconds=3)
LATE: Final = timedelta(seconds=30)  # after so long in silence the feed says what stands, not what was
OPEN_EVENTS_MAX: Final = 10_000


class DemoFeed:
    """A feed that paces itself by the clock; see `edge.workers.Feed`."""

    def __init__(self, seed: int, matches: int, speed: float, clock: Clock) -> None:
        self._fixtures = FixtureList(seed % SEEDS, matches, max(round(speed * 1000), 1))
        self._clock = clock

    async def messages(self, open_event_ids: Collection[EventId]) -> AsyncIterator[list[AnyMessage]]:
        """Yield messages as they are due, for ever.

        First what stands now: every running match as it is, and the results of those of `open_event_ids` that
        are over. Events of an earlier seed or speed are played to their end.
        """
        earlier = [fixture for each in list(open_event_ids)[:OPEN_EVENTS_MAX] if (fixture := fixture_of(each))]
        at = self._clock.now()
        known = {fixture.event_id: fixture for fixture in (*earlier, *self._fixtures.running(at, at))}
        for fixture in known.values():
            yield standing(fixture, at)
        while True:
            known = {key: fixture for key, fixture in known.items() if not is_over(fixture, at)}
            due = min((next_after(fixture, at) for fixture in known.values()), default=at + LOOK_AGAIN)
            await asyncio.sleep((min(due, at + LOOK_AGAIN) - self._clock.now()).total_seconds())
            now = self._clock.now()
            late = now - at > LATE
            for fixture in self._fixtures.running(now if late else at, now):
                known.setdefault(fixture.event_id, fixture)
            for fixture in known.values():
                if messages := standing(fixture, now) if late else said_between(fixture, at, now):
                    yield messages
            at = max(at, now)


def is_over(fixture: Fixture, at: datetime) -> bool:
    """Tell whether all has been said of a match by the instant `at`."""
    return fixture.when(fixture.match.result_s) <= at


def standing(fixture: Fixture, at: datetime) -> list[AnyMessage]:
    """Return what makes a store that knows nothing, or only what was so a while ago, know what is so at `at`."""
    match, at_s = fixture.match, fixture.match_s(at)
    teller = Teller(fixture, Moment(at_s, Kind.STANDING))
    decided = results(match, at_s)
    settled = [teller.settlement(offer, winner) for offer, winner in decided.items()]
    if at_s >= match.result_s:
        return [*settled, teller.fixture_change()]
    bettable_s = _last_bettable_s(match, at_s)
    status = MarketStatus.ACTIVE if bettable_s == at_s else MarketStatus.SUSPENDED
    offered = open_offers(match, bettable_s)
    priced = [teller.odds_change(offer, status) for offer in offered if offer not in decided]
    return [teller.fixture_change(), *settled, *priced]


def said_between(fixture: Fixture, after: datetime, until: datetime) -> list[AnyMessage]:
    """Return what is said of a match after `after` up to `until`; of several ticks in between only the last."""
    due = [moment for moment in moments(fixture) if after < fixture.when(moment.match_s) <= until]
    tick = tick_until(fixture, until)
    if tick is not None and tick > after:
        due.append(Moment(fixture.match_s(tick), Kind.TICK))
    return [message for moment in sorted(due) for message in _said(fixture, moment)]


def next_after(fixture: Fixture, at: datetime) -> datetime:
    """Return when something may next be said of a match that is not over."""
    happens = (when for moment in moments(fixture) if (when := fixture.when(moment.match_s)) > at)
    return min(next(happens), next(ticks(fixture, at)))


def _last_bettable_s(match: Match, at_s: float) -> float:
    """Return `at_s` where betting is on, else the last moment at which it was."""
    last_s = min(at_s, math.nextafter(match.end_s, -math.inf))
    stop = match.stop(last_s)
    return last_s if stop is None else math.nextafter(stop.from_s, -math.inf)


def _said(fixture: Fixture, moment: Moment) -> list[AnyMessage]:
    played, at_s = fixture.match, moment.match_s
    teller = Teller(fixture, moment)
    said: list[AnyMessage] = [teller.fixture_change()]
    if moment.kind in (Kind.STOP, Kind.END):
        said.insert(0, teller.bet_stop())  # first of all, no more bets
    elif moment.kind in (Kind.GOAL, Kind.RESULT):
        before = results(played, math.nextafter(at_s, -math.inf))
        now = results(played, at_s)
        said += [teller.settlement(offer, won) for offer, won in now.items() if offer not in before]
    elif moment.kind in (Kind.ANNOUNCE, Kind.RESUME):
        said += [teller.odds_change(offer, MarketStatus.ACTIVE) for offer in open_offers(played, at_s)]
    elif moment.kind is Kind.TICK and played.stop(at_s) is None and at_s < played.end_s:
        said += [teller.odds_change(offer, None) for offer in open_offers(played, at_s)]
    return said
