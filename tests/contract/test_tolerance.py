"""Bets on a version that has passed, honoured within the tolerance: at which price, and that the books agree."""

from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction

import pytest
import pytest_asyncio

from tests.ledger_scene import stores_over
from tests.samples import DRAW, HOME
from tests.scene import (
    HOME_WINS,
    RULES,
    Stores,
    balance_of,
    bet_on,
    open_player,
    place,
    placed,
    price,
    work_all,
)
from touchline.core.bet import Accept
from touchline.core.errors import Code, Rejection
from touchline.core.market import MarketStatus

TOLERANT = replace(RULES, odds_tolerance_pct=Fraction(1))


@pytest_asyncio.fixture
async def stores(kind: str, dsn: str | None) -> AsyncIterator[Stores]:
    """A platform's stores that honour a price that has moved by 1 %."""
    async with stores_over(kind, dsn, TOLERANT) as made:
        yield made


async def test_a_bet_within_the_tolerance_is_honoured_and_paid_at_the_price_asked_for(stores: Stores) -> None:
    ann, seen = await open_player(stores), await price(stores, {HOME: 2_000, DRAW: 3_000})
    await price(stores, {HOME: 1_980})
    bet = await placed(stores, bet_on(stores, seen, ann, key="k"))
    assert (bet.odds_milli, bet.odds_version) == (2_000, 1)
    assert await stores.bets.by_key(ann, "k") == bet
    [exposure] = await stores.bets.exposures()
    assert exposure.liability_minor == bet.liability_minor == 1_000
    assert await stores.books.discrepancies() == []
    await stores.trading.settle(seen.market_id, {key: HOME_WINS[key] for key in (HOME, DRAW)})
    await work_all(stores)
    assert await balance_of(stores, ann) == 101_000
    assert await stores.books.discrepancies() == []


@pytest.mark.parametrize(
    ("current", "accept", "taken"),
    [
        (1_980, Accept.NONE, (2_000, 1)),
        (2_020, Accept.NONE, (2_000, 1)),
        (2_020, Accept.BETTER, (2_020, 2)),
        (1_980, Accept.ANY, (2_000, 1)),
        (1_979, Accept.ANY, (1_979, 2)),
    ],
)
async def test_the_price_is_the_better_of_those_that_the_bettor_takes(
    stores: Stores, current: int, accept: Accept, taken: tuple[int, int]
) -> None:
    ann, seen = await open_player(stores), await price(stores)
    await price(stores, {HOME: current})
    bet = await placed(stores, bet_on(stores, seen, ann, accept=accept))
    assert (bet.odds_milli, bet.odds_version) == taken
    assert (bet.requested_odds_milli, bet.requested_odds_version) == (2_000, 1)
    assert await stores.books.discrepancies() == []


async def test_another_selections_change_is_none_of_the_bets(stores: Stores) -> None:
    ann, seen = await open_player(stores), await price(stores)
    await price(stores, {DRAW: 3_500})
    bet = await placed(stores, bet_on(stores, seen, ann))
    assert (bet.odds_milli, bet.odds_version) == (2_000, 2)


@pytest.mark.parametrize(
    ("at_version_1", "asked"),
    [
        ({}, 2_010),  # never offered
        ({"status": MarketStatus.SUSPENDED}, 2_000),  # shown, and not to be bet on
    ],
)
async def test_a_price_that_could_not_be_bet_on_at_its_version_is_not_honoured(
    stores: Stores, at_version_1: dict[str, MarketStatus], asked: int
) -> None:
    ann, seen = await open_player(stores), await price(stores, **at_version_1)
    await price(stores, {HOME: 1_995}, status=MarketStatus.ACTIVE)
    answer = await place(stores, replace(bet_on(stores, seen, ann), odds_milli=asked))
    assert isinstance(answer, Rejection)
    assert answer.code is Code.ODDS_CHANGED


async def test_a_price_beyond_the_tolerance_or_of_a_version_to_come_is_not_honoured(stores: Stores) -> None:
    ann, seen = await open_player(stores), await price(stores)
    await price(stores, {HOME: 1_979})
    for request in (
        bet_on(stores, seen, ann),
        replace(bet_on(stores, seen, ann), odds_milli=1_980, odds_version=9),
    ):
        answer = await place(stores, request)
        assert isinstance(answer, Rejection)
        assert answer.extra == {"current_odds": "1.979", "current_odds_version": 2}
