"""A platform on memory that hears the demo feed, and what it knows."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from tests.clock import HandClock
from touchline.adapters.feeds.demo import is_over, said_between, standing
from touchline.adapters.feeds.demo_fixtures import ANNOUNCED_S, Fixture, FixtureList
from touchline.adapters.feeds.demo_model import Goal, Match
from touchline.adapters.memory.markets import MemoryMarkets
from touchline.adapters.memory.meters import MemoryMeter
from touchline.adapters.memory.settlements import MemorySettlements
from touchline.adapters.memory.tables import Tables
from touchline.core.event import Event
from touchline.core.feed import AnyMessage
from touchline.core.ids import MarketId
from touchline.core.market import Market
from touchline.flows.ingest_feed import FeedIngestion

START = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
LIST = FixtureList(7, 4, 6000)


class World:
    """A platform on memory."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.clock = HandClock(START)
        markets = MemoryMarkets(self.tables, self.clock)
        settlements = MemorySettlements(self.tables, self.clock)
        self.ingestion = FeedIngestion(markets, settlements, self.clock, MemoryMeter())

    async def hear(self, messages: Sequence[AnyMessage], at: datetime) -> int:
        """Apply `messages` at an instant; returns how many changed something."""
        self.clock.move(at - self.clock.now())
        applied, _ = await self.ingestion.apply_all(messages)
        return applied

    def event(self, fixture: Fixture) -> Event:
        """The event of a fixture."""
        return self.tables.events[fixture.event_id]

    def markets(self, fixture: Fixture) -> dict[str, Market]:
        """The markets of a fixture, by the last part of their ids."""
        return {
            market.market_id.rpartition(":")[2]: market
            for market in self.tables.markets.values()
            if market.event_id == fixture.event_id
        }

    def market(self, fixture: Fixture, name: str) -> Market:
        """One market of a fixture."""
        return self.tables.markets[MarketId(f"{fixture.event_id}:{name}")]


def a_fixture(number: int = 0) -> Fixture:
    """A fixture of the list, soon after `START`."""
    day = list(LIST.running(START, START + timedelta(days=1)))
    return day[8 + number]


def offered(match: Match) -> list[Goal]:
    """The goals that could be bet on: the next goal is on offer once betting goes on after the one before it."""
    goals = sorted(match.goals, key=lambda goal: goal.confirmed_s)
    stops = [match.stop(goal.scored_s) for goal in goals]
    return [goal for place, goal in enumerate(goals) if place == 0 or stops[place] != stops[place - 1]]


async def play(
    world: World, fixture: Fixture, *, from_s: float = ANNOUNCED_S - 1, until_s: float | None = None
) -> datetime:
    """Let a world hear a match, by default whole, second by second on the wall; returns the instant of its end."""
    at = fixture.when(from_s)
    end = fixture.when(fixture.match.result_s if until_s is None else until_s)
    while not is_over(fixture, at) and at < end:
        until = at + timedelta(seconds=1)
        await world.hear(said_between(fixture, at, until), until)
        at = until
    return at


async def start_anew(world: World, fixture: Fixture, at: datetime) -> None:
    """Let a world hear what a feed says that begins at `at`."""
    await world.hear(standing(fixture, at), at)
