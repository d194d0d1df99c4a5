"""Stores and steps that the suites of settlement share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import HOME_WINS, Stores, bet_on, open_player, placed, price
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.decisions import PostgresDecisions
from touchline.core.bet import Bet
from touchline.core.ids import EventId, MessageId, PlayerId
from touchline.core.settlement import Results, Settlement


@pytest.fixture(name="kind", params=["memory", "postgres", "decisions"])
def settling_kind(request: pytest.FixtureRequest) -> str:
    """The adapter; `decisions` is PostgreSQL, with the markets at an authority apart from the settlements."""
    return str(request.param)


@pytest_asyncio.fixture(name="stores", params=[1, 500], ids=["one by one", "in sets"])
async def settling_stores(stores: Stores, kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """Stores whose settlements are carried out up to so many bets a transaction."""
    made = replace(stores, bets_at_once=request.param)
    if kind != "decisions":
        yield made
        return
    async with decided_apart(made) as apart:
        yield apart


async def three_bets(stores: Stores) -> tuple[PlayerId, list[Bet]]:
    """Ann has 100000 less 1000 on each selection, one a second."""
    ann, market = await open_player(stores), await price(stores)
    return ann, [await placed(stores, bet_on(stores, market, ann, key)) for key in (HOME, DRAW, AWAY)]


async def settle(stores: Stores, results: Results = HOME_WINS) -> Settlement:
    await stores.trading.settle(MARKET, results)
    return (await stores.settlements.of_market(MARKET))[0]


async def feed_says(stores: Stores, kind: type, name: str, **more: object) -> bool:
    return await stores.feed.apply(
        kind(
            message_id=MessageId(name),
            occurred_at=stores.clock.now(),
            event_id=EventId("match-1"),
            market_id=MARKET,
            **more,
        )
    )


async def next_of(stores: Stores) -> Settlement:
    settlement = await stores.settlements.next_unfinished()
    assert settlement is not None
    return settlement


async def work_some(stores: Stores, bets: int) -> Settlement:
    """Carry out the oldest unfinished settlement on so many bets, and stop there, as a killed worker does."""
    settlement = await next_of(stores)
    for bet_id in await stores.settlements.open_bets(settlement, bets):
        assert (await stores.settlements.carry_out(settlement, [bet_id], stores.clock.now())).bets == 1
    return settlement


async def statuses(stores: Stores, player_id: PlayerId) -> list[str]:
    """A player's bets, the oldest first, as status and result."""
    page = await stores.bets.page(player_id, None, None, 100)
    return [f"{bet.status.value} {bet.result.value if bet.result else '-'}" for bet in reversed(page)]


@asynccontextmanager
async def decided_apart(stores: Stores) -> AsyncIterator[Stores]:
    """Yield stores in PostgreSQL whose settlements reach the markets through their authority alone."""
    assert stores.dsn is not None
    database = await Database.connect(stores.dsn)
    try:
        yield replace(stores, settlements=PostgresDecisions(database, stores.markets, stores.clock))
    finally:
        await database.close()


async def statuses_of_market(stores: Stores) -> list[str]:
    """What a market has been, but for the closing that precedes a decision where its authority is apart."""
    history = await stores.history(MARKET)
    assert [version for version, _ in history] == list(range(1, len(history) + 1))
    return [status for _, status in history if status != "closed"]
