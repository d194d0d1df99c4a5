"""Whatever a feed and a trader do to a market: its version rises by one with price or status, and never else."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.clock import NOON
from tests.samples import EVENT, MARKET
from touchline.core.errors import Rejection
from touchline.core.feed import OddsChange, PricedSelection
from touchline.core.ids import MessageId, SelectionId
from touchline.core.market import Market, MarketStatus, MarketStep, SelectionStatus, step_market
from touchline.core.odds import apply_odds_change

selection_ids = st.sampled_from(["home", "draw", "away"]).map(SelectionId)
prices = st.integers(1_001, 1_005)  # few, so that changes often repeat what stands
selections = st.builds(
    PricedSelection,
    selection_id=selection_ids,
    name=st.none() | st.sampled_from(["One", "Two"]),
    odds_milli=st.none() | prices,
    status=st.none() | st.sampled_from(SelectionStatus),
)
instants = st.integers(0, 50).map(lambda seconds: NOON + timedelta(seconds=seconds))
changes = st.builds(
    OddsChange,
    message_id=st.just(MessageId("m")),
    occurred_at=instants,
    event_id=st.just(EVENT),
    market_id=st.just(MARKET),
    selections=st.lists(selections, max_size=3).map(tuple),
    name=st.none() | st.sampled_from(["A", "B"]),
    status=st.none() | st.sampled_from([MarketStatus.ACTIVE, MarketStatus.SUSPENDED, MarketStatus.CLOSED]),
    bet_delay_ms=st.none() | st.sampled_from([0, 5_000]),
)


def priced(market: Market) -> object:
    """What a version stands for."""
    return market.status, market.selections


@given(first=changes, steps=st.lists(changes | st.sampled_from(MarketStep), max_size=30))
def test_the_version_rises_by_one_exactly_when_a_price_or_a_status_changes(
    first: OddsChange, steps: list[OddsChange | MarketStep]
) -> None:
    market = apply_odds_change(None, first, NOON)
    assert market is not None
    assert market.odds_version == 1
    for step in steps:
        before = market
        if isinstance(step, OddsChange):
            market = apply_odds_change(before, step, NOON) or before
        else:
            try:
                market = step_market(before, step, NOON)
            except Rejection:
                continue
        assert market.odds_version - before.odds_version == (priced(market) != priced(before))


boards_of_three = st.fixed_dictionaries(dict.fromkeys(("home", "draw", "away"), st.sampled_from([1_500, 2_000])))


@given(data=st.data(), boards=st.lists(boards_of_three, min_size=1, max_size=8))
def test_in_whatever_order_messages_arrive_the_one_that_occurred_last_stands(
    data: st.DataObject, boards: list[dict[str, int]]
) -> None:
    sent = [
        OddsChange(
            message_id=MessageId(f"m{place}"),
            occurred_at=NOON + timedelta(seconds=place),
            event_id=EVENT,
            market_id=MARKET,
            selections=tuple(
                PricedSelection(selection_id=SelectionId(name), odds_milli=milli) for name, milli in board.items()
            ),
        )
        for place, board in enumerate(boards)
    ]
    market: Market | None = None
    versions = []
    for change in data.draw(st.permutations(sent)):
        market = apply_odds_change(market, change, NOON) or market
        assert market is not None
        versions.append(market.odds_version)
    assert market is not None
    assert {s.selection_id: s.odds_milli for s in market.selections} == boards[-1]
    assert all(later - earlier in (0, 1) for earlier, later in pairwise(versions))


@given(change=changes)
def test_a_message_twice_is_a_message_once(change: OddsChange) -> None:
    once = apply_odds_change(None, change, NOON)
    assert once is not None
    assert apply_odds_change(once, change, NOON) is None
    assert apply_odds_change(once, replace(change, message_id=MessageId("again")), NOON) is None
