"""The authority on odds in Valkey: nothing is lost between writers, nothing goes back for readers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clock import NOON, HandClock
from tests.samples import EVENT, MARKET
from tests.samples import market as plain_market
from tests.stream_scene import TIMEOUT_MS
from touchline.adapters.valkey import markets as module
from touchline.adapters.valkey import records
from touchline.adapters.valkey.connection import Part, Script
from touchline.adapters.valkey.history import ValkeyHistory
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.core.errors import Outage
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId, MessageId, SelectionId
from touchline.core.market import Market, Selection

# What a writer does: to which of two markets, how (a price, a name, a confirmation, nothing), under which message.
steps = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["price", "name", "confirm", "nothing"]),
    st.none() | st.sampled_from(["one", "two", "three"]),
)


@pytest_asyncio.fixture
async def clients(valkey_url: str) -> AsyncIterator[list[ValkeyMarkets]]:
    """Two clients of one authority, which is empty and begun."""
    made = [ValkeyMarkets(valkey_url, TIMEOUT_MS, HandClock()) for _ in range(2)]
    await made[0].begin()
    yield made
    for client in made:
        await client.close()


def after(old: Market | None, kind: str, name: str) -> Market | None:
    """One more step on a market, counted in its only price and in its event's minutes."""
    if old is None:
        selections = (Selection(SelectionId("x"), "x", 2_000),)
        return replace(plain_market(), market_id=MarketId(name), odds_version=1, selections=selections)
    first = old.selections[0]
    if kind == "price":
        priced = replace(first, odds_milli=(first.odds_milli or 0) + 1)
        return replace(old, odds_version=old.odds_version + 1, selections=(priced,))
    if kind == "name":
        return replace(old, name=old.name + "x")
    if kind == "confirm":
        return replace(old, priced_at=NOON if old.priced_at is None else None)
    return None


async def flush(client: ValkeyMarkets) -> None:
    await client._call("FLUSHALL")
    await client.begin()


@given(st.lists(st.lists(steps, max_size=12), min_size=2, max_size=2))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_of_changes_by_two_clients_none_is_lost_and_versions_rise_by_one(
    clients: list[ValkeyMarkets], plans: list[list[tuple[str, str, str | None]]]
) -> None:
    await flush(clients[0])
    seen: dict[tuple[str, int], list[int]] = {(name, reader): [] for name in "ab" for reader in range(2)}
    done = asyncio.Event()
    made: list[tuple[str, str]] = []

    async def write(client: ValkeyMarkets, plan: list[tuple[str, str, str | None]]) -> None:
        for name, kind, message in plan:
            if message is not None:
                message = f"{name}-{message}"
            took: list[str] = []

            def change(
                old: Market | None, kind: str = kind, name: str = name, took: list[str] = took
            ) -> Market | None:
                took[:] = ["new" if old is None else kind]
                return after(old, kind, name)

            changed = await client.change_market(
                MarketId(name), EVENT, change, None if message is None else MessageId(message)
            )
            if changed is not None:
                made.append((name, took[0]))

    async def read(reader: int) -> None:
        while not done.is_set():
            for name in "ab":
                polled = await clients[reader].poll(MarketId(name))
                seen[name, reader] += [] if polled is None else [polled.odds_version]

    readers = [asyncio.create_task(read(reader)) for reader in range(2)]
    await asyncio.gather(*(write(client, plan) for client, plan in zip(clients, plans, strict=True)))
    done.set()
    await asyncio.gather(*readers)
    for versions in seen.values():
        assert all(older <= newer for older, newer in pairwise(versions))
    for name in "ab":
        market = await clients[0].get(MarketId(name))
        steps_made = [kind for of, kind in made if of == name]
        expected = 0 if not steps_made else 1 + steps_made.count("price")
        assert (0 if market is None else market.odds_version) == expected
        if market is not None:
            assert market.selections[0].odds_milli == 2_000 + steps_made.count("price")
            assert market.name.count("x") == steps_made.count("name")


async def test_many_markets_are_read_at_once(clients: list[ValkeyMarkets]) -> None:
    names = [MarketId(f"m{n}") for n in range(20)]
    for name in names:
        await clients[0].change_market(name, EVENT, lambda old, name=name: after(old, "price", name))
    found = await clients[1].at_authority([*names, MarketId("none")])
    assert list(found) == names
    assert await clients[1].at_authority([]) == {}
    offered = await clients[1].offered([*names, MarketId("none")])
    assert list(offered.markets) == names
    assert (await clients[1].offered([])).markets == {}


async def test_what_is_offered_was_in_force_at_the_instant_told(
    clients: list[ValkeyMarkets], valkey_url: str
) -> None:
    """By the one clock by which versions came into force, which the history has cut off to milliseconds."""
    history, done, seen = ValkeyHistory(valkey_url, 5_000), asyncio.Event(), list[tuple[int, datetime]]()

    async def look() -> None:
        while not done.is_set():
            offered = await clients[1].offered([MARKET])
            if MARKET in offered.markets and offered.at is not None:
                seen.append((offered.markets[MARKET].odds_version, offered.at))

    looking = asyncio.create_task(look())
    for _ in range(200):
        await clients[0].change_market(MARKET, EVENT, lambda old: after(old, "price", MARKET))
    done.set()
    await looking
    began = {
        entry.changed.odds_version: entry.at
        for entry in await history.waiting(1_000)
        if isinstance(entry.changed, Market)
    }
    await history.close()
    assert len({version for version, _ in seen}) > 10
    for version, at in seen:
        assert began[version] <= at
        assert version + 1 not in began or at <= began[version + 1] + timedelta(milliseconds=1)


async def test_a_confirmation_is_kept_and_told_to_nobody(clients: list[ValkeyMarkets]) -> None:
    client = clients[0]
    await client.change_market(MARKET, EVENT, lambda old: after(old, "price", MARKET))
    cursor, _ = await client.changed_since(None)
    confirmed = await client.change_market(MARKET, None, lambda old: replace(old, priced_at=NOON) if old else None)
    assert await client.get(MARKET) == confirmed
    assert await client.changed_since(cursor) == (cursor, [])


async def test_a_market_and_its_event_are_two_changes(clients: list[ValkeyMarkets]) -> None:
    client = clients[0]
    await client.change_market(MARKET, EVENT, lambda old: after(old, "price", MARKET))
    epoch, cursor = client.written
    assert (len(epoch), cursor) == (32, 2)
    cursor_now, _ = await client.changed_since(None)
    assert cursor_now == f"{epoch}-2"


async def test_a_market_that_moves_to_another_event_is_found_there_only(clients: list[ValkeyMarkets]) -> None:
    client, other = clients[0], EventId("other")
    await client.change_market(MARKET, EVENT, lambda old: after(old, "price", MARKET))
    event = Event(other, "o", "f", "c", EventStatus.LIVE, None, None, None)
    await client.change_event(other, lambda _: event)
    moved = await client.change_market(MARKET, None, lambda old: replace(old, event_id=other) if old else None)
    assert [markets for _, markets in await client.events(None)] == [[], [moved]]


async def test_changes_in_pages_leave_none_out(
    clients: list[ValkeyMarkets], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGES_MAX", 3)
    names = [MarketId(f"m{n}") for n in range(8)]
    for name in names:
        await clients[0].change_market(name, EVENT, lambda old, name=name: after(old, "price", name))
    cursor, found = await clients[0].changed_since(None)
    while some := (page := await clients[0].changed_since(cursor))[1]:
        cursor = page[0]
        found += some
    assert [market.market_id for market in found] == names


async def test_without_an_epoch_nothing_is_answered_and_nothing_changed(valkey_url: str) -> None:
    client = ValkeyMarkets(valkey_url, TIMEOUT_MS, HandClock())
    for asked in (
        client.get(MARKET),
        client.poll(MARKET),
        client.changed_since(None),
        client.change_market(MARKET, EVENT, lambda old: after(old, "price", MARKET)),
    ):
        with pytest.raises(Outage):
            await asked
        client._breaker.__exit__(None, None, None)
    assert await client._call("DBSIZE") == 0
    await client.close()


async def test_an_epoch_is_begun_once(clients: list[ValkeyMarkets]) -> None:
    assert not await clients[1].begin(7)
    assert (await clients[1].changed_since(None))[0].endswith("-0")


async def test_changes_stop_where_too_many_are_not_on_record_and_go_on_after(valkey_url: str) -> None:
    client = ValkeyMarkets(valkey_url, TIMEOUT_MS, HandClock(), history_max=3)
    await client.begin()
    for _ in range(2):  # and the event is the third
        await client.change_market(MARKET, EVENT, lambda old: after(old, "price", MARKET))
    with pytest.raises(Outage):
        await client.change_market(MARKET, None, lambda old: after(old, "price", MARKET), MessageId("m"))
    assert not await client.is_applied(MessageId("m"))
    assert await client.change_market(MARKET, None, lambda old: after(old, "confirm", MARKET)) is not None
    await client._call("XTRIM", records.HISTORY, "MAXLEN", 2)
    changed = await client.change_market(MARKET, None, lambda old: after(old, "price", MARKET), MessageId("m"))
    assert changed is not None
    assert changed.odds_version == 3
    await client.close()


async def test_an_authority_that_is_full_refuses_changes_and_is_read(clients: list[ValkeyMarkets]) -> None:
    client = clients[0]
    market = await client.change_market(MARKET, EVENT, lambda old: after(old, "price", MARKET))
    policies = {"maxmemory-policy": "noeviction", "maxmemory": "1"}
    before = {name: (await client._call("CONFIG", "GET", name))[1] for name in policies}
    try:
        for name, value in policies.items():
            await client._call("CONFIG", "SET", name, value)
        with pytest.raises(Outage):
            await client.change_market(MARKET, None, lambda old: after(old, "price", MARKET), MessageId("m"))
        assert await client.get(MARKET) == market
        assert not await client.is_applied(MessageId("m"))
    finally:
        for name, kept in reversed(before.items()):
            await client._call("CONFIG", "SET", name, kept)
    changed = await client.change_market(MARKET, None, lambda old: after(old, "price", MARKET), MessageId("m"))
    assert changed is not None
    assert changed.odds_version == 2


async def test_of_messages_the_latest_are_remembered(
    clients: list[ValkeyMarkets], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGES_MAX", 2)
    clock = HandClock()
    clients[0]._clock = clock
    names = [MessageId(f"message-{n}") for n in range(4)]
    for name in names:
        await clients[0].change_market(MARKET, EVENT, lambda _: None, name)
        clock.move(timedelta(seconds=1))
    assert [await clients[1].is_applied(name) for name in names] == [False, False, True, True]


async def test_who_is_always_beaten_gives_up(clients: list[ValkeyMarkets]) -> None:
    ours, theirs = clients
    await ours.change_market(MARKET, EVENT, lambda old: after(old, "price", MARKET))
    attempts: list[asyncio.Task[Market | None]] = []

    def always_beaten(old: Market | None) -> Market | None:
        beats = theirs.change_market(MARKET, None, lambda held: after(held, "price", MARKET))
        attempts.append(asyncio.create_task(beats))
        return after(old, "name", MARKET)

    ours._change = BehindThem(ours._change, attempts)  # type: ignore[assignment]  # asks after they have changed it
    with pytest.raises(Outage):
        await ours.change_market(MARKET, None, always_beaten)
    assert len(attempts) == module.CHANGE_ATTEMPTS_MAX


class BehindThem:
    """A script that is only sent once all others have had their way."""

    def __init__(self, script: Script, others: list[asyncio.Task[Market | None]]) -> None:
        self._script = script
        self._others = others

    async def __call__(self, keys: list[str], args: list[Part]) -> object:
        await asyncio.gather(*self._others)
        return await self._script(keys, args)
