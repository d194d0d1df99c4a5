"""The `MarketStore` contract, on memory, on PostgreSQL, on Valkey, and on a board that follows Valkey."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial

import msgspec
import pytest
import pytest_asyncio

from tests.clock import NOON
from tests.samples import AWAY, EVENT, HOME, MARKET
from tests.scene import (
    HOME_WINS,
    PRICES,
    Stores,
    memory_stores,
    odds_change,
    postgres_stores,
    price,
    superuser,
)
from tests.stream_scene import board_markets, stream_markets
from touchline.adapters.postgres.markets import CHANGES_MAX
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId, MessageId, SelectionId
from touchline.core.market import Market, MarketStatus, MarketStep
from touchline.core.odds import apply_odds_change
from touchline.ports import EVENTS_MAX
from touchline.wire.odds_v1 import MarketV1, market_to_wire

MESSAGE = MessageId("message-1")


@pytest.fixture(params=["memory", "postgres", "valkey", "board"])
def address(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What the markets are kept in, and its address."""
    if request.param == "memory":
        return request.param, ""
    fixture = "database_dsn" if request.param == "postgres" else "valkey_url"
    return request.param, request.getfixturevalue(fixture)


@pytest_asyncio.fixture
async def stores(address: tuple[str, str]) -> AsyncIterator[Stores]:
    """A platform's stores, empty."""
    kind, url = address
    if kind == "memory":
        yield memory_stores()
        return
    over = {"postgres": postgres_stores, "valkey": stream_markets, "board": board_markets}
    async with over[kind](url) as made:
        yield made


def event_of(name: str, status: EventStatus = EventStatus.LIVE, starts_in_h: int | None = None) -> Event:
    start = None if starts_in_h is None else NOON + timedelta(hours=starts_in_h)
    return Event(EventId(name), name, "football", "cup", status, start, "0-0", "12:00")


def become(event: Event, _: Event | None) -> Event:
    return event


def known(market: Market | None) -> Market:
    assert market is not None
    return market


async def names_of(stores: Stores, status: str | None = None) -> list[str]:
    return [event.name for event, _ in await stores.markets.events(status)]


async def test_what_is_not_known_is_none(stores: Stores) -> None:
    assert await stores.markets.get(MARKET) is None
    assert await stores.markets.poll(MARKET) is None
    assert await stores.markets.event(EVENT) is None
    assert await stores.markets.events(None) == []


async def test_a_new_market_comes_with_its_event_at_version_one(stores: Stores) -> None:
    market = await price(stores)
    assert (market.odds_version, market.status) == (1, MarketStatus.ACTIVE)
    assert {s.selection_id: s.odds_milli for s in market.selections} == PRICES
    found = await stores.markets.event(EVENT)
    assert found is not None
    event, markets = found
    assert (event.name, event.status, event.sport) == (EVENT, EventStatus.SCHEDULED, "unknown")
    assert markets == [market]


async def test_a_market_reads_back_as_it_was_written(stores: Stores) -> None:
    change = odds_change(stores, {HOME: 1_005, AWAY: 10_000_000, SelectionId("später"): 1_010})
    written = await stores.markets.change_market(
        MARKET, EVENT, lambda market: apply_odds_change(market, change, stores.clock.now())
    )
    assert written is not None
    assert await stores.markets.get(MARKET) == written


async def test_each_change_raises_the_version_by_one_and_is_kept(stores: Stores) -> None:
    for odds in (2_000, 2_010, 2_020):
        await price(stores, {HOME: odds})
    market = await stores.trading.step(MARKET, MarketStep.SUSPEND)
    assert market.odds_version == 4
    assert await stores.history(MARKET) == [(1, "active"), (2, "active"), (3, "active"), (4, "suspended")]


async def test_a_change_of_nothing_writes_nothing(stores: Stores) -> None:
    before = await price(stores)
    assert await stores.markets.change_market(MARKET, None, known) == before
    assert await stores.history(MARKET) == [(1, "active")]


async def test_a_new_name_keeps_the_version_and_is_told(stores: Stores) -> None:
    await price(stores)
    cursor, _ = await stores.markets.changed_since(None)
    renamed = await stores.markets.change_market(
        MARKET, None, lambda market: replace(known(market), name="Match result")
    )
    assert renamed is not None
    assert (renamed.name, renamed.odds_version) == ("Match result", 1)
    assert await stores.history(MARKET) == [(1, "active")]
    assert (await stores.markets.changed_since(cursor))[1] == [renamed]


async def test_a_message_is_applied_once(stores: Stores) -> None:
    assert not await stores.markets.is_applied(MESSAGE)
    first = await stores.markets.change_market(MARKET, EVENT, lambda _: market_v(1), MESSAGE)
    assert first == market_v(1)
    assert await stores.markets.is_applied(MESSAGE)
    assert await stores.markets.change_market(MARKET, EVENT, lambda _: market_v(2), MESSAGE) is None
    assert await stores.markets.get(MARKET) == market_v(1)


async def test_a_message_that_changes_nothing_is_on_record_too(stores: Stores) -> None:
    assert await stores.markets.change_market(MARKET, EVENT, lambda _: None, MESSAGE) is None
    assert await stores.markets.is_applied(MESSAGE)
    assert await stores.markets.event(EVENT) is None


async def test_a_change_that_is_refused_leaves_no_trace(stores: Stores) -> None:
    def refuse(_: Market | None) -> Market:
        raise Rejection(Code.MARKET_CLOSED, "no")

    with pytest.raises(Rejection):
        await stores.markets.change_market(MARKET, EVENT, refuse, MESSAGE)
    assert not await stores.markets.is_applied(MESSAGE)
    assert await stores.markets.event(EVENT) is None


async def test_a_market_of_no_event_is_a_fault(stores: Stores) -> None:
    with pytest.raises(Fault):
        await stores.markets.change_market(MARKET, None, lambda _: market_v(1))
    assert await stores.markets.get(MARKET) is None


async def test_a_message_can_be_put_on_record_twice(stores: Stores) -> None:
    await stores.markets.record_message(MESSAGE, NOON)
    await stores.markets.record_message(MESSAGE, NOON)
    assert await stores.markets.is_applied(MESSAGE)


async def test_a_poll_shows_what_the_market_is(stores: Stores) -> None:
    market = await price(stores)
    polled = await stores.markets.poll(MARKET)
    read = msgspec.json.decode(msgspec.json.encode(polled), type=MarketV1)
    assert read == market_to_wire(market)


async def test_an_event_reads_back_and_changes_only_where_it_does(stores: Stores) -> None:
    event = event_of("final", starts_in_h=1)
    assert await stores.markets.change_event(event.event_id, lambda _: event)
    assert await stores.markets.event(event.event_id) == (event, [])
    assert not await stores.markets.change_event(event.event_id, lambda _: event)
    ended = replace(event, status=EventStatus.ENDED, score="2-1", clock=None)
    assert await stores.markets.change_event(event.event_id, lambda _: ended, MESSAGE)
    assert not await stores.markets.change_event(event.event_id, lambda _: event, MESSAGE)
    assert await stores.markets.event(event.event_id) == (ended, [])


async def test_events_come_by_start_and_by_status(stores: Stores) -> None:
    for event in (
        event_of("late", starts_in_h=9),
        event_of("unset"),
        event_of("early", EventStatus.ENDED, starts_in_h=-2),
        event_of("soon", starts_in_h=1),
    ):
        await stores.markets.change_event(event.event_id, partial(become, event))
    assert await names_of(stores) == ["early", "soon", "late", "unset"]
    assert await names_of(stores, "live") == ["soon", "late", "unset"]
    assert await names_of(stores, "ended") == ["early"]


async def test_of_too_many_events_the_newest_come(stores: Stores) -> None:
    for n in range(EVENTS_MAX + 2):
        event = event_of(f"e{n:04}", starts_in_h=-n)
        await stores.markets.change_event(event.event_id, partial(become, event))
    names = await names_of(stores)
    assert names == [f"e{n:04}" for n in reversed(range(2, EVENTS_MAX + 2))]


async def test_markets_come_with_their_own_event(stores: Stores) -> None:
    for event in ("one", "two"):
        for market in ("b", "a"):
            await price(stores, market_id=MarketId(f"{event}:{market}"), event_id=EventId(event))
    found = {
        event.event_id: [m.market_id for m in markets] for event, markets in await stores.markets.events(None)
    }
    assert found == {"one": ["one:a", "one:b"], "two": ["two:a", "two:b"]}


async def test_the_board_shows_what_can_still_be_decided(stores: Stores) -> None:
    for n in range(3):
        await price(stores, market_id=MarketId(f"m{n}"))
    await stores.trading.settle(MarketId("m0"), HOME_WINS)
    await stores.trading.void(MarketId("m1"))
    _, board = await stores.markets.changed_since(None)
    assert [market.market_id for market in board] == ["m2"]


async def test_a_cursor_tells_what_changed_after_it(stores: Stores) -> None:
    for n in range(3):
        await price(stores, market_id=MarketId(f"m{n}"))
    cursor, _ = await stores.markets.changed_since(None)
    again, changed = await stores.markets.changed_since(cursor)
    assert changed == []
    await stores.trading.settle(MarketId("m1"), HOME_WINS)
    await price(stores, {HOME: 1_500}, market_id=MarketId("m0"))
    for known_cursor in (cursor, again):
        after, changed = await stores.markets.changed_since(known_cursor)
        assert [(m.market_id, m.odds_version) for m in changed] == [("m1", 2), ("m0", 2)]
    assert (await stores.markets.changed_since(after))[1] == []


@pytest.mark.parametrize("cursor", ["", "7", "x-1", "0" * 32 + "-", "0" * 32 + "--1", "0" * 32 + "-1 "])
async def test_a_cursor_that_is_none_of_ours_is_malformed(stores: Stores, cursor: str) -> None:
    with pytest.raises(Rejection) as refused:
        await stores.markets.changed_since(cursor)
    assert refused.value.code is Code.MALFORMED


@pytest.mark.parametrize("cursor", ["f" * 32 + "-1", "f" * 32 + "-" + "9" * 19])
async def test_a_cursor_of_other_books_begins_anew(stores: Stores, cursor: str) -> None:
    market = await price(stores)
    after, board = await stores.markets.changed_since(cursor)
    assert board == [market]
    assert (await stores.markets.changed_since(after))[1] == []


async def test_a_cursor_beyond_any_of_ours_is_answered(stores: Stores) -> None:
    cursor, _ = await stores.markets.changed_since(None)
    beyond = cursor.split("-")[0] + "-" + "9" * 19
    after, changed = await stores.markets.changed_since(beyond)
    assert changed == []
    assert int(after.split("-")[1]) <= int(cursor.split("-")[1]) + 1


async def test_changes_at_once_follow_one_another(stores: Stores) -> None:
    await price(stores)

    def raise_odds(market: Market | None) -> Market:
        was = known(market)
        first = replace(was.selections[0], odds_milli=(was.selections[0].odds_milli or 0) + 1)
        return replace(was, odds_version=was.odds_version + 1, selections=(first, *was.selections[1:]))

    await asyncio.gather(*(stores.markets.change_market(MARKET, None, raise_odds) for _ in range(40)))
    market = known(await stores.markets.get(MARKET))
    assert (market.odds_version, market.selections[0].odds_milli) == (41, 2_040)
    assert [version for version, _ in await stores.history(MARKET)] == list(range(1, 42))


async def test_sources_that_make_one_market_at_once_make_one(stores: Stores) -> None:
    changes = [odds_change(stores, {HOME: 2_000 + n}) for n in range(10)]
    await asyncio.gather(*(stores.feed.apply(change) for change in changes))
    assert known(await stores.markets.get(MARKET)).odds_version == 10


async def test_a_reader_misses_no_transaction_that_was_running(on_postgres: Stores) -> None:
    stores = on_postgres
    for name in ("slow", "fast"):
        await price(stores, market_id=MarketId(name))
    cursor, _ = await stores.markets.changed_since(None)
    async with superuser(stores) as slow:
        running = slow.transaction()
        await running.start()
        await slow.execute(
            "UPDATE odds SET name = 'told', changed_xid = pg_current_xact_id() WHERE market_id = 'slow'"
        )
        await price(stores, {HOME: 1_500}, market_id=MarketId("fast"))
        cursor, changed = await stores.markets.changed_since(cursor)
        assert [m.market_id for m in changed] == ["fast"]
        await running.commit()
    _, changed = await stores.markets.changed_since(cursor)
    assert "told" in [m.name for m in changed]


async def test_a_full_page_passes_no_transaction_that_was_running(on_postgres: Stores) -> None:
    stores = on_postgres
    await price(stores, market_id=MarketId("slow"))
    cursor, _ = await stores.markets.changed_since(None)
    async with superuser(stores) as slow, superuser(stores) as fast:
        running = slow.transaction()
        await running.start()
        await slow.execute(
            "UPDATE odds SET name = 'told', changed_xid = pg_current_xact_id() WHERE market_id = 'slow'"
        )
        for half in (1, 2):
            await fast.execute(
                "INSERT INTO odds (market_id, event_id, name, market_type, selections, updated_at)"
                " SELECT $1 || n, $3, 'm', 'x', '[]', now() FROM generate_series(1, $2::int) n",
                f"m{half}-",
                CHANGES_MAX // 2,
                EVENT,
            )
        cursor, changed = await stores.markets.changed_since(cursor)
        assert len(changed) == CHANGES_MAX
        await running.commit()
    seen: set[str] = set()
    for _ in range(3):
        cursor, changed = await stores.markets.changed_since(cursor)
        seen |= {market.name for market in changed}
    assert "told" in seen
    assert (await stores.markets.changed_since(cursor))[1] == []


async def test_a_cursor_goes_on_in_another_pod(on_postgres: Stores) -> None:
    await price(on_postgres)
    cursor, _ = await on_postgres.markets.changed_since(None)
    changed = await price(on_postgres, {HOME: 1_500})
    assert on_postgres.dsn is not None
    async with postgres_stores(on_postgres.dsn) as other:
        assert (await other.markets.changed_since(cursor))[1] == [changed]


def market_v(version: int) -> Market:
    return Market(
        market_id=MARKET,
        event_id=EVENT,
        name="Result",
        market_type="1X2",
        status=MarketStatus.ACTIVE,
        odds_version=version,
        selections=(),
        bet_delay_ms=0,
        priced_at=None,
        updated_at=NOON,
    )


async def test_messages_of_long_ago_are_forgotten_a_few_at_a_time(stores: Stores) -> None:
    names = [MessageId(f"message-{number}") for number in range(4)]
    for age, message_id in enumerate(names):
        await stores.markets.record_message(message_id, NOON - timedelta(days=age))
    assert await stores.markets.forget_messages(NOON - timedelta(hours=1), 2) == 2
    assert await stores.markets.forget_messages(NOON - timedelta(hours=1), 2) == 1
    assert await stores.markets.forget_messages(NOON - timedelta(hours=1), 2) == 0
    assert [await stores.markets.is_applied(message_id) for message_id in names] == [True, False, False, False]
