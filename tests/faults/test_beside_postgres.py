"""A platform with a pooler and a replica beside its PostgreSQL, each of which dies."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.callers import Caller, change_odds, log_in, new_market, new_player
from tests.pgbouncer import needs_pgbouncer
from tests.platforms import OwnPlatform

pytestmark = needs_pgbouncer
WITHIN_S = 60


@pytest.fixture(scope="module")
def own(servers_dir: Path) -> Iterator[OwnPlatform]:
    own = OwnPlatform(servers_dir / "beside", settings={"pooler": "pgbouncer", "read_replica": "own"})
    own.up()
    yield own
    own.remove()


@pytest.fixture
def http(own: OwnPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=own.address, timeout=30) as client:
        yield client


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < end, what


def measured(own: OwnPlatform, name: str) -> list[float]:
    ports = [part.port for part in own.instance.parts if part.name.startswith("pod")]
    texts = [httpx.get(f"http://127.0.0.1:{port}/metrics").text for port in ports]
    return [float(line.split()[1]) for text in texts for line in text.splitlines() if line.split()[0] == name]


def polls_reach_the_replica(own: OwnPlatform, player: Caller, market_id: str) -> bool:
    player.get(f"/odds/{market_id}")
    return all(measured(own, "touchline_replica_usable"))


def placed(player: Caller, market_id: str, key: str) -> bool:
    answer = player.place(market_id, odds="2.20", odds_version=2, idempotency_key=key)
    assert answer.status_code in (201, 503), answer.text
    return answer.status_code == 201


def test_all_is_as_without_them(own: OwnPlatform, http: httpx.Client) -> None:
    feed, player = log_in(http, "feed"), new_player(http)
    market_id = new_market(feed)
    until(lambda: polls_reach_the_replica(own, player, market_id), "the replica does not follow")
    before = sum(measured(own, "touchline_replica_polls_total"))
    change_odds(feed, market_id, home="2.20")
    until(lambda: player.get(f"/odds/{market_id}").json()["odds_version"] == 2, "the replica does not follow")
    assert sum(measured(own, "touchline_replica_polls_total")) > before
    assert all(lag > 0 for lag in measured(own, "touchline_replica_lag_seconds"))
    assert placed(player, market_id, "k")
    assert player.balance == "99.00"


@pytest.mark.parametrize("part", ["pgbouncer", "replica", "postgres"])
def test_whichever_of_them_is_killed_a_bet_is_placed_once_and_no_version_goes_back(
    own: OwnPlatform, http: httpx.Client, part: str
) -> None:
    feed, player = log_in(http, "feed"), new_player(http)
    market_id, key = new_market(feed), uuid.uuid4().hex
    change_odds(feed, market_id, home="2.20")
    until(lambda: polls_reach_the_replica(own, player, market_id), "the replica does not follow")
    until(lambda: player.get(f"/odds/{market_id}").json()["odds_version"] == 2, "the replica does not follow")
    killed = own.pid(part)
    os.kill(killed, signal.SIGKILL)

    def healed() -> bool:
        answer = player.get(f"/odds/{market_id}")
        assert answer.status_code in (200, 503)
        assert answer.status_code == 503 or answer.json()["odds_version"] == 2
        running = {record.name: record.pid for record in own.instance.parts}
        return running.get(part, killed) != killed and polls_reach_the_replica(own, player, market_id)

    until(healed, f"{part} did not come back")
    until(lambda: placed(player, market_id, key), "the bet was never placed")
    assert placed(player, market_id, key)
    assert player.balance == "99.00"


def test_the_books_balance_after_it_all(own: OwnPlatform) -> None:
    ended = own.run("reconcile")
    assert ended.returncode == 0, ended.stdout + ended.stderr
