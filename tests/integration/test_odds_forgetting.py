"""Decided markets leave the authority for the books: they are still read, taken back, and never a version back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
import pytest_asyncio
import redis.asyncio as redis

from tests.clock import HandClock
from tests.samples import EVENT, HOME
from tests.scene import AWAY_WINS, HOME_WINS, Stores, balance_of, bet_on, open_player, place, placed, price
from tests.settling_scene import Scene, at_work, settling_scene
from tests.stream_scene import TIMEOUT_MS, recording
from touchline.adapters.board_markets import BoardMarkets
from touchline.adapters.odds_forgetting import OddsForgetting
from touchline.adapters.odds_restoring import OddsRestoring
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.valkey import records
from touchline.adapters.valkey.history import ValkeyHistory
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.adapters.valkey.refill import ValkeyRefill
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.core.delivery import DECIDED_KEPT, Board
from touchline.core.errors import Code, Fault, Outage, Rejection
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId, PlayerId
from touchline.core.market import Market, MarketStatus
from touchline.flows.serve_board import BoardServing
from touchline.ports import Placed

OLD, OPEN, NEW = MarketId("old"), MarketId("open"), MarketId("new")
LATER = DECIDED_KEPT + timedelta(seconds=1)


@dataclass(frozen=True)
class Forgetful:
    """A platform, the hand of its clock, and what relieves its authority."""

    scene: Scene
    clock: HandClock
    refill: ValkeyRefill
    forgetting: OddsForgetting

    @property
    def stores(self) -> Stores:
        return self.scene.stores

    @property
    def markets(self) -> ValkeyMarkets:
        assert isinstance(self.stores.markets, ValkeyMarkets)
        return self.stores.markets

    async def record(self) -> None:
        async with recording(str(self.stores.dsn), self.scene.valkey_url) as recorder:
            while await recorder.record_next():
                pass

    async def is_held(self, market_id: MarketId) -> bool:
        return await self.markets._call("EXISTS", records.market_key(market_id)) == 1


@pytest_asyncio.fixture
async def world(database_dsn: str, valkey_url: str) -> AsyncIterator[Forgetful]:
    """A player won on a market that was decided a while ago; another can be bet on."""
    clock = HandClock()
    database = await Database.connect(database_dsn)
    refill = ValkeyRefill(valkey_url, TIMEOUT_MS)
    books = PostgresMarkets(database, clock).get
    async with settling_scene(database_dsn, valkey_url, clock=clock, books=books) as scene:
        made = Forgetful(scene, clock, refill, OddsForgetting(database, refill, clock))
        ann, market = await open_player(scene.stores), await price(scene.stores, market_id=OLD)
        await placed(scene.stores, bet_on(scene.stores, market, ann, HOME, 1_000, "k"))
        await price(scene.stores, market_id=OPEN)
        await scene.stores.trading.settle(OLD, HOME_WINS)
        async with at_work(scene.settlement):
            await scene.until_worked()
            yield made
    await refill.close()
    await database.close()


async def forgotten(world: Forgetful) -> None:
    """Have the market leave the authority."""
    await world.record()
    world.clock.move(LATER)
    assert await world.forgetting.forget_next() == 1
    assert not await world.is_held(OLD)


async def test_it_leaves_after_a_while_once_the_books_have_it(world: Forgetful) -> None:
    assert await world.forgetting.forget_next() == 0  # too early
    world.clock.move(LATER)
    assert await world.forgetting.forget_next() == 0  # the books do not have it as it is
    await world.record()
    world.clock.move(-timedelta(seconds=2))
    assert await world.forgetting.forget_next() == 0
    world.clock.move(timedelta(seconds=2))
    assert await world.forgetting.forget_next() == 1
    assert await world.forgetting.forget_next() == 0
    assert (await world.is_held(OLD), await world.is_held(OPEN)) == (False, True)


async def test_it_is_still_read_as_it_was_settled(world: Forgetful) -> None:
    before = await world.markets.get(OLD), await world.markets.poll(OLD)
    await forgotten(world)
    assert (await world.markets.get(OLD), await world.markets.poll(OLD)) == before
    assert await world.markets.get(MarketId("never")) is None
    assert await world.markets.poll(MarketId("never")) is None


async def test_a_rollback_brings_it_back_at_the_next_version_and_the_bet_is_settled_anew(world: Forgetful) -> None:
    old = await world.markets.get(OLD)
    assert old is not None
    await forgotten(world)
    await world.stores.trading.roll_back(OLD)
    await world.scene.until_worked()
    back = await world.markets.get(OLD)
    assert back is not None
    assert (back.status, back.odds_version) == (MarketStatus.SUSPENDED, old.odds_version + 1)
    assert await world.is_held(OLD)
    await world.stores.trading.settle(OLD, AWAY_WINS)
    await world.scene.until_worked()
    assert await balance_of(world.stores, PlayerId("ann")) == 99_000
    assert await world.scene.discrepancies() == []
    versions = [version for version, _ in await world.stores.history(OLD)]
    assert versions == list(range(1, len(versions) + 1))
    await forgotten(world)


async def test_a_bet_on_it_comes_too_late_and_one_from_before_is_still_answered(world: Forgetful) -> None:
    market = await world.markets.get(OLD)
    assert market is not None
    await forgotten(world)
    late = bet_on(world.stores, market, PlayerId("ann"), HOME, 1_000, "late")
    answer = await place(world.stores, late)
    assert isinstance(answer, Rejection)
    assert answer.code is Code.MARKET_CLOSED
    again = await place(world.stores, replace(late, odds_version=1, idempotency_key="k"))
    assert isinstance(again, Placed)
    assert again.bet.bet_id != late.bet_id
    offered = await world.markets.offered([OLD, OPEN, MarketId("never")])
    assert sorted(offered.markets) == [OLD, OPEN]


async def test_bets_on_it_ask_the_authority_once_what_it_holds_and_what_it_has_left(world: Forgetful) -> None:
    await forgotten(world)
    client = redis.from_url(world.scene.valkey_url)
    await client.config_resetstat()
    assert sorted((await world.markets.offered([OPEN, OLD])).markets) == [OLD, OPEN]
    asked = await client.info("commandstats")
    await client.aclose()
    of_names = {name: told["calls"] for name, told in asked.items() if name.endswith("ismember")}
    assert of_names == {"cmdstat_sismember": 1}
    assert asked["cmdstat_evalsha"]["calls"] == 1


async def test_a_late_word_of_the_feed_changes_nothing(world: Forgetful) -> None:
    await forgotten(world)
    before = await world.markets.get(OLD)
    assert await price(world.stores, {HOME: 9_000}, market_id=OLD) == before
    assert not await world.is_held(OLD)


async def test_what_changes_while_it_is_looked_at_stays(world: Forgetful) -> None:
    await world.record()
    world.clock.move(LATER)
    seen = await world.refill.oldest_decided(10)
    assert len(seen) == 1
    await world.stores.trading.roll_back(OLD)
    assert await world.refill.forget(seen) == 0
    assert await world.is_held(OLD)


async def test_so_many_leave_at_once_the_oldest_first(world: Forgetful, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchline.adapters.odds_forgetting.FORGOTTEN_AT_ONCE_MAX", 1)
    await price(world.stores, market_id=NEW)
    await world.stores.trading.void(NEW)
    await world.record()
    world.clock.move(LATER)
    assert await world.forgetting.forget_next() == 1
    assert (await world.is_held(OLD), await world.is_held(NEW)) == (False, True)
    assert await world.forgetting.forget_next() == 1
    assert not await world.is_held(NEW)


async def test_while_the_books_are_away_other_markets_are_priced_and_it_is_an_outage(world: Forgetful) -> None:
    await forgotten(world)

    async def away(_market_id: MarketId) -> None:
        raise Outage("PostgreSQL")

    world.markets._books = away
    assert (await price(world.stores, market_id=NEW)).odds_version == 1
    assert await world.markets.get(MarketId("never")) is None
    with pytest.raises(Outage):
        await world.markets.poll(OLD)
    with pytest.raises(Outage):
        await price(world.stores, {HOME: 9_000}, market_id=OLD)
    assert not await world.is_held(OLD)


async def test_a_board_drops_it_too_and_polls_are_answered_all_the_same(world: Forgetful) -> None:
    board, stream = Board(), ValkeyOddsStream(world.scene.valkey_url, TIMEOUT_MS)
    markets = BoardMarkets(board, stream, world.markets, world.clock)
    following = asyncio.create_task(markets.follow())
    try:
        async with asyncio.timeout(20):
            while board.market(OLD) is None:
                await asyncio.sleep(0)
            answer = await markets.poll_body(OLD)
            await forgotten(world)
            while board.market(OLD) is not None:
                await asyncio.sleep(0.01)
            assert board.market(OPEN) is not None
            assert await markets.poll_body(OLD) == answer
            await world.stores.trading.roll_back(OLD)
            while (back := board.market(OLD)) is None:
                await asyncio.sleep(0)
            assert back.odds_version == 4
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await stream.close()


@pytest.mark.parametrize("status", [EventStatus.SCHEDULED, EventStatus.LIVE, EventStatus.ENDED])
async def test_its_event_is_shown_with_it_and_the_books_are_read_once_for_many_polls(
    world: Forgetful, monkeypatch: pytest.MonkeyPatch, status: EventStatus
) -> None:
    serving, reads = serving_with_books(world, monkeypatch)
    old = await world.markets.get(OLD)
    await world.markets.change_event(EVENT, lambda event: replace(event, status=status))
    for _ in range(3):
        assert of_event(await serving.event(EVENT)) == [OLD, OPEN]
    assert reads == [EVENT]
    await forgotten(world)
    for shown in await asyncio.gather(*(serving.event(EVENT) for _ in range(3))):
        assert of_event(shown) == [OLD, OPEN]
        assert old in shown[1]
    assert reads == [EVENT, EVENT]
    await world.stores.trading.void(OPEN)  # what is at hand is later than what is on record
    await world.stores.trading.roll_back(OLD)
    assert [market.status.value for market in (await serving.event(EVENT))[1]] == ["suspended", "void"]
    assert reads == [EVENT, EVENT]
    monkeypatch.setattr("touchline.flows.serve_board.LEFT_GOOD_S", 0.0)
    serving, reads = serving_with_books(world, monkeypatch)
    for _ in range(3):
        await serving.event(EVENT)
    assert reads == [EVENT, EVENT, EVENT]


async def test_while_the_books_are_away_its_event_is_shown_as_far_as_it_is_known(
    world: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> None:
    await forgotten(world)
    monkeypatch.setattr("touchline.flows.serve_board.LEFT_GOOD_S", 0.0)
    serving, _ = serving_with_books(world, monkeypatch)
    assert of_event(await serving.event(EVENT)) == [OLD, OPEN]
    monkeypatch.setattr("touchline.flows.serve_board.BOOKS_WAIT_S", 0.01)

    async def away(_books: PostgresMarkets, _event_id: EventId) -> None:
        raise Outage("PostgreSQL")

    async def frozen(_books: PostgresMarkets, _event_id: EventId) -> None:
        await asyncio.Event().wait()

    for books_event in (away, frozen):
        new, _ = serving_with_books(world, monkeypatch)
        monkeypatch.setattr(PostgresMarkets, "event", books_event)
        assert of_event(await serving.event(EVENT)) == [OLD, OPEN]
        assert of_event(await new.event(EVENT)) == [OPEN]


async def test_a_fault_of_the_books_is_told_and_not_kept(
    world: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> None:
    await forgotten(world)
    serving, _ = serving_with_books(world, monkeypatch)

    async def broken(_books: PostgresMarkets, _event_id: EventId) -> None:
        raise Fault("the books are broken")

    with monkeypatch.context() as for_once:
        for_once.setattr(PostgresMarkets, "event", broken)
        with pytest.raises(Fault):
            await serving.event(EVENT)
    assert of_event(await serving.event(EVENT)) == [OLD, OPEN]


async def test_who_goes_while_the_books_are_read_takes_nobody_with_him(
    world: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> None:
    await forgotten(world)
    serving, reads = serving_with_books(world, monkeypatch)
    goes = asyncio.create_task(serving.event(EVENT))
    stays = asyncio.create_task(serving.event(EVENT))
    while not reads:
        await asyncio.sleep(0)
    goes.cancel()
    assert of_event(await stays) == [OLD, OPEN]
    assert reads == [EVENT]


async def test_what_the_books_have_is_kept_of_so_many_events(
    world: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("touchline.flows.serve_board.LEFT_KEPT_MAX", 1)
    await price(world.stores, market_id=NEW, event_id=EventId("other"))
    serving, reads = serving_with_books(world, monkeypatch)
    for event_id in (EVENT, EVENT, EventId("other"), EVENT):
        await serving.event(event_id)
    assert reads == [EVENT, EventId("other"), EVENT]


def serving_with_books(
    world: Forgetful, monkeypatch: pytest.MonkeyPatch
) -> tuple[BoardServing, list[EventId]]:
    """Return what serves events, past a board that nothing follows, and those that the books were asked for."""
    reads, stream = list[EventId](), ValkeyOddsStream(world.scene.valkey_url, TIMEOUT_MS)
    markets, books = BoardMarkets(Board(), stream, world.markets, world.clock), PostgresMarkets
    read = books.event

    async def counted(store: PostgresMarkets, event_id: EventId) -> tuple[Event, list[Market]] | None:
        reads.append(event_id)
        return await read(store, event_id)

    monkeypatch.setattr(books, "event", counted)
    return BoardServing(markets, markets, books(world.forgetting.database, world.clock)), reads


def of_event(shown: tuple[Event, list[Market]]) -> list[MarketId]:
    return [market.market_id for market in shown[1]]


async def test_a_start_finds_nothing_lost_and_what_is_lost_comes_back_without_it(world: Forgetful) -> None:
    await forgotten(world)
    history = ValkeyHistory(world.scene.valkey_url, TIMEOUT_MS)
    restoring = OddsRestoring(world.forgetting.database, world.refill, history, world.clock)
    before = await world.markets.get(OLD)
    assert not await restoring.prepare()
    client = redis.from_url(world.scene.valkey_url)
    await client.flushall()
    await client.aclose()
    assert await restoring.prepare()
    assert (await world.is_held(OLD), await world.is_held(OPEN)) == (False, True)
    assert await world.markets.get(OLD) == before
    await history.close()
