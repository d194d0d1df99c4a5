"""Who is about: the port's contract, on memory and on Valkey."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from tests.clock import NOON
from touchline.adapters.memory.presence import MemoryPresence
from touchline.adapters.valkey.presence import ValkeyPresence
from touchline.core.errors import Outage
from touchline.core.ids import PlayerId
from touchline.ports import LIVE_STEP_S, LIVE_WITHIN_S, Presence
from touchline.runtime.addresses import free_port

ANN, BEN, CID = PlayerId("ann"), PlayerId("ben"), PlayerId("cid")


@pytest.fixture(params=["memory", "valkey"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The address of an empty Valkey, None for memory."""
    if request.param == "memory":
        return None
    address: str = request.getfixturevalue("valkey_url")
    return address


@pytest_asyncio.fixture
async def presence(url: str | None) -> AsyncIterator[Presence]:
    """Nobody is about yet."""
    if url is None:
        yield MemoryPresence()
        return
    made = ValkeyPresence(url, timeout_ms=2_000)
    yield made
    await made.close()


async def test_a_player_whom_several_pods_hear_of_is_counted_once(presence: Presence) -> None:
    assert await presence.live([ANN, BEN], NOON) == 2
    assert await presence.live([BEN, CID], NOON + timedelta(seconds=LIVE_STEP_S)) == 3
    assert await presence.live([], NOON + timedelta(seconds=LIVE_STEP_S)) == 3


async def test_a_player_not_heard_of_again_is_gone_in_time(presence: Presence) -> None:
    await presence.live([ANN], NOON)
    await presence.live([BEN], NOON + timedelta(seconds=LIVE_STEP_S))
    assert await presence.live([], NOON + timedelta(seconds=LIVE_WITHIN_S - LIVE_STEP_S)) == 2
    assert await presence.live([], NOON + timedelta(seconds=LIVE_WITHIN_S)) == 1
    assert await presence.live([], NOON + timedelta(seconds=LIVE_WITHIN_S + LIVE_STEP_S)) == 0


async def test_many_are_counted_to_a_hundredth_or_two(presence: Presence) -> None:
    for first in range(0, 20_000, 5_000):
        told = await presence.live([PlayerId(f"p{n}") for n in range(first, first + 7_500)], NOON)
    assert told == pytest.approx(22_500, rel=0.03)


async def test_nobody_who_was_never_heard_of_is_about(presence: Presence) -> None:
    assert await presence.live([], NOON) == 0


async def test_a_valkey_that_is_away_is_an_outage() -> None:
    away = ValkeyPresence(f"redis://127.0.0.1:{free_port()}/0", timeout_ms=200)
    with pytest.raises(Outage):
        await away.live([ANN], NOON)
    await away.close()
