"""The demo feed: its fixture list, what it says of a match from announcement to result, and its pace."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from tests.demo_world import LIST, START, World, a_fixture, offered, play, start_anew
from touchline.adapters.feeds import demo
from touchline.adapters.feeds.demo import DemoFeed, said_between, standing
from touchline.adapters.feeds.demo_fixtures import (
    ANNOUNCED_S,
    CLUBS,
    PLACES,
    Fixture,
    FixtureList,
    fixture_of,
)
from touchline.adapters.feeds.demo_prices import MarketKind
from touchline.adapters.feeds.demo_words import Offer, results
from touchline.adapters.system import SystemClock
from touchline.core.bet import BetResult
from touchline.core.event import EventStatus
from touchline.core.feed import AnyMessage, BetSettlement, BetStop, FixtureChange, OddsChange
from touchline.core.ids import EventId
from touchline.core.market import MarketStatus
from touchline.wire.feed_v1 import decode_messages, encode_message


def with_goal() -> Fixture:
    """A fixture whose first goal falls in a stop of its own."""
    return next(
        fixture
        for number in range(40)
        if (fixture := a_fixture(number)).match.goals and fixture.match.stop(fixture.match.goals[0].scored_s)
    )


def named(fixture: Fixture) -> set[str]:
    """The names of a fixture's sides."""
    return set(fixture.sides)


def test_an_events_id_says_all_of_its_fixture() -> None:
    for fixture in LIST.running(START, START + timedelta(hours=3)):
        assert fixture_of(fixture.event_id) == fixture


@pytest.mark.parametrize(
    "event_id",
    [
        "29788105",
        "demo:",
        "demo:1:2:3:4:0",
        "demo:1:2:3:999999999999999:6000",
        "demo:1:2:3:4:9999999",
        "demo:-1:2:3:4:5",
    ],
)
def test_other_events_are_none_of_the_demos(event_id: str) -> None:
    assert fixture_of(EventId(event_id)) is None


@pytest.mark.parametrize("matches", [2, 4, 64])
def test_a_match_is_always_live_and_each_slot_plays_one_at_a_time(matches: int) -> None:
    for step in range(200):
        at = START + timedelta(seconds=97 * step)
        running = list(FixtureList(7, matches, 6000).running(at, at))
        assert len({fixture.slot for fixture in running}) == len(running) <= matches
        assert any(0 <= fixture.match_s(at) < fixture.match.end_s for fixture in running)
        assert len(set().union(*map(named, running))) == 2 * len(running)


def test_kick_offs_are_spread() -> None:
    kick_offs = sorted(fixture.kick_off for fixture in LIST.running(START, START + timedelta(hours=2)))
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(kick_offs)]
    assert len(gaps) > 12
    assert min(gaps) > 200  # of the 325 s that an even spread would have


def test_every_slot_has_clubs_of_its_own() -> None:
    clubs = [Fixture(1, slot, 0, 0, 1)._side(number) for slot in range(64) for number in range(4)]
    assert len(set(clubs)) == 256
    assert len(PLACES) == len(set(PLACES)) == 48
    assert len(CLUBS) == 6


async def test_a_match_is_told_from_announcement_to_result() -> None:
    fixture, world = a_fixture(), World()
    await play(world, fixture, until_s=ANNOUNCED_S / 2)
    assert world.event(fixture).status is EventStatus.SCHEDULED
    assert world.event(fixture).name == " v ".join(fixture.sides)
    assert {market.status for market in world.markets(fixture).values()} == {MarketStatus.ACTIVE}
    assert set(world.markets(fixture)) == {"match_odds", "over_under_25", "both_teams_to_score", "next_goal_1"}
    world = World()
    await play(world, fixture)
    match, event = fixture.match, world.event(fixture)
    assert (event.status, event.score, event.clock) == (EventStatus.ENDED, str(match.score()), "FT")
    markets = world.markets(fixture)
    assert len(markets) == 4 + len(offered(match))
    assert {market.status for market in markets.values()} == {MarketStatus.SETTLED}


@pytest.mark.parametrize("number", range(20))
async def test_results_agree_with_the_final_score(number: int) -> None:
    fixture, world = a_fixture(number), World()
    await play(world, fixture)
    score = fixture.match.score()
    won = {
        settlement.market_id.rpartition(":")[2]: [
            selection for selection, outcome in settlement.results.items() if outcome.result is BetResult.WON
        ]
        for settlement in world.tables.settlements.values()
    }
    assert won.pop("match_odds") == [
        "home" if score.home > score.away else "draw" if score.home == score.away else "away"
    ]
    assert won.pop("over_under_25") == ["over" if score.total > 2 else "under"]
    assert won.pop("both_teams_to_score") == ["yes" if score.home and score.away else "no"]
    assert won.pop(f"next_goal_{score.total + 1}") == ["none"]
    assert sorted(won.values()) == sorted([goal.side.value] for goal in offered(fixture.match))


async def test_betting_stops_with_a_goal_and_goes_on_at_other_prices() -> None:
    fixture = with_goal()
    goal = fixture.match.goals[0]
    stop = fixture.match.stop(goal.scored_s)
    assert stop is not None
    world = World()
    await play(world, fixture, until_s=stop.from_s - 6)
    before = world.market(fixture, "match_odds")
    assert before.status is MarketStatus.ACTIVE
    at = fixture.when(stop.from_s - 6)
    await world.hear(said_between(fixture, at, fixture.when(goal.confirmed_s)), fixture.when(goal.confirmed_s))
    assert world.market(fixture, "match_odds").status is MarketStatus.SUSPENDED
    assert world.market(fixture, "next_goal_1").status is MarketStatus.SETTLED
    assert world.event(fixture).score == str(fixture.match.score(goal.confirmed_s))
    at, until = fixture.when(goal.confirmed_s), fixture.when(stop.until_s)
    await world.hear(said_between(fixture, at, until - timedelta(milliseconds=1)), until)
    assert world.market(fixture, "match_odds").status is MarketStatus.SUSPENDED
    await world.hear(said_between(fixture, until - timedelta(milliseconds=1), until), until)
    after = world.market(fixture, "match_odds")
    assert after.status is MarketStatus.ACTIVE
    assert after.selections != before.selections
    assert world.market(fixture, "next_goal_2").status is MarketStatus.ACTIVE


def test_the_first_word_of_a_goal_is_the_stop() -> None:
    fixture = with_goal()
    goal = fixture.match.goals[0]
    said = said_between(fixture, fixture.when(goal.scored_s - 0.01), fixture.when(goal.scored_s))
    stop = fixture.match.stop(goal.scored_s)
    assert stop is not None
    if stop.from_s == goal.scored_s:
        assert isinstance(said[0], BetStop)


async def test_a_traders_stop_outlasts_the_next_prices() -> None:
    fixture, world = a_fixture(), World()
    at = await play(world, fixture, until_s=60)
    market = world.market(fixture, "match_odds")
    ticks = said_between(fixture, at, at + timedelta(seconds=4))
    assert [
        each.status for each in ticks if isinstance(each, OddsChange) and each.market_id == market.market_id
    ] == [None]


async def test_prices_move_every_six_to_ten_seconds() -> None:
    fixture = a_fixture()
    at, moved = fixture.when(60), []
    prices = None
    while at < fixture.when(1500):
        for message in said_between(fixture, at, at + timedelta(seconds=0.1)):
            if (
                isinstance(message, OddsChange)
                and message.status is None
                and message.market_id.endswith("match_odds")
            ):
                assert prices != message.message_id
                prices = message.message_id
                moved.append(message.occurred_at)
        at += timedelta(seconds=0.1)
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(moved)]
    assert min(gaps) >= 6
    assert sorted(gaps)[int(len(gaps) * 0.9)] <= 10  # longer ones are stops


async def test_prices_keep_changing() -> None:
    fixture, world = a_fixture(), World()
    await play(world, fixture, until_s=1200)
    assert world.market(fixture, "match_odds").odds_version > 35  # in 340 s, before kick-off and after


async def test_a_match_that_ended_while_the_feed_was_away_is_settled() -> None:
    fixture, world = a_fixture(), World()
    await play(world, fixture, until_s=600)
    await start_anew(world, fixture, fixture.when(fixture.match.result_s) + timedelta(days=3))
    assert world.event(fixture).status is EventStatus.ENDED
    assert {market.status for market in world.markets(fixture).values()} == {MarketStatus.SETTLED}


async def test_saying_what_stands_twice_changes_nothing() -> None:
    fixture, world = a_fixture(), World()
    at = fixture.when(1800)
    assert await world.hear(standing(fixture, at), at) > 0
    assert await world.hear(standing(fixture, at), at) == 0


def test_results_tell_each_goals_scorer() -> None:
    match = with_goal().match
    decided = results(match, match.result_s)
    assert [decided[Offer(MarketKind.NEXT_GOAL, number)] for number in range(1, len(match.goals) + 1)] == [
        goal.side.value for goal in sorted(match.goals, key=lambda goal: goal.confirmed_s)
    ]


class ShiftedClock:
    """A clock that goes as the system's does, from `START` on."""

    def __init__(self) -> None:
        self._began = SystemClock().now()

    def now(self) -> datetime:
        return START + (SystemClock().now() - self._began)


async def heard(
    feed: DemoFeed, open_event_ids: list[EventId], until: datetime, clock: ShiftedClock
) -> list[AnyMessage]:
    """All that a feed says until its clock is at `until`."""
    messages: list[AnyMessage] = []
    async with asyncio.timeout(60):
        async for batch in feed.messages(open_event_ids):
            assert batch
            messages += batch
            if clock.now() > until:
                return messages
    raise AssertionError("a feed never ends")


async def test_a_feed_paces_itself_and_begins_with_what_stands() -> None:
    clock = ShiftedClock()
    feed = DemoFeed(7, 4, 1000.0, clock)
    messages = await heard(feed, [], START + timedelta(seconds=8), clock)
    first = next(message for message in messages if isinstance(message, FixtureChange))
    assert first.status is not EventStatus.ENDED
    assert any(isinstance(message, BetSettlement) for message in messages)
    ended = {m.event_id for m in messages if isinstance(m, FixtureChange) and m.status is EventStatus.ENDED}
    assert len(ended) >= 3  # a round of four matches takes 7.8 s
    for message in messages:
        assert decode_messages(encode_message(message)) == [message]
        assert message.occurred_at <= clock.now()


async def test_a_feed_ends_what_an_earlier_one_left_open() -> None:
    clock = ShiftedClock()
    earlier = next(FixtureList(3, 2, 20_000).running(START - timedelta(days=1), START - timedelta(days=1)))
    feed = DemoFeed(7, 1, 6.0, clock)
    messages = await heard(feed, [EventId("29788105"), earlier.event_id], START, clock)
    of_earlier = [message for message in messages if getattr(message, "event_id", "") == earlier.event_id]
    assert of_earlier == standing(earlier, of_earlier[-1].occurred_at)
    assert isinstance(of_earlier[-1], FixtureChange)
    assert of_earlier[-1].status is EventStatus.ENDED


async def test_after_a_long_silence_a_feed_says_what_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "LATE", timedelta(0))
    clock = ShiftedClock()
    messages = await heard(DemoFeed(7, 4, 6.0, clock), [], START + timedelta(seconds=2), clock)
    assert all(":tick:" not in message.message_id for message in messages)
