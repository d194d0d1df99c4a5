"""A server dies with kill -9 under a client's requests: what he sees, and that no money moves twice or never."""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tests.callers import Caller, log_in, new_market, new_player
from tests.platforms import OwnPlatform

HEALED_WITHIN_S = 60


@pytest.fixture(scope="module")
def own(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform to hurt."""
    own = OwnPlatform(servers_dir / "outages")
    own.up()
    yield own
    own.remove()


@pytest.fixture
def http(own: OwnPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=own.address, timeout=60) as client:
        yield client


def kill(own: OwnPlatform, part: str) -> None:
    """Kill a part, once it runs."""
    until = time.monotonic() + HEALED_WITHIN_S
    while not (found := pids(own).get(part)):
        assert time.monotonic() < until, f"{part} did not come back"
    os.kill(found, signal.SIGKILL)


def pids(own: OwnPlatform) -> dict[str, int]:
    return {record.name: record.pid for record in own.instance.parts}


def pods(own: OwnPlatform) -> list[int]:
    return [pid for name, pid in pids(own).items() if name.startswith("pod")]


def test_while_postgresql_is_away_answers_are_503_and_then_go_on_without_a_restart(
    own: OwnPlatform, http: httpx.Client
) -> None:
    market_id = new_market(log_in(http, "feed"))
    player = new_player(http)
    before = pods(own)
    statuses: set[int] = set()
    for _ in range(3):  # it heals fast: whether a request meets it dead is a matter of chance
        killed = pids(own)["postgres"]
        kill(own, "postgres")
        until = time.monotonic() + HEALED_WITHIN_S
        status = 0
        while status != 200 or pids(own).get("postgres", killed) == killed:
            assert time.monotonic() < until, "PostgreSQL did not come back"
            answer = player.get(f"/odds/{market_id}")
            status = answer.status_code
            statuses.add(status)
            if status == 503:
                assert answer.json()["code"] == "UNAVAILABLE"
                assert int(answer.headers["retry-after"]) >= 1
    assert statuses == {200, 503}
    assert pods(own) == before


def test_a_bet_sent_again_and_again_through_an_outage_is_placed_once(own: OwnPlatform, http: httpx.Client) -> None:
    until_served(http)
    market_id = new_market(log_in(http, "feed"))
    player = new_player(http)
    keys = [uuid.uuid4().hex for _ in range(6)]
    for number, key in enumerate(keys):
        if number in (1, 3):
            kill(own, "postgres")
        until_placed(player, market_id, key)
    bets = player.get("/bets").json()["bets"]
    assert sorted(bet["idempotency_key"] for bet in bets) == sorted(keys)
    assert player.balance == "94.00"


def until_served(http: httpx.Client) -> None:
    until = time.monotonic() + HEALED_WITHIN_S
    while http.post("/auth/login", json={"username": "feed", "password": "demo"}).status_code != 200:
        assert time.monotonic() < until, "nobody could log in any more"


def until_placed(player: Caller, market_id: str, key: str) -> None:
    until = time.monotonic() + HEALED_WITHIN_S
    while time.monotonic() < until:
        answer = player.place(market_id, idempotency_key=key)
        if answer.status_code == 201:
            return
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE"), answer.text
    raise AssertionError("the bet was never placed")


@pytest.mark.parametrize("how", ["killed", "emptied"])
def test_without_the_session_cache_answers_are_the_same(own: OwnPlatform, http: httpx.Client, how: str) -> None:
    until_served(http)
    market_id = new_market(log_in(http, "feed"))
    player = new_player(http)
    assert player.get("/account/balance").json() == {"balance": "100.00", "currency": "EUR", "source": "session"}
    if how == "killed":
        kill(own, "valkey")
    else:
        empty(own)
    first = player.get("/account/balance")
    assert first.status_code == 200
    assert (first.json()["balance"], first.json()["source"]) == ("100.00", "database")
    placed = player.place(market_id, stake="30.00", idempotency_key="k")
    assert placed.status_code == 201
    assert player.balance == "70.00"
    assert player.place(market_id, stake="70.01").json()["code"] == "INSUFFICIENT_BALANCE"
    until = time.monotonic() + HEALED_WITHIN_S
    while player.get("/account/balance").json()["source"] != "session":
        assert time.monotonic() < until, "Valkey did not come back"
    assert player.balance == "70.00"


def empty(own: OwnPlatform) -> None:
    """Drop every session, as a full cache's eviction would."""
    with redis.Redis.from_url(own.instance.valkey) as client:
        client.flushall()


def test_the_books_balance_after_it_all(own: OwnPlatform) -> None:
    ended = own.run("reconcile")
    assert ended.returncode == 0, ended.stdout + ended.stderr
