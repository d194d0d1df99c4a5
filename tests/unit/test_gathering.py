"""Requests that are gathered: none waits where nothing is under way, and each has his own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from touchline.adapters.valkey.gathering import APART_MAX, TOGETHER_MAX, Gathering
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


async def begun(gathering: Gathering[int, int], numbers: range) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(gathering.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


APART = [[number] for number in range(APART_MAX)]


async def test_what_comes_while_others_are_under_way_is_sent_together() -> None:
    doubler = Doubler()
    asked = await begun(Gathering(doubler.send), range(APART_MAX + 10))
    assert doubler.calls == APART
    doubler.open.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(APART_MAX + 10)]
    assert doubler.calls == [*APART, list(range(APART_MAX, APART_MAX + 10))]


async def test_no_more_are_sent_together_than_may_be() -> None:
    doubler = Doubler()
    count = APART_MAX + 2 * TOGETHER_MAX + 1
    asked = await begun(Gathering(doubler.send), range(count))
    doubler.open.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(count)]
    assert [len(call) for call in doubler.calls] == [1] * APART_MAX + [TOGETHER_MAX, TOGETHER_MAX, 1]


async def test_an_outage_is_told_to_all_who_wait_and_the_next_is_sent_anew() -> None:
    doubler = Doubler()
    gathering = Gathering(doubler.send)
    asked = await begun(gathering, range(3 * TOGETHER_MAX))
    doubler.away = True
    doubler.open.set()
    outages = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(outage, Outage) and outage.retry_after_s == 7 for outage in outages)
    assert doubler.calls == APART
    doubler.away = False
    assert await gathering.ask(4) == 8


@pytest.mark.parametrize("gone", [0, APART_MAX + 1], ids=["under way", "waiting"])
async def test_whoever_stops_waiting_takes_no_answer_from_the_others(gone: int) -> None:
    doubler = Doubler()
    gathering = Gathering(doubler.send)
    asked = await begun(gathering, range(APART_MAX + 6))
    asked[gone].cancel()
    await asyncio.sleep(0)
    doubler.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    expected = [2 * number for number in range(APART_MAX + 6) if number != gone]
    assert [answer for answer in answers if isinstance(answer, int)] == expected
    assert await gathering.ask(9) == 18
