"""The ladder's switches as a client meets them: what each changes, and that without it nothing does."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.callers import Caller, change_odds, log_in, new_market, new_player
from tests.platforms import OwnPlatform

SWITCHES = {"odds_cache": "redis", "odds_etag": "true", "odds_tolerance_pct": "2.5", "idempotency": "required"}


@pytest.fixture(scope="module")
def laddered(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform with the switches on."""
    own = OwnPlatform(servers_dir / "ladder", settings=SWITCHES)
    own.up()
    yield own
    own.remove()


@pytest.fixture(scope="module")
def http(laddered: OwnPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=laddered.address, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def feed(http: httpx.Client) -> Caller:
    return log_in(http, "feed")


@pytest.fixture
def player(http: httpx.Client) -> Caller:
    return new_player(http)


@pytest.fixture(scope="module")
def plain(poll_platform: OwnPlatform) -> Iterator[httpx.Client]:
    """A client of a platform with every switch off."""
    with httpx.Client(base_url=poll_platform.address, timeout=20) as client:
        yield client


def polled(caller: Caller, market_id: str, tag: str | None = None) -> httpx.Response:
    return caller.get(f"/odds/{market_id}", headers={} if tag is None else {"If-None-Match": tag})


def test_a_poll_that_names_what_stands_is_answered_304_without_a_body(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    first = polled(player, market_id)
    tag = first.headers["etag"]
    assert tag.startswith('W/"1-')
    assert first.headers["cache-control"] == "private, no-cache"
    for named in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = polled(player, market_id, named)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == "private, no-cache"
    for named in ('"1"', '"other"', tag[3:-1], ""):
        assert polled(player, market_id, named).json() == first.json()


def test_whatever_changes_in_a_market_changes_its_tag(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    tags = [polled(player, market_id).headers["etag"]]
    # A new name or delay is no new version, and still another answer.
    for change in ({"home": "2.20"}, {"name": "Winner"}, {"bet_delay_ms": 3_000}, {"status": "suspended"}):
        change_odds(feed, market_id, **change)
        answer = polled(player, market_id, tags[-1])
        assert answer.status_code == 200
        tags.append(answer.headers["etag"])
    assert len(set(tags)) == 5
    assert [tag.partition("-")[0] for tag in tags] == [f'W/"{version}' for version in (1, 2, 2, 2, 3)]


def test_only_polls_of_a_market_can_be_kept(player: Caller) -> None:
    for path in ("/odds", "/events", "/account", "/bets"):
        answer = player.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers


def test_without_the_switch_there_is_no_tag(plain: httpx.Client) -> None:
    market_id, player = new_market(log_in(plain, "feed")), new_player(plain)
    answer = polled(player, market_id, "*")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "etag" not in answer.headers


def test_a_bet_on_odds_that_moved_a_little_is_honoured_and_on_odds_that_moved_more_refused(
    feed: Caller, player: Caller
) -> None:
    market_id = new_market(feed, {"home": "2.00", "draw": "3.40"})
    change_odds(feed, market_id, home="1.95")
    taken = player.place(market_id, odds="2.00")
    assert taken.status_code == 201
    assert (taken.json()["odds"], taken.json()["odds_version"]) == ("2.00", 1)
    change_odds(feed, market_id, home="1.949")
    assert player.place(market_id, odds="2.00").json()["code"] == "ODDS_CHANGED"


def test_without_the_switch_a_bet_on_odds_that_moved_at_all_is_refused(plain: httpx.Client) -> None:
    feed, player = log_in(plain, "feed"), new_player(plain)
    market_id = new_market(feed)
    change_odds(feed, market_id, home="2.099")
    assert player.place(market_id).json()["code"] == "ODDS_CHANGED"


def counted(own: OwnPlatform, name: str) -> float:
    """What the pods have counted under `name`, all together."""
    lines = [
        line
        for part in own.instance.parts
        if part.name.startswith("pod")
        for line in httpx.get(f"http://127.0.0.1:{part.port}/metrics").text.splitlines()
    ]
    values = [float(line.split()[1]) for line in lines if line.split()[0] == name]
    assert values, name
    return sum(values)


def test_polls_are_answered_by_the_cache_and_each_change_is_seen_at_once(
    laddered: OwnPlatform, feed: Caller, player: Caller
) -> None:
    market_id = new_market(feed)
    hits = counted(laddered, "touchline_odds_cache_hits_total")
    for version in range(2, 12):
        change_odds(feed, market_id, home=f"2.{version}")
        for _ in range(4):  # the balancer sends them to one pod and the other
            assert polled(player, market_id).json()["odds_version"] == version
    assert counted(laddered, "touchline_odds_cache_hits_total") == hits + 40


def test_without_the_switch_no_poll_is_answered_by_a_cache(
    poll_platform: OwnPlatform, plain: httpx.Client
) -> None:
    market_id, player = new_market(log_in(plain, "feed")), new_player(plain)
    assert polled(player, market_id).status_code == 200
    port = next(part.port for part in poll_platform.instance.parts if part.name == "pod-1")
    assert "touchline_odds_cache" not in httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_a_bet_without_a_key_is_refused_and_with_one_it_is_one_bet(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    refused = player.place(market_id, idempotency_key=None)
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (
        400,
        "MALFORMED",
        "idempotency_key",
    )
    first, again = (player.place(market_id, idempotency_key="k") for _ in range(2))
    assert first.json() == again.json()
    assert "idempotent-replay" not in first.headers
    assert again.headers["idempotent-replay"] == "true"
    assert player.balance == "99.00"


def test_without_the_switch_a_bet_needs_no_key(plain: httpx.Client) -> None:
    market_id, player = new_market(log_in(plain, "feed")), new_player(plain)
    for _ in range(2):
        assert player.place(market_id, idempotency_key=None).status_code == 201
    assert player.balance == "98.00"
