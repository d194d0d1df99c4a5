"""Odds changes: what a feed says becomes the market's next version, and what is late changes nothing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.clock import NOON
from tests.samples import AWAY, DRAW, EVENT, HOME, MARKET, SECOND, market
from touchline.core.feed import OddsChange, PricedSelection
from touchline.core.ids import MessageId, SelectionId
from touchline.core.market import Market, MarketStatus, Selection, SelectionStatus
from touchline.core.odds import apply_odds_change, is_backable, is_late

AT = NOON + timedelta(minutes=1)  # when we hear of it


def change(*selections: PricedSelection, after_s: int = 1, **changed: Any) -> OddsChange:
    plain = OddsChange(
        message_id=MessageId("m1"),
        occurred_at=NOON + after_s * SECOND,
        event_id=EVENT,
        market_id=MARKET,
        selections=selections,
    )
    return replace(plain, **changed)


def price(selection_id: SelectionId, odds_milli: int | None = None, **changed: Any) -> PricedSelection:
    return PricedSelection(selection_id=selection_id, odds_milli=odds_milli, **changed)


def applied(before: Market | None, what: OddsChange) -> Market:
    after = apply_odds_change(before, what, AT)
    assert after is not None
    return after


def test_an_unknown_market_begins_active_at_version_one_with_what_is_known() -> None:
    created = applied(None, change(price(HOME, 2_000)))
    assert created == Market(
        market_id=MARKET,
        event_id=EVENT,
        name=MARKET,
        market_type="UNKNOWN",
        status=MarketStatus.ACTIVE,
        odds_version=1,
        selections=(Selection(HOME, HOME, 2_000),),
        bet_delay_ms=0,
        priced_at=NOON + SECOND,
        updated_at=AT,
    )


def test_an_unknown_market_takes_every_word_of_its_first_message() -> None:
    first = change(
        price(HOME, 2_000, name="Home", status=SelectionStatus.SUSPENDED),
        name="Result",
        market_type="1X2",
        status=MarketStatus.SUSPENDED,
        bet_delay_ms=5_000,
    )
    created = applied(None, first)
    assert (created.name, created.market_type, created.status) == ("Result", "1X2", MarketStatus.SUSPENDED)
    assert created.bet_delay_ms == 5_000
    assert created.selections == (Selection(HOME, "Home", 2_000, SelectionStatus.SUSPENDED),)


@pytest.mark.parametrize(
    "what",
    [
        change(price(HOME, 2_600)),
        change(price(HOME, status=SelectionStatus.SUSPENDED)),
        change(price(HOME, status=SelectionStatus.REMOVED)),
        change(price(SelectionId("new"), 9_000)),
        change(status=MarketStatus.SUSPENDED),
        change(status=MarketStatus.CLOSED),
        change(price(HOME, 2_600), price(AWAY, 3_000), status=MarketStatus.SUSPENDED),
    ],
)
def test_a_change_of_price_or_status_raises_the_version_by_one(what: OddsChange) -> None:
    before = market()
    after = applied(before, what)
    assert after.odds_version == before.odds_version + 1
    assert (after.priced_at, after.updated_at) == (what.occurred_at, AT)


@pytest.mark.parametrize("what", [change(name="New name"), change(market_type="X"), change(bet_delay_ms=5_000)])
def test_a_change_of_nothing_that_is_bet_on_keeps_the_version(what: OddsChange) -> None:
    after = applied(market(), what)
    assert after.odds_version == market().odds_version
    assert (after.priced_at, after.updated_at) == (what.occurred_at, AT)


def test_selections_that_a_change_does_not_name_stay_as_they_are_and_in_their_place() -> None:
    after = applied(market(), change(price(DRAW, 3_300)))
    assert [s.selection_id for s in after.selections] == [HOME, DRAW, AWAY]
    assert [s.odds_milli for s in after.selections] == [2_500, 3_300, 3_100]
    assert [s.name for s in after.selections] == ["Home", "Draw", "Away"]


def test_a_field_that_a_change_leaves_out_stays_as_it_is() -> None:
    before = market(status=MarketStatus.SUSPENDED, bet_delay_ms=5_000)
    after = applied(before, change(price(HOME, name="Hosts")))
    assert after.status is MarketStatus.SUSPENDED
    assert after.bet_delay_ms == 5_000
    assert after.selection(HOME) == Selection(HOME, "Hosts", 2_500)


@pytest.mark.parametrize("status", [MarketStatus.SETTLED, MarketStatus.VOID])
def test_a_decided_market_changes_no_more(status: MarketStatus) -> None:
    what = change(price(HOME, 9_000), status=MarketStatus.ACTIVE)
    assert apply_odds_change(market(status=status), what, AT) is None


def test_a_closed_market_opens_again_only_where_the_change_says_so() -> None:
    closed = market(status=MarketStatus.CLOSED)
    assert applied(closed, change(price(HOME, 9_000))).status is MarketStatus.CLOSED
    assert applied(closed, change(status=MarketStatus.ACTIVE)).status is MarketStatus.ACTIVE


def test_a_change_older_than_the_newest_changes_nothing() -> None:
    assert apply_odds_change(market(), change(price(HOME, 9_000), after_s=-1), AT) is None
    assert is_late(market(), NOON - SECOND)
    assert not is_late(market(), NOON)
    assert not is_late(market(priced_at=None), NOON - SECOND)


def test_two_changes_of_one_instant_both_stand() -> None:
    after = applied(market(), change(price(HOME, 9_000), after_s=0))
    assert applied(after, change(price(AWAY, 1_100), after_s=0)).odds_version == 9


def test_a_change_that_repeats_what_stands_makes_no_version_and_is_told_nobody() -> None:
    before = market()
    after = apply_odds_change(before, change(price(HOME, 2_500), after_s=0), AT)
    assert after is None
    later = applied(before, change(price(HOME, 2_500), after_s=5))
    assert later == replace(before, priced_at=NOON + 5 * SECOND)


def test_a_price_confirmed_later_is_not_undone_by_what_occurred_before_it() -> None:
    confirmed = applied(market(), change(price(HOME, 2_500), after_s=3))
    assert apply_odds_change(confirmed, change(price(HOME, 9_000), after_s=2), AT) is None


@pytest.mark.parametrize(
    ("market_status", "selection", "backable"),
    [
        (MarketStatus.ACTIVE, Selection(HOME, "Home", 2_500), True),
        (MarketStatus.SUSPENDED, Selection(HOME, "Home", 2_500), True),
        (MarketStatus.CLOSED, Selection(HOME, "Home", 2_500), False),
        (MarketStatus.SETTLED, Selection(HOME, "Home", 2_500), False),
        (MarketStatus.VOID, Selection(HOME, "Home", 2_500), False),
        (MarketStatus.ACTIVE, Selection(HOME, "Home", None), False),
        (MarketStatus.ACTIVE, Selection(HOME, "Home", 2_500, SelectionStatus.SUSPENDED), False),
        (MarketStatus.ACTIVE, Selection(HOME, "Home", 2_500, SelectionStatus.REMOVED), False),
    ],
)
def test_what_can_be_backed_once_its_market_is_active(
    market_status: MarketStatus, selection: Selection, backable: bool
) -> None:
    assert is_backable(market(status=market_status), selection) is backable
