"""The `SessionCache` contract, on memory and on Valkey."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from tests.clock import NOON
from touchline.adapters.memory.sessions import MemorySessions
from touchline.adapters.valkey.sessions import ValkeySessions
from touchline.core.errors import Outage
from touchline.core.ids import PlayerId
from touchline.ports import BALANCES_AT_ONCE_MAX, Balance, SessionCache

ANN, BOB = PlayerId("ann"), PlayerId("bob")
SECOND = timedelta(seconds=1)


@pytest.fixture(params=["memory", "valkey"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The address of an empty Valkey, None for memory."""
    if request.param == "memory":
        return None
    address: str = request.getfixturevalue("valkey_url")
    return address


@pytest_asyncio.fixture
async def sessions(url: str | None) -> AsyncIterator[SessionCache]:
    """A cache that admits five bets a minute; three within two seconds are faster than a person."""
    if url is None:
        yield MemorySessions(bets_per_minute_max=5, velocity_bets=3, velocity_window_ms=2_000)
        return
    made = valkey_at(url)
    yield made
    await made.close()


def valkey_at(url: str) -> ValkeySessions:
    return ValkeySessions(
        url, timeout_ms=2_000, ttl_s=60, bets_per_minute_max=5, velocity_bets=3, velocity_window_ms=2_000
    )


async def waits(sessions: SessionCache, key: str, after_s: float = 0, player_id: PlayerId = ANN) -> int | None:
    return (await sessions.admit(player_id, key, NOON + SECOND * after_s)).retry_after_s


async def test_so_many_bets_a_minute_are_admitted(sessions: SessionCache) -> None:
    assert [await waits(sessions, f"k{n}", after_s=10 * n) for n in range(5)] == [None] * 5
    assert await waits(sessions, "more", after_s=41) == 19
    assert await waits(sessions, "more", after_s=41.5) == 19  # rounded up: earlier is refused again
    assert await waits(sessions, "more", after_s=59.999) == 1
    assert await waits(sessions, "more", after_s=60) is None
    assert await waits(sessions, "even more", after_s=60) == 10


async def test_a_retry_is_counted_once_and_admitted_even_at_the_limit(sessions: SessionCache) -> None:
    assert [await waits(sessions, "k0") for _ in range(9)] == [None] * 9
    assert [await waits(sessions, f"k{n}") for n in range(1, 5)] == [None] * 4
    assert await waits(sessions, "k5") == 60
    assert await waits(sessions, "k0") is None


async def test_a_bet_that_was_refused_does_not_count(sessions: SessionCache) -> None:
    for n in range(20):
        assert await waits(sessions, f"k{n}") is None
        await sessions.withdraw(ANN, f"k{n}")
    await sessions.withdraw(ANN, "never counted")
    await sessions.withdraw(BOB, "never counted")


async def test_each_player_has_a_rate_of_his_own(sessions: SessionCache) -> None:
    assert [await waits(sessions, f"k{n}") for n in range(6)] == [None] * 5 + [60]
    assert await waits(sessions, "k0", player_id=BOB) is None


async def test_bets_at_once_pass_no_more_than_the_rate(sessions: SessionCache) -> None:
    answers = await asyncio.gather(*(waits(sessions, f"k{n}") for n in range(30)))
    assert sum(answer is None for answer in answers) == 5


async def test_faster_than_a_person_is_told(sessions: SessionCache) -> None:
    async def fast(key: str, after_s: float) -> bool:
        return (await sessions.admit(ANN, key, NOON + SECOND * after_s)).faster_than_a_person

    assert [await fast("a", 0), await fast("b", 1), await fast("c", 2)] == [False, False, True]
    assert not await fast("d", 3.5)
    assert not await fast("d", 3.6)  # a retry is the same bet


async def test_the_newest_balance_is_kept_in_whatever_order_they_come(sessions: SessionCache) -> None:
    assert await sessions.balance(ANN) is None
    for version in (2, 1, 3, 3, 2):
        await sessions.keep({ANN: Balance(version * 100, "EUR", version)})
    assert await sessions.balance(ANN) == Balance(300, "EUR", 3)
    assert await sessions.balance(BOB) is None


async def test_many_balances_are_kept_at_once(sessions: SessionCache) -> None:
    await sessions.keep({ANN: Balance(5, "EUR", 5)})
    await sessions.keep({ANN: Balance(4, "EUR", 4), BOB: Balance(1, "EUR", 1)})
    assert [await sessions.balance(who) for who in (ANN, BOB)] == [Balance(5, "EUR", 5), Balance(1, "EUR", 1)]
    await sessions.keep({})
    many = {PlayerId(f"p{n}"): Balance(n, "EUR", 1) for n in range(BALANCES_AT_ONCE_MAX)}
    await sessions.keep(many)
    assert {who: await sessions.balance(who) for who in many} == many


async def test_versions_beyond_what_a_double_holds_are_told_apart(sessions: SessionCache) -> None:
    balance = Balance(10**15, "JPY", 2**40 + 1)
    await sessions.keep({ANN: Balance(7, "JPY", 2**40)})
    await sessions.keep({ANN: balance})
    assert await sessions.balance(ANN) == balance


async def test_an_admission_brings_the_session(sessions: SessionCache) -> None:
    first = await sessions.admit(ANN, "k0", NOON)
    assert first.balance is None
    await sessions.keep({ANN: Balance(700, "EUR", 4)})
    assert (await sessions.admit(ANN, "k1", NOON)).balance == Balance(700, "EUR", 4)
    for n in range(2, 5):
        await sessions.admit(ANN, f"k{n}", NOON)
    refused = await sessions.admit(ANN, "k5", NOON)
    assert (refused.retry_after_s, refused.balance) == (60, Balance(700, "EUR", 4))


async def test_a_cache_that_is_away_is_an_outage(unused_tcp_port: int) -> None:
    sessions = valkey_at(f"redis://127.0.0.1:{unused_tcp_port}")
    for ask in (
        sessions.admit(ANN, "k", NOON),
        sessions.withdraw(ANN, "k"),
        sessions.balance(ANN),
        sessions.keep({ANN: Balance(1, "EUR", 1)}),
    ):
        with pytest.raises(Outage):
            await ask
    assert (sessions.hits, sessions.misses, sessions.outages) == (0, 0, 2)
    await sessions.close()
