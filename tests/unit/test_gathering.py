"""Requests that are gathered: those of one turn go together, and each has his own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from touchline.adapters.valkey.gathering import TOGETHER_MAX, UNDER_WAY_MAX, Gathering
from touchline.core.errors import Outage


class Doubler:
    """Answers numbers with their doubles, once it is let to; `calls` lists what was sent together."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = asyncio.Event()
        self.away = False

    async def send(self, numbers: Sequence[int]) -> Sequence[int]:
        self.calls.append(list(numbers))
        await self.open.wait()
        if self.away:
            raise Outage("the doubler", 7)
        return [2 * number for number in numbers]


async def begun(gathering: Gathering[int, int], numbers: range) -> list[asyncio.Future[int]]:
    """Ask for all in one turn, and go on once they are sent, or wait."""
    asked = [gathering.ask(number) for number in numbers]
    for _ in range(UNDER_WAY_MAX):
        await asyncio.sleep(0)
    return asked


FULL = UNDER_WAY_MAX * TOGETHER_MAX  # so many are sent before any waits


async def test_what_comes_in_one_turn_is_sent_together_and_the_next_does_not_wait_for_it() -> None:
    doubler = Doubler()
    gathering = Gathering(doubler.send)
    asked = [*await begun(gathering, range(3)), *await begun(gathering, range(3, 4))]
    assert doubler.calls == [[0, 1, 2], [3]]
    doubler.open.set()
    assert await asyncio.gather(*asked) == [0, 2, 4, 6]


async def test_what_comes_while_enough_is_under_way_is_sent_together_once_there_is_less() -> None:
    doubler = Doubler()
    gathering = Gathering(doubler.send)
    asked = []
    for number in range(UNDER_WAY_MAX + 5):
        asked += await begun(gathering, range(number, number + 1))
    assert doubler.calls == [[number] for number in range(UNDER_WAY_MAX)]
    doubler.open.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(UNDER_WAY_MAX + 5)]
    assert doubler.calls[UNDER_WAY_MAX:] == [list(range(UNDER_WAY_MAX, UNDER_WAY_MAX + 5))]


async def test_no_more_are_sent_together_than_may_be() -> None:
    doubler = Doubler()
    asked = await begun(Gathering(doubler.send), range(FULL + 1))
    assert [len(call) for call in doubler.calls] == [TOGETHER_MAX] * UNDER_WAY_MAX
    doubler.open.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(FULL + 1)]
    assert [len(call) for call in doubler.calls] == [*[TOGETHER_MAX] * UNDER_WAY_MAX, 1]


async def test_an_outage_is_told_to_all_who_wait_and_the_next_is_sent_anew() -> None:
    doubler = Doubler()
    gathering = Gathering(doubler.send)
    asked = await begun(gathering, range(FULL + 1))
    doubler.away = True
    doubler.open.set()
    outages = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(outage, Outage) and outage.retry_after_s == 7 for outage in outages)
    assert len(doubler.calls) == UNDER_WAY_MAX
    doubler.away = False
    assert await gathering.ask(4) == 8


async def test_a_fault_is_told_to_those_who_were_sent_and_to_nobody_else() -> None:
    async def send(numbers: Sequence[int]) -> Sequence[int]:
        return [] if 0 in numbers else numbers

    gathering = Gathering(send)
    with pytest.raises(ValueError, match="zip"):
        await gathering.ask(0)
    assert await gathering.ask(1) == 1


@pytest.mark.parametrize("gone", [0, FULL + 1], ids=["under way", "waiting"])
async def test_whoever_stops_waiting_takes_no_answer_from_the_others(gone: int) -> None:
    doubler = Doubler()
    gathering = Gathering(doubler.send)
    asked = await begun(gathering, range(FULL + 6))
    asked[gone].cancel()
    await asyncio.sleep(0)
    doubler.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    expected = [2 * number for number in range(FULL + 6) if number != gone]
    assert [answer for answer in answers if isinstance(answer, int)] == expected
    assert await gathering.ask(9) == 18
