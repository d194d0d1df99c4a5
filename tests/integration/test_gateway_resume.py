"""Who was cut off goes on where he was: nothing is missed, nothing goes back."""

import asyncio
from random import Random

import pytest

from tests.gateways import connected, offered, running_gateway, versions


@pytest.mark.parametrize("form", ["fields", "word", "word as the cursor", "digits as the cursor"])
async def test_a_resume_tells_what_was_missed_and_goes_on(form: str) -> None:
    async with running_gateway(offered("m1", "m2", "m3")) as running:
        async with connected(running.port) as client:
            client.subscribe(markets=["m1", "m2", "m3"])
            cursor = (await client.hears("image"))["cursor"]
        running.change("m1")
        running.change("m2")
        running.change("m1")
        word = f"{running.offered.epoch}-{cursor}"
        forms: dict[str, object] = {
            "fields": {"epoch": running.offered.epoch, "cursor": cursor},
            "word": word,
            "word as the cursor": {"cursor": word},
            "digits as the cursor": {"epoch": running.offered.epoch, "cursor": str(cursor)},
        }
        async with connected(running.port) as client:
            client.subscribe("again", markets=["m1", "m2", "m3"], resume=forms[form])
            missed = await client.hears("change")
            assert (missed["id"], missed["resumed"], missed["cursor"]) == ("again", True, 106)
            assert versions(missed) == {"m1": 3, "m2": 2}
            running.change("m3")
            assert versions(await client.hears("change")) == {"m3": 2}


async def test_a_resume_that_missed_nothing_says_so() -> None:
    async with running_gateway(offered("m1")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"], resume={"epoch": running.offered.epoch, "cursor": 101})
        missed = await client.hears("change")
        assert (missed["resumed"], missed["cursor"], missed["markets"]) == (True, 101, [])


async def test_a_resume_of_another_epoch_gets_an_image_that_says_so() -> None:
    async with running_gateway(offered("m1")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"], resume={"epoch": "b" * 32, "cursor": 5})
        image = await client.hears("image")
        assert (image["resumed"], image["epoch"], versions(image)) == (False, running.offered.epoch, {"m1": 1})


async def test_who_was_told_more_elsewhere_is_told_nothing_older_here() -> None:
    async with running_gateway(offered("m1", "m2")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"], resume={"epoch": running.offered.epoch, "cursor": 104})
        client.subscribe("sentinel")  # refused, so that the resume is known to wait
        assert (await client.hears("error"))["id"] == "sentinel"
        running.change("m1")
        running.change("m2")
        running.change("m1")
        missed = await client.hears("change")
        assert (missed["cursor"], missed["markets"]) == (104, [])
        assert versions(await client.hears("change")) == {"m1": 3}


async def test_a_cursor_that_never_comes_gets_an_image_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchline.edge.push.subscriber.AHEAD_S", 0.0)
    async with running_gateway(offered("m1")) as running, connected(running.port) as client:
        client.subscribe(markets=["m1"], resume={"epoch": running.offered.epoch, "cursor": 2**62})
        assert (await client.hears("image"))["resumed"] is False


async def test_connections_that_are_cut_at_any_moment_and_resumed_miss_nothing() -> None:
    chance = Random(7)
    markets = [f"m{number}" for number in range(6)]
    async with running_gateway(offered(*markets)) as running:
        held: dict[str, int] = {}
        resume = None
        for _ in range(25):
            async with connected(running.port) as client:
                client.subscribe(markets=markets, resume=resume)
                answer = await client.message()
                assert answer["op"] == ("image" if resume is None else "change")
                take(held, answer)
                for _ in range(chance.randrange(4)):
                    running.change(*chance.sample(markets, chance.randint(1, 3)))
                    if chance.random() < 0.7:  # else it is cut before it has read this
                        answer = await client.hears("change")
                        take(held, answer)
                resume = {"epoch": running.offered.epoch, "cursor": answer["cursor"]}
            running.change(*chance.sample(markets, 2))
        async with connected(running.port) as client:
            client.subscribe(markets=markets, resume=resume)
            take(held, await client.hears("change"))
        assert held == running.offered.versions


def take(held: dict[str, int], message: dict[str, object]) -> None:
    for market_id, version in versions(message).items():
        assert version >= held.get(market_id, 0), "a version went back"
        held[market_id] = version


async def test_a_gateway_that_stops_says_so_and_the_next_one_goes_on() -> None:
    async with running_gateway(offered("m1")) as first, running_gateway(first.offered) as second:
        async with connected(first.port) as client:
            client.subscribe(markets=["m1"])
            cursor = (await client.hears("image"))["cursor"]
            stopping = asyncio.create_task(first.stop())
            code, reason = await client.closed()
            assert code == 1001
            assert "resume" in reason
            await stopping
        second.change("m1")
        async with connected(second.port) as client:
            client.subscribe(markets=["m1"], resume={"epoch": second.offered.epoch, "cursor": cursor})
            assert versions(await client.hears("change")) == {"m1": 2}
