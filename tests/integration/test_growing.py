"""A small operator grows: books begun with `poll` are gone on with by `stream`, and never the other way round."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.callers import PASSWORD, Caller, change_odds, log_in, new_market, new_player
from tests.platforms import OwnPlatform

ROOT = Path(__file__).parents[2]
HOME_WINS = {"results": {"home": "won", "draw": "lost", "away": "lost"}}
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def own(servers_dir: Path) -> Iterator[OwnPlatform]:
    platform = OwnPlatform(servers_dir / "grown")
    yield platform
    platform.run("down")


def settle(http: httpx.Client, market_id: str) -> None:
    """Settle a market and wait until its bets are worked."""
    trader, path = log_in(http, "trader"), f"/trading/markets/{market_id}"
    asked = trader.post(f"{path}/settle", HOME_WINS)
    assert asked.status_code in (200, 202), asked.text
    while unfinished(trader.get(f"{path}/settlement").json()["settlements"]):
        pass


def unfinished(settlements: list[dict[str, object]]) -> bool:
    return any(settlement["finished_at"] is None for settlement in settlements)


def begin_with_poll(own: OwnPlatform) -> tuple[str, str]:
    """Let a player have a settled bet and an open one; returns the markets of both."""
    own.up()
    with httpx.Client(base_url=own.address, timeout=30) as http:
        feed, player = log_in(http, "feed"), new_player(http, username="grower")
        settled, still_open = new_market(feed), new_market(feed)
        for market_id in (settled, still_open):
            assert player.place(market_id).status_code == 201
        settle(http, settled)
        assert player.balance == "100.10"
    own.down()
    return settled, still_open


def test_what_poll_began_stream_settles_and_poll_never_touches_again(own: OwnPlatform) -> None:
    settled, still_open = begin_with_poll(own)
    grown = replace(own, settings={"architecture": "stream"})
    grown.up()
    verified = grown.run("rebuild", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    with httpx.Client(base_url=grown.address, timeout=30) as http:
        player, feed = log_in(http, "grower", PASSWORD), log_in(http, "feed")
        assert player.get(f"/odds/{settled}").json()["status"] == "settled"
        settle(http, still_open)
        assert player.balance == "102.20"
        roll_back_and_settle_anew(http, settled)
        assert player.balance == "102.20"
        fresh = new_market(feed)
        assert player.place(fresh).status_code == 201
        change_odds(feed, fresh, home="2.50")
    assert grown.run("reconcile").returncode == 0
    verified = grown.run("rebuild", "--verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert_a_pod_of_poll_refuses(grown)
    grown.down()

    back = own.run("up", "--detach", "--pods", "1", "--feed", "none", "--port", str(own.port))
    assert back.returncode == 2, back.stdout + back.stderr
    refusal = back.stderr.strip()
    assert len(refusal.splitlines()) == 1
    assert "--architecture stream" in refusal
    assert "--fresh" in refusal
    grown.up()
    assert grown.run("rebuild", "--verify").returncode == 0


def roll_back_and_settle_anew(http: httpx.Client, market_id: str) -> None:
    """Take back what `poll` settled."""
    trader: Caller = log_in(http, "trader")
    assert trader.post(f"/trading/markets/{market_id}/rollback").status_code in (200, 202)
    settle(http, market_id)


def assert_a_pod_of_poll_refuses(grown: OwnPlatform) -> None:
    ours = grown.instance
    environ = grown.environ | {
        "TOUCHLINE_ARCHITECTURE": "poll",
        "TOUCHLINE_POSTGRES": ours.postgres,
        "TOUCHLINE_VALKEY": ours.valkey,
        "TOUCHLINE_TOKEN_SECRET": Path(ours.token_secret_file).read_text("ascii"),
    }
    pod = [sys.executable, "-m", "touchline.cli", "role", "pod"]
    ended = subprocess.run(pod, env=environ, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "--architecture stream" in ended.stderr
