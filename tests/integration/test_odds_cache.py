"""The odds cache on real servers: polls read it, and whatever happens to it no version goes back at any reader."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio as redis

from tests.clock import HandClock
from tests.samples import HOME, MARKET, SECOND
from tests.scene import HOME_WINS, Stores, odds_change, postgres_stores, price
from touchline.adapters.cached_odds import CachedMarkets, CachedSettlements
from touchline.adapters.postgres.database import Database
from touchline.adapters.valkey.odds import ValkeyOdds
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.ids import MarketId
from touchline.core.market import MarketStatus, MarketStep
from touchline.wire.odds_v1 import PolledMarketV1

HASH = f"odds:{MARKET}"
TIMEOUT_MS = 5_000


@pytest_asyncio.fixture
async def valkey(valkey_url: str) -> AsyncIterator[Any]:
    async with redis.from_url(valkey_url) as client:
        yield client


@pytest_asyncio.fixture
async def cache(valkey_url: str) -> AsyncIterator[ValkeyOdds]:
    cache = ValkeyOdds(valkey_url, TIMEOUT_MS)
    yield cache
    await cache.close()


@pytest_asyncio.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    database = await Database.connect(database_dsn, pool_size=10)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def plain(database_dsn: str) -> AsyncIterator[Stores]:
    """Stores that know no cache: their markets are the authority, and what changes there is not in the cache."""
    async with postgres_stores(database_dsn, HandClock()) as made:
        yield made


@pytest.fixture
def stores(plain: Stores, database: Database, cache: ValkeyOdds) -> Stores:
    """Stores whose polls read the cache."""
    return over_cache(plain, database, cache)


def over_cache(stores: Stores, database: Database, cache: ValkeyOdds) -> Stores:
    markets = CachedMarkets(database, stores.clock, cache)
    return replace(stores, markets=markets, settlements=CachedSettlements(database, markets, cache))


async def raise_version(stores: Stores) -> int:
    """Suspend or resume the market, and return its new version."""
    market = await stores.markets.get(MARKET)
    assert market is not None
    step = MarketStep.RESUME if market.status is MarketStatus.SUSPENDED else MarketStep.SUSPEND
    return (await stores.trading.step(MARKET, step)).odds_version


async def polled(stores: Stores) -> int:
    market = await stores.markets.poll(MARKET)
    assert market is not None
    return market.odds_version


async def test_polls_are_answered_by_the_cache_as_the_authority_would(
    stores: Stores, plain: Stores, cache: ValkeyOdds
) -> None:
    await price(stores)
    first = await stores.markets.poll(MARKET)
    held = await plain.markets.poll(MARKET)
    assert first is not None
    assert held is not None
    assert (first.odds_version, first.updated_at) == (held.odds_version, held.updated_at)
    await raise_version(plain)
    assert await stores.markets.poll(MARKET) == first  # changed past the cache: it is the cache that answers
    assert (cache.hits, cache.misses) == (2, 0)


async def test_a_market_that_is_not_there_is_not_there_in_the_cache_either(stores: Stores) -> None:
    assert await stores.markets.poll(MarketId("no such")) is None
    assert await stores.markets.poll(MarketId("no such")) is None


async def test_every_way_to_change_a_market_changes_it_in_the_cache(
    stores: Stores, plain: Stores, cache: ValkeyOdds
) -> None:
    async def seen_is_held(version: int) -> None:
        seen, held = await stores.markets.poll(MARKET), await plain.markets.poll(MARKET)
        assert seen is not None
        assert held is not None
        assert (seen.odds_version, seen.status, seen.name) == (version, held.status, held.name)

    await price(stores)
    await seen_is_held(1)
    await price(stores, {HOME: 2_200})
    await seen_is_held(2)
    assert isinstance(stores.clock, HandClock)
    stores.clock.move(SECOND)
    await stores.feed.apply(replace(odds_change(stores, {}), name="Winner"))  # no new version
    await seen_is_held(2)
    assert cache.misses == 1
    for version, step in ((3, MarketStep.SUSPEND), (4, MarketStep.RESUME)):
        await stores.trading.step(MARKET, step)
        await seen_is_held(version)
    await stores.trading.settle(MARKET, HOME_WINS)
    await seen_is_held(5)
    await stores.trading.roll_back(MARKET)
    await seen_is_held(6)
    await stores.trading.void(MARKET)
    await seen_is_held(7)
    assert cache.misses == 1


async def test_a_refused_change_leaves_the_cache_as_it_was(stores: Stores, cache: ValkeyOdds) -> None:
    await price(stores)
    await stores.trading.settle(MARKET, HOME_WINS)
    with pytest.raises(Rejection) as refused:
        await stores.trading.step(MARKET, MarketStep.SUSPEND)
    assert refused.value.code is Code.MARKET_CLOSED
    assert await polled(stores) == 2
    assert cache.misses == 0


async def test_what_a_slow_reader_read_before_a_change_never_fills_the_cache_after_it(
    stores: Stores, plain: Stores, cache: ValkeyOdds, valkey: Any
) -> None:
    await price(stores)
    await valkey.delete(HASH)

    async def slowly(market_id: MarketId) -> PolledMarketV1 | None:
        read = await plain.markets.poll(market_id)
        assert await raise_version(stores) == 2
        assert await polled(stores) == 2
        await valkey.delete(HASH)  # evicted, and with it all that could tell that the reader is late
        return read

    late = await cache.poll(MARKET, slowly)
    assert late is not None
    assert late.odds_version == 1
    assert await polled(stores) == 2


async def test_what_a_slow_reader_read_never_fills_the_cache_below_what_another_was_answered(
    stores: Stores, plain: Stores, cache: ValkeyOdds, valkey: Any
) -> None:
    await price(stores)
    await valkey.delete(HASH)

    async def slowly(market_id: MarketId) -> PolledMarketV1 | None:
        read = await plain.markets.poll(market_id)
        assert await raise_version(plain) == 2  # by a writer whose announcement was evicted
        assert await polled(stores) == 2
        return read

    late = await cache.poll(MARKET, slowly)
    assert late is not None
    assert late.odds_version == 1
    assert await polled(stores) == 2


async def test_a_slow_reader_does_not_fill_the_cache_in_the_place_of_a_later_one(
    stores: Stores, plain: Stores, cache: ValkeyOdds, valkey: Any
) -> None:
    await price(stores)
    await valkey.delete(HASH)
    has_read, may_go_on = asyncio.Event(), asyncio.Event()

    async def slowly(market_id: MarketId) -> PolledMarketV1 | None:
        read = await plain.markets.poll(market_id)
        has_read.set()
        await may_go_on.wait()
        return read

    async def meanwhile(market_id: MarketId) -> PolledMarketV1 | None:
        may_go_on.set()
        late = await slow
        assert late is not None
        assert late.odds_version == 1
        assert await polled(stores) == 2
        return await plain.markets.poll(market_id)

    slow = asyncio.create_task(cache.poll(MARKET, slowly))
    await has_read.wait()
    assert await raise_version(stores) == 2
    assert await polled(stores) == 2
    await valkey.delete(HASH)
    await cache.poll(MARKET, meanwhile)


async def test_what_a_slow_writer_committed_before_another_never_fills_the_cache_after_him(
    stores: Stores, plain: Stores, cache: ValkeyOdds, valkey: Any
) -> None:
    await price(stores)
    async with cache.changing(MARKET) as keep:
        assert await raise_version(plain) == 2
        second = await plain.markets.get(MARKET)
        assert second is not None
        await valkey.delete(HASH)
        assert await raise_version(stores) == 3
        assert await polled(stores) == 3
        await valkey.delete(HASH)
        keep(second)
    assert await polled(stores) == 3


async def test_of_two_changes_under_way_the_later_is_shown_whichever_is_kept_last(
    stores: Stores, plain: Stores, cache: ValkeyOdds
) -> None:
    await price(stores)
    async with cache.changing(MARKET) as keep_first:
        async with cache.changing(MARKET) as keep_second:
            await raise_version(plain)
            second = await plain.markets.get(MARKET)
            assert second is not None
            await raise_version(plain)
            third = await plain.markets.get(MARKET)
            assert third is not None
            assert await polled(stores) == 3  # while one is under way the authority is asked
            keep_second(third)
        assert await polled(stores) == 3
        keep_first(second)
    misses = cache.misses
    assert await polled(stores) == 3
    assert cache.misses == misses


@pytest.mark.parametrize("how", [Outage("PostgreSQL"), asyncio.CancelledError()], ids=["outage", "cut off"])
async def test_after_a_writer_who_died_between_commit_and_cache_polls_see_what_he_committed(
    plain: Stores, database: Database, valkey_url: str, how: BaseException
) -> None:
    cache = ValkeyOdds(valkey_url, TIMEOUT_MS, change_ms=300)
    stores = over_cache(plain, database, cache)
    await price(stores)
    assert await polled(stores) == 1
    with contextlib.suppress(type(how)):
        async with cache.changing(MARKET):
            await raise_version(plain)
            raise how
    hits = cache.hits
    assert await polled(stores) == 2
    assert cache.hits == hits
    async with asyncio.timeout(10):  # then he counts as dead, and the cache is filled from the authority
        while cache.hits == hits:
            assert await polled(stores) == 2
    await cache.close()


async def test_what_was_not_written_anew_is_read_anew(plain: Stores, database: Database, valkey_url: str) -> None:
    cache = ValkeyOdds(valkey_url, TIMEOUT_MS, kept_ms=300)
    stores = over_cache(plain, database, cache)
    await price(stores)
    assert await polled(stores) == 1
    await raise_version(plain)  # by a writer who could not reach the cache
    async with asyncio.timeout(10):
        while await polled(stores) != 2:
            pass
    await cache.close()


async def test_without_the_cache_polls_and_changes_go_on(plain: Stores, database: Database) -> None:
    gone = ValkeyOdds("redis://127.0.0.1:1/0", TIMEOUT_MS)
    alone = over_cache(plain, database, gone)
    await price(alone)
    assert await polled(alone) == 1
    assert await raise_version(alone) == 2
    assert await polled(alone) == 2
    await gone.close()


WRITERS, READERS, CHANGES = 3, 6, 150


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_reader_ever_sees_a_version_go_back(
    plain: Stores, database: Database, valkey_url: str, valkey: Any, seed: int
) -> None:
    """Writers, some of whom die at work, readers with caches of their own, and evictions at any moment."""
    chance = random.Random(seed)
    caches = [ValkeyOdds(valkey_url, TIMEOUT_MS, kept_ms=200, lease_ms=50, change_ms=1_000) for _ in range(4)]
    owners = [over_cache(plain, database, cache) for cache in caches]
    newest_seen = (await price(plain)).odds_version
    done = asyncio.Event()

    async def write(own: Stores, cache: ValkeyOdds) -> None:
        for _ in range(CHANGES):
            try:
                if chance.random() < 0.02:
                    async with cache.changing(MARKET):
                        await raise_version(plain)
                        raise Outage("PostgreSQL")
                await raise_version(own)
            except Outage:
                continue
            await asyncio.sleep(chance.random() / 200)

    async def read(own: Stores) -> None:
        nonlocal newest_seen
        while not done.is_set():
            floor = newest_seen
            version = await polled(own)
            assert version >= floor
            newest_seen = max(newest_seen, version)
            await asyncio.sleep(chance.random() / 1_000)

    async def evict() -> None:
        while not done.is_set():
            await valkey.delete(HASH)
            await asyncio.sleep(chance.random() / 100)

    async with asyncio.TaskGroup() as group:
        for number in range(READERS):
            group.create_task(read(owners[number % len(owners)]))
        group.create_task(evict())
        await asyncio.wait([group.create_task(write(owners[n], caches[n])) for n in range(WRITERS)])
        done.set()
    market = await plain.markets.get(MARKET)
    assert market is not None
    assert await polled(owners[0]) == market.odds_version
    assert sum(cache.hits for cache in caches) > 100
    assert sum(cache.misses for cache in caches) > 100
    for cache in caches:
        await cache.close()
