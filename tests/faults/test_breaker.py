"""The breaker as clients meet it: PostgreSQL is killed and stays away, odds are shown as old, bets are refused."""

import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

import httpx
import pytest_asyncio

from tests.callers import Caller, change_odds, log_in, new_market, new_player
from tests.outliving import Outliving, outliving

WITHIN_S = 60


@pytest_asyncio.fixture
async def scene(servers_dir: Path) -> AsyncIterator[Outliving]:
    async with outliving(servers_dir, "breaker") as made:
        yield made


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < end, what


def measured(port: int, name: str) -> float:
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.split()[0] == name)


async def test_odds_are_shown_as_old_and_bets_refused_until_postgresql_is_back(scene: Outliving) -> None:
    with httpx.Client(base_url=scene.own.address, timeout=20) as http:
        feed, player = log_in(http, "feed"), new_player(http)
        market_id, unseen = new_market(feed), new_market(feed)
        first, second = (
            Caller(httpx.Client(base_url=f"http://127.0.0.1:{port}"), player.token) for port in scene.pods()
        )
        versions: list[int] = []

        def poll(caller: Caller) -> httpx.Response:
            answer = caller.get(f"/odds/{market_id}")
            assert answer.status_code == 200, answer.text
            versions.append(answer.json()["odds_version"])
            return answer

        for caller in (first, second):
            assert "stale_since" not in poll(caller).json()
            assert caller.get("/events", params={"status": "live"}).status_code == 200
        change_odds(feed, market_id, home="2.20")
        fresh = poll(first)  # and the second pod has not heard of it
        pids = scene.pod_pids()
        await scene.kill()

        for caller in (second, first, second):
            stale = poll(caller)
            assert datetime.fromisoformat(stale.json()["stale_since"]).tzinfo is not None
            assert int(stale.headers["age"]) >= 0
            assert stale.headers["cache-control"] == "no-store"
            assert "etag" not in stale.headers
            assert {**stale.json(), "stale_since": 0} == {**fresh.json(), "stale_since": 0}
            again = caller.get(f"/odds/{market_id}", headers={"If-None-Match": fresh.headers["etag"]})
            assert again.status_code == 200
        listed = second.get("/events", params={"status": "live"}).json()["events"]
        shown = [m for event in listed for m in event["markets"] if m["market_id"] == market_id]
        assert [m["odds_version"] for m in shown] == [2]
        assert "stale_since" in shown[0]
        assert first.get(f"/odds/{unseen}-never").status_code == 503

        until(lambda: all(measured(p, "touchline_db_breaker_open") for p in scene.pods()), "it did not open")
        for caller in (first, second):
            refused = caller.place(market_id, odds="2.20", odds_version=2, idempotency_key="kept")
            assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
            assert int(refused.headers["retry-after"]) >= 1
        assert sum(measured(p, "touchline_odds_stale_total") for p in scene.pods()) >= 7

        await scene.start()
        until(lambda: not any(measured(p, "touchline_db_breaker_open") for p in scene.pods()), "it stayed open")
        for caller in (first, second):
            assert poll(caller).json() == fresh.json()
            placed = caller.place(market_id, odds="2.20", odds_version=2, idempotency_key="kept")
            assert placed.status_code == 201
        assert player.balance == "99.00"
        assert versions == sorted(versions)
        assert scene.pod_pids() == pids
