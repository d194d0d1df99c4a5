"""What pods know of odds and tell each other: the port's contract, on memory and on Valkey."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from tests.clock import NOON
from tests.samples import market
from touchline.adapters.memory.known import MemoryKnownOdds
from touchline.adapters.valkey.known import ValkeyKnownOdds
from touchline.core.errors import Outage
from touchline.core.ids import MarketId
from touchline.ports.ladder import KNOWN_AT_ONCE_MAX, Known, KnownOdds
from touchline.runtime.addresses import free_port
from touchline.wire.odds_v1 import market_to_polled

A, B = MarketId("a"), MarketId("b:ü 1")
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture(params=["memory", "valkey"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The address of an empty Valkey, None for memory."""
    if request.param == "memory":
        return None
    address: str = request.getfixturevalue("valkey_url")
    return address


@pytest_asyncio.fixture
async def odds(url: str | None) -> AsyncIterator[KnownOdds]:
    """Nothing is known yet."""
    if url is None:
        yield MemoryKnownOdds()
        return
    made = ValkeyKnownOdds(url, timeout_ms=2_000)
    yield made
    await made.close()


def known(market_id: MarketId, version: int, later: timedelta = timedelta(), name: str = "Match odds") -> Known:
    as_it_was = replace(market(), market_id=market_id, odds_version=version, name=name)
    return Known(market_to_polled(as_it_was), NOON + later)


async def test_what_was_told_is_known_as_it_was(odds: KnownOdds) -> None:
    assert await odds.newest([A, B]) == {}
    await odds.tell([known(A, 3), known(B, 7, MICROSECOND)])
    assert await odds.newest([B, A, MarketId("c")]) == {A: known(A, 3), B: known(B, 7, MICROSECOND)}


async def test_a_newer_version_is_never_replaced_by_an_older_one(odds: KnownOdds) -> None:
    await odds.tell([known(A, 10)])
    await odds.tell([known(A, 9, later=timedelta(hours=1))])
    assert await odds.newest([A]) == {A: known(A, 10)}
    await odds.tell([known(A, 11, later=-timedelta(hours=1))])
    assert (await odds.newest([A]))[A].market.odds_version == 11


async def test_of_one_version_the_later_is_known(odds: KnownOdds) -> None:
    await odds.tell([known(A, 1, MICROSECOND, name="later")])
    await odds.tell([known(A, 1, name="earlier")])
    assert await odds.newest([A]) == {A: known(A, 1, MICROSECOND, name="later")}
    await odds.tell([known(A, 1, 2 * MICROSECOND, name="latest")])
    assert await odds.newest([A]) == {A: known(A, 1, 2 * MICROSECOND, name="latest")}


async def test_more_can_be_asked_for_than_told_at_once(odds: KnownOdds) -> None:
    told = [known(MarketId(f"m{number}"), 1) for number in range(2 * KNOWN_AT_ONCE_MAX)]
    for first in (0, KNOWN_AT_ONCE_MAX):
        await odds.tell(told[first : first + KNOWN_AT_ONCE_MAX])
    assert await odds.newest([one.market.market_id for one in told]) == {o.market.market_id: o for o in told}
    assert await odds.newest([]) == {}


async def test_a_valkey_that_is_away_is_an_outage() -> None:
    away = ValkeyKnownOdds(f"redis://127.0.0.1:{free_port()}/0", timeout_ms=200)
    with pytest.raises(Outage):
        await away.tell([known(A, 1)])
    with pytest.raises(Outage):
        await away.newest([A])
    await away.close()
