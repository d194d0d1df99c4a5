"""Requests that are gathered: none waits where nothing is under way, and each has his own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from touchline.adapters.valkey.gathering import TOGETHER_MAX, Gathering
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


async def test_what_comes_while_one_is_under_way_is_sent_together() -> None:
    doubler = Doubler()
    asked = await begun(Gathering(doubler.send), range(10))
    assert doubler.calls == [[0]]
    doubler.open.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(10)]
    assert doubler.calls == [[0], list(range(1, 10))]


async def test_no_more_are_sent_together_than_may_be() -> None:
    doubler = Doubler()
    asked = await begun(Gathering(doubler.send), range(2 * TOGETHER_MAX + 2))
    doubler.open.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(2 * TOGETHER_MAX + 2)]
    assert [len(call) for call in doubler.calls] == [1, TOGETHER_MAX, TOGETHER_MAX, 1]


async def test_an_outage_is_told_to_all_who_wait_and_the_next_is_sent_anew() -> None:
    doubler = Doubler()
    gathering = Gathering(doubler.send)
    asked = await begun(gathering, range(3 * TOGETHER_MAX))
    doubler.away = True
    doubler.open.set()
    outages = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(outage, Outage) and outage.retry_after_s == 7 for outage in outages)
    assert doubler.calls == [[0]]
    doubler.away = False
    assert await gathering.ask(4) == 8


@pytest.mark.parametrize("gone", [0, 3], ids=["under way", "waiting"])
async def test_whoever_stops_waiting_takes_no_answer_from_the_others(gone: int) -> None:
    doubler = Doubler()
    gathering = Gathering(doubler.send)
    asked = await begun(gathering, range(6))
    asked[gone].cancel()
    await asyncio.sleep(0)
    doubler.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, int)] == [2 * n for n in range(6) if n != gone]
    assert await gathering.ask(9) == 18
