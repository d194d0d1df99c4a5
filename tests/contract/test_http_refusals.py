"""Every refusal of docs/api.md, with its code and in its order, by a table, against a running platform."""

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from tests.callers import PASSWORD, Caller, change_odds, feed_message, log_in, new_market, new_player
from tests.platforms import OwnPlatform
from touchline.core.errors import Code
from touchline.wire.problems_v1 import STATUS_OF_CODE


class World:
    """A running platform with the callers that tests share; what a test bets with is its own."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.nobody = Caller(http)
        self.trader = log_in(http, "trader")
        self.feed = log_in(http, "feed")

    def player(self, amount: str = "100.00") -> Caller:
        return new_player(self.http, amount)

    def market(self) -> str:
        return new_market(self.feed)


@pytest.fixture(scope="module")
def world(platform: OwnPlatform) -> Iterator[World]:
    with httpx.Client(base_url=platform.address, timeout=20) as http:
        yield World(http)


def assert_refused(answer: httpx.Response, code: Code, **carries: object) -> None:
    """Check a problem document (RFC 9457), and that nothing of the server's inside is in it."""
    assert answer.status_code == STATUS_OF_CODE[code], answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["code"] == code.value
    assert document["status"] == answer.status_code
    assert {"type", "title", "detail"} <= document.keys()
    for name, value in carries.items():
        assert document[name] == value, document
    for inside in ("Traceback", "SELECT ", "asyncpg", "/src/", "psql"):
        assert inside not in answer.text


def excluded(world: World) -> httpx.Response:
    player = world.player()
    assert player.post("/account/self-exclusion", {"months": 1}).status_code == 200
    # It holds before everything that is said of the market and the stake.
    return player.place("no-such-market", stake="1000000")


def locked(world: World) -> httpx.Response:
    name = f"p{uuid.uuid4().hex[:12]}"
    player = new_player(world.http, username=name)
    for _ in range(3):
        world.nobody.post("/auth/login", {"username": name, "password": "wrong password"})
    return player.place("no-such-market", stake="1000000")


def conflict(world: World) -> httpx.Response:
    player, market = world.player(), world.market()
    assert player.place(market, idempotency_key="k").status_code == 201
    return player.place("no-such-market", idempotency_key="k", stake="1000000")


def closed(world: World) -> httpx.Response:
    market = world.market()
    world.trader.post(f"/trading/markets/{market}/void")
    return world.player().place(market, odds="9.99", stake="1000000")


def suspended(world: World) -> httpx.Response:
    market = world.market()
    world.trader.post(f"/trading/markets/{market}/suspend")
    late = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    return world.player().place(market, odds="9.99", stake="1000000", valid_until=late)


def expired(world: World) -> httpx.Response:
    late = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    return world.player().place(world.market(), odds="9.99", stake="1000000", valid_until=late)


def limited(world: World) -> httpx.Response:
    player = world.player("10.00")
    assert player.send("PUT", "/account/limits", json={"stake": {"day": "5.00"}}).status_code == 200
    return player.place(world.market(), stake="5.01")


def exposed(world: World) -> httpx.Response:
    market = new_market(world.feed, {"home": "2.10", "long": "10000"})
    return world.player("5.00").place(market, selection_id="long", odds="10000", stake="5000.00")


REFUSED: dict[Code, Callable[[World], httpx.Response]] = {
    Code.UNAUTHENTICATED: lambda world: world.nobody.post("/bets", {"stake": "not a bet at all"}),
    Code.FORBIDDEN: lambda world: world.trader.post("/bets", {"stake": "not a bet at all"}),
    Code.MALFORMED: lambda world: world.player().place("no-such-market", stake="-1"),
    Code.IDEMPOTENCY_CONFLICT: conflict,
    Code.SELF_EXCLUDED: excluded,
    Code.ACCOUNT_LOCKED: locked,
    Code.MARKET_NOT_FOUND: lambda world: world.player().place("no-such-market", stake="1000000"),
    Code.SELECTION_NOT_FOUND: lambda world: world.player().place(
        world.market(), selection_id="nobody", stake="1000000"
    ),
    Code.MARKET_CLOSED: closed,
    Code.MARKET_SUSPENDED: suspended,
    Code.BET_EXPIRED: expired,
    Code.ODDS_CHANGED: lambda world: world.player().place(world.market(), odds="2.11", stake="1000000"),
    Code.STAKE_OUT_OF_RANGE: lambda world: world.player().place(world.market(), stake="1000000"),
    Code.LIMIT_EXCEEDED: limited,
    Code.EXPOSURE_EXCEEDED: exposed,
    Code.INSUFFICIENT_BALANCE: lambda world: world.player("1.00").place(world.market(), stake="1.01"),
    Code.NOT_FOUND: lambda world: world.player().get(f"/bets/{uuid.uuid4()}"),
    Code.METHOD_NOT_ALLOWED: lambda world: world.nobody.send("DELETE", "/bets"),
}


@pytest.mark.parametrize("code", REFUSED, ids=lambda code: code.value)
def test_a_refusal_has_its_code_and_stands_before_those_that_follow(world: World, code: Code) -> None:
    assert_refused(REFUSED[code](world), code)


def test_every_code_that_v0_can_answer_is_in_the_table() -> None:
    elsewhere = {
        Code.RATE_LIMITED,  # below: it takes eleven bets
        Code.JURISDICTION_REFUSED,  # V3's
        Code.UNAVAILABLE,  # test_outages.py
        Code.INTERNAL,  # a bug
    }
    assert set(REFUSED) == set(Code) - elsewhere


def test_the_eleventh_bet_in_a_minute_waits_and_a_retry_does_not(world: World) -> None:
    player, market = world.player(), world.market()
    for number in range(10):
        assert player.place(market, idempotency_key=f"k{number}").status_code == 201
    refused = player.place("no-such-market", idempotency_key="k10")
    assert_refused(refused, Code.RATE_LIMITED)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["retry_after_s"] == int(refused.headers["retry-after"])
    again = player.place(market, idempotency_key="k9")
    assert again.status_code == 201
    assert again.headers["idempotent-replay"] == "true"


def test_refused_bets_do_not_count_against_the_rate(world: World) -> None:
    player, market = world.player(), world.market()
    for _ in range(15):
        assert_refused(player.place(market, odds_version=2), Code.ODDS_CHANGED)
    assert player.place(market).status_code == 201


def test_changed_odds_carry_what_a_re_offer_needs(world: World) -> None:
    player, market = world.player(), world.market()
    change_odds(world.feed, market, home="1.95")
    refused = player.place(market)
    assert_refused(refused, Code.ODDS_CHANGED, current_odds="1.95", current_odds_version=2)
    taken = player.place(market, odds=refused.json()["current_odds"], odds_version=2)
    assert taken.status_code == 201
    assert taken.json()["odds"] == "1.95"


def test_refusals_carry_their_bounds(world: World) -> None:
    player, market = world.player(), world.market()
    assert_refused(player.place(market, stake="0.09"), Code.STAKE_OUT_OF_RANGE, min="0.10", max="10000.00")
    player.send("PUT", "/account/limits", json={"stake": {"day": "5.00"}})
    player.place(market, stake="2.00")
    refused = player.place(market, stake="3.01")
    assert_refused(refused, Code.LIMIT_EXCEEDED, limit="stake", period="day", left="3.00")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stake", "0"),
        ("stake", 0),
        ("stake", -1),
        ("stake", "1.001"),
        ("stake", "1e2"),
        ("stake", "1" * 40),
        ("stake", "0." + "1" * 40),
        ("stake", " 1"),
        ("stake", "NaN"),
        ("stake", True),
        ("stake", None),
        ("stake", ["1"]),
        ("odds", "1"),
        ("odds", "1.0001"),
        ("odds", "10000.001"),
        ("odds", -2),
        ("odds_version", 0),
        ("odds_version", 2**31),
        ("odds_version", 1.5),
        ("odds_version", "1"),
        ("market_id", ""),
        ("market_id", "a b"),
        ("market_id", "x" * 129),
        ("market_id", 7),
        ("selection_id", "\u0000"),
        ("idempotency_key", ""),
        ("idempotency_key", "k" * 129),
        ("idempotency_key", "é"),
        ("accept", "worse"),
        ("valid_until", "2026-01-01T00:00:00"),
        ("valid_until", "tomorrow"),
        ("valid_until", "0001-01-01T00:00:00+14:00"),
        ("colour", "red"),
    ],
)
def test_a_malformed_field_is_named_and_nothing_is_recorded(world: World, field: str, value: object) -> None:
    player = world.player()
    bet = {"market_id": world.market(), "selection_id": "home", "odds": "2.10", "odds_version": 1, "stake": "1.00"}
    answer = player.post("/bets", {**bet, field: value})
    assert_refused(answer, Code.MALFORMED)
    assert answer.json()["field"] == field, answer.text
    assert player.get("/bets").json()["bets"] == []
    assert player.balance == "100.00"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"bet"',
        b'{"stake": NaN}',
        b'{"stake": Infinity}',
        b"\xff\xfe",
        b"[" * 16_000,
        b'{"market_id": "' + b"x" * 20_000 + b'"}',
        b'{"market_id": "\\ud800"}',
        b"stake=1&odds=2",
    ],
    ids=lambda content: repr(content[:16]),
)
def test_a_body_that_is_no_bet_is_malformed(world: World, content: bytes) -> None:
    player = world.player()
    answer = player.post("/bets", content=content, headers={"Content-Type": "application/json"})
    assert_refused(answer, Code.MALFORMED)


def test_a_foreign_content_type_is_malformed(world: World) -> None:
    answer = world.player().post("/bets", content=b"stake=1", headers={"Content-Type": "text/plain"})
    assert_refused(answer, Code.MALFORMED, field="Content-Type")


def test_a_message_of_the_future_is_refused_with_all_of_its_request(world: World) -> None:
    player, market = world.player(), world.market()
    event_id = market.partition(":")[0]
    prices = [{"selection_id": "home", "odds": "9.00"}]
    message = feed_message("odds_change", event_id=event_id, market_id=market, selections=prices)
    for ahead in (timedelta(hours=25), timedelta(days=900)):
        at = (datetime.now(UTC) + ahead).isoformat()
        stop = feed_message("bet_stop", event_id=event_id, market_id=market) | {"occurred_at": at}
        answer = world.feed.post("/feed/messages", [message, stop])
        assert_refused(answer, Code.MALFORMED, field="occurred_at", message=2)
        assert player.get(f"/odds/{market}").json()["odds_version"] == 1
    soon = {"occurred_at": (datetime.now(UTC) + timedelta(hours=23)).isoformat()}
    long_ago = feed_message("alive") | {"occurred_at": "2012-03-01T12:00:00Z"}
    answer = world.feed.post("/feed/messages", [message | soon, long_ago])
    assert answer.json() == {"applied": 1, "ignored": 1}, answer.text


def test_a_body_beyond_the_maximum_is_refused_before_it_is_read_whole(world: World) -> None:
    body = b" " * (1024 * 1024 + 1)
    answer = world.feed.post("/feed/messages", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413)  # the balancer's maximum is the same, and its answer 413
    assert answer.json()["code"] == Code.MALFORMED.value


@pytest.mark.parametrize("size", [17_000, 200_000])
def test_headers_beyond_the_maximum_are_refused(world: World, size: int) -> None:
    answer = world.player().get("/account", headers={"X-Long": "x" * size})
    assert_refused(answer, Code.MALFORMED)


def test_a_connection_serves_on_after_a_body_beyond_the_maximum(world: World) -> None:
    for _ in range(3):
        answer = world.feed.post(
            "/feed/messages", content=b" " * 3_000_000, headers={"Content-Type": "application/json"}
        )
        assert_refused(answer, Code.MALFORMED)
        assert world.feed.get("/health/live").status_code == 200


def test_who_cuts_off_in_mid_body_puts_no_pod_out(world: World, platform: OwnPlatform) -> None:
    address = urlsplit(platform.address)
    for _ in range(12):
        with socket.create_connection((address.hostname, address.port)) as cut:
            head = f"POST /bets HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {world.feed.token}\r\n"
            cut.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{".encode())
        assert world.nobody.get("/health/live").status_code == 200


@pytest.mark.parametrize("path", ["/odds/%00", "/events/%00", "/odds/%ff", "/odds/a%00b"])
def test_an_id_that_no_store_can_hold_is_not_found(world: World, path: str) -> None:
    answer = world.feed.get(path)
    assert_refused(answer, Code.MARKET_NOT_FOUND if path.startswith("/odds") else Code.NOT_FOUND)


def test_a_trader_who_names_such_a_market_is_told_so(world: World) -> None:
    assert_refused(world.trader.post("/trading/markets/%00/suspend"), Code.MARKET_NOT_FOUND)
    assert_refused(world.trader.get("/trading/markets/%00/settlement"), Code.MARKET_NOT_FOUND)


def test_a_method_of_nobodys_making_is_not_allowed(world: World) -> None:
    assert_refused(world.nobody.send("BREW", "/bets"), Code.METHOD_NOT_ALLOWED)


def test_head_is_answered_as_get_is_without_a_body(world: World) -> None:
    market = f"/odds/{world.market()}"
    head, got = world.feed.send("HEAD", market), world.feed.get(market)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert world.nobody.send("HEAD", market).status_code == 401
    assert world.nobody.send("DELETE", "/account").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "cursor=x", "status=OPEN", "colour=red", "limit=1&limit=2"]
)
def test_a_malformed_query_is_refused(world: World, query: str) -> None:
    assert_refused(world.player().get(f"/bets?{query}"), Code.MALFORMED)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer x.y.z", "Basic YWxpY2U6ZGVtbw==", "Bearer " + "x" * 2_000],
)
def test_a_token_that_is_none_is_unauthenticated(world: World, authorization: str) -> None:
    answer = world.nobody.get("/account", headers={"Authorization": authorization})
    assert_refused(answer, Code.UNAUTHENTICATED)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_three_wrong_passwords_lock_the_account_for_a_while(world: World) -> None:
    name = f"p{uuid.uuid4().hex[:12]}"
    new_player(world.http, username=name)
    wrong = {"username": name, "password": "wrong password"}
    for _ in range(3):
        assert_refused(world.nobody.post("/auth/login", wrong), Code.UNAUTHENTICATED)
    for password in (PASSWORD, "wrong password"):
        refused = world.nobody.post("/auth/login", {"username": name, "password": password})
        assert_refused(refused, Code.ACCOUNT_LOCKED)
        assert int(refused.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("username", "password", "field"),
    [
        ("al", PASSWORD, "username"),
        ("a b c", PASSWORD, "username"),
        ("x" * 65, PASSWORD, "username"),
        ("alice", PASSWORD, "username"),
        ("ALICE", PASSWORD, "username"),
        ("somebody", "short", "password"),
        ("somebody", "x" * 257, "password"),
    ],
)
def test_an_account_that_cannot_be_opened_says_why(world: World, username: str, password: str, field: str) -> None:
    answer = world.nobody.post("/auth/register", {"username": username, "password": password})
    assert_refused(answer, Code.MALFORMED, field=field)


@pytest.mark.parametrize("number_of_sessions", [2])
def test_logging_out_ends_one_session_on_every_pod(world: World, number_of_sessions: int) -> None:
    name = f"p{uuid.uuid4().hex[:12]}"
    new_player(world.http, username=name)
    first, second = (log_in(world.http, name, PASSWORD) for _ in range(number_of_sessions))
    assert first.post("/auth/logout").status_code == 204
    until = time.monotonic() + 5  # the other pod is told by NOTIFY
    answers: list[int] = []
    while time.monotonic() < until and answers[-4:] != [401] * 4:
        answers.append(first.get("/account").status_code)
    assert answers[-4:] == [401] * 4
    assert second.get("/account").status_code == 200
