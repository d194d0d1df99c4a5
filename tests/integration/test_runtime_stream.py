"""`stream` as its operator meets it: a process killed, PostgreSQL away, restarted under load; the books right."""

import asyncio
import json
import signal
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from tests.integration.test_runtime_platform import (
    CLIENTS,
    HEAL_TIMEOUT_S,
    MARKET,
    bettor,
    kill_and_heal,
    poller,
    prepare_bets,
)
from tests.platforms import OwnPlatform, log_in

PARTS = ["postgres", "valkey", "odds", "pod-1", "gateway-1", "writer-1", "writer-2", "history", "settlement"]


@pytest.fixture(scope="module")
def own(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform that tests may hurt."""
    settings = {"architecture": "stream", "bets_per_minute_max": "100000"}
    platform = OwnPlatform(servers_dir / "hurt-stream", settings=settings)
    platform.up()
    yield platform
    platform.remove()


async def price(http: httpx.AsyncClient, odds: str) -> int:
    """Send a price for the market, as the feed would, and return the version that shows it."""
    message = {
        "kind": "odds_change",
        "message_id": uuid.uuid4().hex,
        "event_id": "rolling",
        "market_id": MARKET,
        "occurred_at": datetime.now(UTC).isoformat(),
        "selections": [{"selection_id": "home", "odds": odds}],
    }
    answer = await http.post("/feed/messages", json=[message], headers=await log_in(http, "feed"))
    assert answer.status_code == 200, answer.text
    return int((await http.get(f"/odds/{MARKET}", headers=await log_in(http, "bob"))).json()["odds_version"])


async def place(
    http: httpx.AsyncClient, player: dict[str, str], version: int, odds: str, key: str
) -> httpx.Response:
    """Place a bet under a key, again and again while the platform says that it can't tell yet."""
    bet = {
        "market_id": MARKET,
        "selection_id": "home",
        "odds": odds,
        "odds_version": version,
        "stake": "1.00",
        "idempotency_key": key,
    }
    async with asyncio.timeout(HEAL_TIMEOUT_S):
        while (answer := await http.post("/bets", json=bet, headers=player)).status_code >= 500:
            assert "Retry-After" in answer.headers
    return answer


@pytest.mark.parametrize("part", PARTS)
async def test_any_process_may_be_killed_and_no_bet_is_lost_or_taken_twice(own: OwnPlatform, part: str) -> None:
    async with httpx.AsyncClient(base_url=own.address, timeout=30) as http:
        await prepare_bets(http)
        async with asyncio.timeout(HEAL_TIMEOUT_S):
            while True:  # the last part that was killed may have left a breaker open
                try:
                    version = await price(http, "2.00")
                    break
                except AssertionError:
                    await asyncio.sleep(0.2)
        alice, key = await log_in(http, "alice"), uuid.uuid4().hex
        before = (await http.get("/bets", headers=alice, params={"limit": "100"})).json()["bets"]
        healing = asyncio.create_task(kill_and_heal(own, part))
        answers = [await place(http, alice, version, "2.00", f"{key}-{number}") for number in range(20)]
        await healing
        assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
        assert len({answer.json()["bet_id"] for answer in answers}) == len(answers)
        after = (await http.get("/bets", headers=alice, params={"limit": "100"})).json()["bets"]
        mine = [bet for bet in after if bet["idempotency_key"].startswith(key)]
        assert len(mine) == len(answers)
        assert {bet["bet_id"] for bet in before}.isdisjoint(bet["bet_id"] for bet in mine)
    reconciled = own.run("reconcile")
    assert reconciled.returncode == 0, reconciled.stdout


async def test_odds_go_on_while_postgres_is_away_and_bets_are_refused_until_it_is_back(own: OwnPlatform) -> None:
    async with httpx.AsyncClient(base_url=own.address, timeout=60) as http:
        await prepare_bets(http)
        alice, feed = await log_in(http, "alice"), await log_in(http, "feed")
        version = await price(http, "3.00")
        server = psutil.Process(own.pid("postgres"))
        stopped = [server, *server.children(recursive=True)]
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            message = {
                "kind": "odds_change",
                "message_id": uuid.uuid4().hex,
                "event_id": "rolling",
                "market_id": MARKET,
                "occurred_at": datetime.now(UTC).isoformat(),
                "selections": [{"selection_id": "home", "odds": "3.10"}],
            }
            answer = await http.post("/feed/messages", json=[message], headers=feed)
            assert answer.json() == {"applied": 1, "ignored": 0}
            polled = (await http.get(f"/odds/{MARKET}", headers=alice)).json()
            assert (polled["odds_version"], polled["selections"][0]["odds"]) == (version + 1, "3.10")
            assert (await http.get("/events", headers=alice)).status_code == 200
            bet = {
                "market_id": MARKET,
                "selection_id": "home",
                "odds": "3.10",
                "odds_version": version + 1,
                "stake": "1.00",
                "idempotency_key": "while it is away",
            }
            refused = await http.post("/bets", json=bet, headers=alice)
            assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)
        placed = await place(http, alice, version + 1, "3.10", "while it is away")
        assert placed.status_code == 201, placed.text
    assert own.run("reconcile").returncode == 0


async def test_a_rolling_restart_under_load_fails_no_request(own: OwnPlatform) -> None:
    before = {record.name: record.pid for record in own.instance.parts}
    async with httpx.AsyncClient(base_url=own.address, timeout=30) as http:
        await prepare_bets(http)
        await price(http, "2.00")
        done = asyncio.Event()
        load = asyncio.gather(
            *(bettor(http, done) for _ in range(CLIENTS)), *(poller(http, done) for _ in range(CLIENTS))
        )
        restart = await asyncio.to_thread(own.run, "restart", "--rolling")
        done.set()
        answers = [answer for answers in await load for answer in answers]
    assert restart.returncode == 0, restart.stdout + restart.stderr
    after = {record.name: record.pid for record in own.instance.parts}
    replaced = {"pod-1", "pod-2", "settlement", "writer-1", "writer-2", "history", "gateway-1"}
    assert {name for name in before if before[name] != after[name]} == replaced
    assert [answer.text for answer in answers if answer.status_code not in (200, 201)] == []
    assert own.run("reconcile").returncode == 0


async def test_odds_are_sent_as_events_through_the_balancer(own: OwnPlatform) -> None:
    async with httpx.AsyncClient(base_url=own.address, timeout=30) as http:
        await prepare_bets(http)
        version = await price(http, "2.20")
        async with http.stream("GET", "/stream/sse", params={"markets": MARKET}) as events:
            assert events.headers["content-type"] == "text/event-stream"
            told = (line[6:] async for line in events.aiter_lines() if line.startswith("data: "))
            image = json.loads(await anext(told))
            assert (image["op"], image["markets"][0]["odds_version"]) == ("image", version)
            await price(http, "2.30")
            change = json.loads(await anext(told))
            while change["op"] == "heartbeat":
                change = json.loads(await anext(told))
            assert change["op"] == "change"
            [market] = change["markets"]
            assert (market["odds_version"], market["selections"][0]["odds"]) == (version + 1, "2.30")


async def test_a_stop_does_not_wait_for_those_who_are_sent_events(own: OwnPlatform) -> None:
    async with httpx.AsyncClient(base_url=own.address, timeout=30) as http:
        await prepare_bets(http)
        async with http.stream("GET", "/stream/sse", params={"markets": MARKET}) as events:
            told = events.aiter_lines()
            assert await anext(told) == "event: image"
            await asyncio.to_thread(own.down)
            async for _ in told:  # to the end, which is one
                pass
    log = own.data_dir.joinpath("logs", "balancer.log").read_text("utf-8")
    assert "deadline exceeded" not in log
    await asyncio.to_thread(own.up)
