"""The demo feed, killed and begun anew at any time, leaves the platform knowing the same in the end."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.demo_world import World, a_fixture, play, start_anew
from touchline.adapters.feeds.demo_fixtures import ANNOUNCED_S, Fixture
from touchline.adapters.feeds.demo_model import Score
from touchline.adapters.feeds.demo_prices import MarketKind, Outlook, fair_chances, offered_odds_milli
from touchline.core.market import MarketStatus
from touchline.core.settlement import Results

KILLS = st.lists(
    st.tuples(st.floats(ANNOUNCED_S, 6_000), st.floats(0, 2_000)).map(lambda kill: (kill[0], kill[0] + kill[1])),
    min_size=1,
    max_size=3,
)


def settled(world: World) -> dict[str, Results]:
    """The results of every market."""
    return {each.market_id: each.results for each in world.tables.settlements.values()}


async def killed(fixture: Fixture, kills: list[tuple[float, float]]) -> World:
    """A world whose feed was killed and begun anew, each time from one match second to another."""
    world = World()
    for number, (until_s, from_s) in enumerate(sorted(kills)):
        if number == 0:
            await play(world, fixture, until_s=until_s)
        await start_anew(world, fixture, fixture.when(from_s))
    await play(world, fixture, from_s=sorted(kills)[-1][1])
    return world


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 30), KILLS)
def test_a_feed_killed_at_any_time_settles_what_it_opened_as_one_that_ran_through(
    number: int, kills: list[tuple[float, float]]
) -> None:
    fixture = a_fixture(number)
    world = asyncio.run(killed(fixture, kills))
    whole = World()
    asyncio.run(play(whole, fixture))
    assert world.event(fixture) == whole.event(fixture)
    assert settled(world).items() <= settled(whole).items()
    assert {market.status for market in world.markets(fixture).values()} == {MarketStatus.SETTLED}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 30), st.floats(ANNOUNCED_S, 6_000))
def test_a_feed_that_begins_now_says_what_one_that_ran_through_has_said(number: int, at_s: float) -> None:
    fixture = a_fixture(number)
    ran, began = World(), World()
    at = asyncio.run(play(ran, fixture, until_s=at_s))
    asyncio.run(start_anew(began, fixture, at))
    before, now = ran.markets(fixture), began.markets(fixture)
    assert {
        name: market.status for name, market in before.items() if market.status is not MarketStatus.SETTLED
    } == {name: market.status for name, market in now.items()}
    assert (ran.event(fixture).score, ran.event(fixture).status) == (
        began.event(fixture).score,
        began.event(fixture).status,
    )


GOALS = st.floats(1e-6, 6)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MarketKind), st.integers(0, 6), st.integers(0, 6), GOALS, GOALS)
def test_chances_sum_to_one_and_no_price_favours_its_backer(
    kind: MarketKind, home: int, away: int, home_goals: float, away_goals: float
) -> None:
    chances = fair_chances(kind, Outlook(Score(home, away), home_goals, away_goals))
    assert abs(sum(chances.values()) - 1) < 1e-9
    for chance in chances.values():
        assert -1e-9 <= chance <= 1 + 1e-9
        odds = offered_odds_milli(chance)
        if odds is not None:
            assert 1_010 <= odds <= 500_000
            assert odds % 10 == 0
            assert chance * odds <= 1000
