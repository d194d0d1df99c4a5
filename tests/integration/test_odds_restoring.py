"""An authority that lost everything is rebuilt from the books; nothing can be bet on before it is priced anew."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis.asyncio as redis

from tests.integration.test_odds_recording import Scene, scene_of
from tests.samples import HOME
from tests.scene import HOME_WINS, PRICES, Stores, bet_on, open_player, placed, price
from tests.stream_scene import recording
from touchline.adapters.valkey import records
from touchline.core.errors import Outage
from touchline.core.ids import EventId, MarketId
from touchline.core.market import Market, MarketStatus, MarketStep

OPEN, SUSPENDED, CLOSED, SETTLED = (MarketId(name) for name in ("open", "suspended", "closed", "settled"))
PATIENCE_S = 20


@pytest_asyncio.fixture
async def scene(valkey_url: str, database_dsn: str) -> AsyncIterator[Scene]:
    """An authority and books, both empty."""
    async with scene_of(valkey_url, database_dsn) as made:
        yield made


async def offer(stores: Stores) -> None:
    """A market of every kind, of two events, the second made first by its name."""
    for name, event in ((OPEN, "z"), (SUSPENDED, "z"), (CLOSED, "a"), (SETTLED, "a")):
        for odds in (2_000, 2_100):
            await price(stores, {**PRICES, HOME: odds}, market_id=name, event_id=EventId(event))
    await stores.trading.step(SUSPENDED, MarketStep.SUSPEND)
    await stores.trading.step(CLOSED, MarketStep.CLOSE)
    await stores.trading.settle(SETTLED, HOME_WINS)


async def lose_everything(url: str) -> None:
    client = redis.from_url(url)
    await client.flushall()
    await client.aclose()


async def market_of(stores: Stores, name: MarketId) -> Market:
    market = await stores.markets.get(name)
    assert market is not None
    return market


async def test_a_first_start_begins_an_epoch_and_a_second_keeps_it(scene: Scene, valkey_url: str) -> None:
    await lose_everything(valkey_url)
    assert await scene.recorder.prepare()
    epoch = (await scene.stores.markets.changed_since(None))[0]
    assert not await scene.recorder.prepare()
    assert (await scene.stores.markets.changed_since(None))[0] == epoch


async def test_what_was_lost_comes_back_suspended_above_any_version_on_record(
    scene: Scene, valkey_url: str
) -> None:
    stores = scene.stores
    await offer(stores)
    await scene.record_all()
    cursor, _ = await stores.markets.changed_since(None)
    await scene.fetch(
        "INSERT INTO odds_history SELECT market_id, 7, selections, status, occurred_at, recorded_at"
        " FROM odds_history WHERE market_id = 'suspended' AND odds_version = 1"
    )
    events = await stores.markets.events(None)
    await lose_everything(valkey_url)
    assert await scene.recorder.prepare()
    found = {name: await market_of(stores, name) for name in (OPEN, SUSPENDED, CLOSED, SETTLED)}
    assert {name: (market.status, market.odds_version) for name, market in found.items()} == {
        OPEN: (MarketStatus.SUSPENDED, 3),
        SUSPENDED: (MarketStatus.SUSPENDED, 8),
        CLOSED: (MarketStatus.CLOSED, 4),
        SETTLED: (MarketStatus.SETTLED, 3),
    }
    assert {s.selection_id: s.odds_milli for s in found[OPEN].selections} == {**PRICES, HOME: 2_100}
    restored = await stores.markets.events(None)
    assert [event for event, _ in restored] == [event for event, _ in events]
    assert [[market.market_id for market in markets] for _, markets in restored] == [
        [market.market_id for market in markets] for _, markets in events
    ]
    now, board = await stores.markets.changed_since(cursor)
    assert now.split("-")[0] != cursor.split("-")[0]
    assert int(now.split("-")[1]) > int(cursor.split("-")[1])
    assert {market.market_id for market in board} == {OPEN, SUSPENDED, CLOSED}
    await scene.record_all()
    await scene.holds_all()
    priced = await price(stores, {HOME: 3_000}, market_id=OPEN, event_id=EventId("z"), status=MarketStatus.ACTIVE)
    assert (priced.status, priced.odds_version) == (MarketStatus.ACTIVE, 4)
    assert await scene.record_all() == 1
    await scene.holds_all()


async def test_a_version_that_was_bet_on_is_not_used_again(scene: Scene, valkey_url: str) -> None:
    books = scene.books
    market = await price(books, market_id=OPEN)
    await placed(books, bet_on(books, market, await open_player(books)))
    # As where the bet's writer knew a version that the authority's recorder never came to.
    await scene.fetch("UPDATE bets SET odds_version = 5")
    await lose_everything(valkey_url)
    assert await scene.recorder.prepare()
    assert (await market_of(scene.stores, OPEN)).odds_version == 6


async def test_books_that_another_architecture_went_on_with_win(scene: Scene) -> None:
    stores, books = scene.stores, scene.books
    await offer(stores)
    await price(stores, {HOME: 2_500}, market_id=OPEN, event_id=EventId("z"))  # waits to be recorded
    await scene.record_all()
    later = await price(stores, {HOME: 2_600}, market_id=SUSPENDED, event_id=EventId("z"))  # and this one
    await price(books, {HOME: 5_000}, market_id=OPEN, event_id=EventId("z"))
    ahead = await price(books, {HOME: 5_100}, market_id=OPEN, event_id=EventId("z"))
    assert ahead.odds_version == 5
    assert await scene.recorder.prepare()
    restored = await market_of(stores, OPEN)
    assert (restored.odds_version, restored.status) == (6, MarketStatus.SUSPENDED)
    assert {s.selection_id: s.odds_milli for s in restored.selections}[HOME] == 5_100
    assert (await market_of(stores, SUSPENDED)).odds_version == later.odds_version + 1
    await scene.record_all()
    await scene.holds_all()
    assert not await scene.recorder.prepare()


async def test_an_authority_that_is_ahead_of_its_books_stays(scene: Scene) -> None:
    await offer(scene.stores)
    await scene.record_all()
    market = await price(scene.stores, {HOME: 2_500}, market_id=OPEN, event_id=EventId("z"))
    assert not await scene.recorder.prepare()
    assert await market_of(scene.stores, OPEN) == market


async def test_several_that_prepare_at_once_rebuild_once(scene: Scene, valkey_url: str) -> None:
    await offer(scene.stores)
    await scene.record_all()
    await lose_everything(valkey_url)
    async with recording(scene.dsn, valkey_url) as second, recording(scene.dsn, valkey_url) as third:
        rebuilt = await asyncio.gather(*(one.prepare() for one in (scene.recorder, second, third)))
    assert sorted(map(bool, rebuilt)) == [False, False, True]
    assert (await market_of(scene.stores, OPEN)).odds_version == 3


async def test_more_than_a_page_comes_back(scene: Scene, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchline.adapters.postgres.odds_on_record.AT_ONCE_MAX", 2)
    for n in range(5):
        await price(scene.stores, market_id=MarketId(f"m{n}"), event_id=EventId(f"e{n}"))
    await scene.record_all()
    events = [event for event, _ in await scene.stores.markets.events(None)]
    await lose_everything(valkey_url)
    assert await scene.recorder.prepare()
    assert [event for event, _ in await scene.stores.markets.events(None)] == events
    assert len((await scene.stores.markets.changed_since(None))[1]) == 5


async def test_a_rebuilding_that_was_broken_off_is_done_anew(
    scene: Scene, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await offer(scene.stores)
    await scene.record_all()
    await lose_everything(valkey_url)
    half = redis.from_url(valkey_url)
    await half.set(records.market_key(MarketId("of nobody")), b"9 - {}")
    await half.zadd(records.UNDECIDED, {"of nobody": 9})
    await half.aclose()
    with pytest.raises(Outage):
        await scene.stores.markets.get(OPEN)
    assert await scene.recorder.prepare()
    scene.stores.markets._breaker.__exit__(None, None, None)  # type: ignore[attr-defined]  # ValkeyMarkets
    assert (await market_of(scene.stores, OPEN)).odds_version == 3
    assert len((await scene.stores.markets.changed_since(None))[1]) == 3


async def test_a_recorder_at_work_rebuilds_what_is_lost_under_it(scene: Scene, valkey_url: str) -> None:
    await offer(scene.stores)
    await scene.record_all()

    async def run() -> None:
        while True:
            try:
                await scene.recorder.run()
            except Outage:
                await asyncio.sleep(0)

    running = asyncio.create_task(run())
    await lose_everything(valkey_url)
    async with asyncio.timeout(PATIENCE_S):
        while (await scene.fetch("SELECT odds_version FROM odds WHERE market_id = 'open'"))[0][0] < 3:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
