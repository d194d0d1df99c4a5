"""What a client of the platform does, from prices to paid bets, against a running platform."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import quote

import httpx
import pytest

from tests.callers import Caller, change_odds, feed_message, log_in, new_market, new_player
from tests.platforms import OwnPlatform

SETTLED_WITHIN_S = 20
HOME_WINS = {"home": "won", "draw": "lost", "away": "lost"}


@pytest.fixture(scope="module")
def http(platform: OwnPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=platform.address, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def trader(http: httpx.Client) -> Caller:
    return log_in(http, "trader")


@pytest.fixture(scope="module")
def feed(http: httpx.Client) -> Caller:
    return log_in(http, "feed")


@pytest.fixture
def player(http: httpx.Client) -> Caller:
    return new_player(http)


def until_worked(trader: Caller, market_id: str) -> dict[str, object]:
    """Return the newest settlement of a market once every settlement is finished."""
    until = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < until:
        settlements = trader.get(f"/trading/markets/{market_id}/settlement").json()["settlements"]
        if all(settlement["finished_at"] for settlement in settlements):
            return dict(settlements[0])
        time.sleep(0.02)
    raise AssertionError("the settlement was not finished in time")


def test_a_market_is_polled_as_the_contract_says(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed, name="Match odds", market_type="MATCH_ODDS", bet_delay_ms=5000)
    market = player.get(f"/odds/{market_id}").json()
    assert datetime.fromisoformat(market.pop("updated_at")).utcoffset() is not None
    assert market == {
        "market_id": market_id,
        "event_id": market_id.partition(":")[0],
        "name": "Match odds",
        "market_type": "MATCH_ODDS",
        "status": "active",
        "odds_version": 1,
        "bet_delay_ms": 5000,
        "selections": [
            {"selection_id": "home", "name": "Home", "odds": "2.10", "status": "active"},
            {"selection_id": "draw", "name": "Draw", "odds": "3.40", "status": "active"},
            {"selection_id": "away", "name": "Away", "odds": "3.75", "status": "active"},
        ],
    }
    events = player.get("/events?status=live").json()["events"]
    [event] = [event for event in events if event["event_id"] == market["event_id"]]
    assert event["name"] == "A v B"
    assert [m["market_id"] for m in event["markets"]] == [market_id]


def test_the_version_rises_by_one_with_each_change_and_not_without(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    versions = []
    for change in ({"home": "2.20"}, {"home": "2.20"}, {"status": "suspended"}, {"status": "active", "away": "4"}):
        message = feed_message(
            "odds_change",
            event_id=market_id.partition(":")[0],
            market_id=market_id,
            selections=[{"selection_id": k, "odds": v} for k, v in change.items() if k != "status"],
            **({"status": change["status"]} if "status" in change else {}),
        )
        feed.post("/feed/messages", [message])
        versions.append(player.get(f"/odds/{market_id}").json()["odds_version"])
    assert versions == [2, 2, 3, 4]


def test_a_cursor_tells_what_changed_since(feed: Caller, player: Caller) -> None:
    quiet, moving = new_market(feed), new_market(feed)
    cursor = player.get("/odds").json()["cursor"]
    change_odds(feed, moving, home="2.50")
    changes = player.get("/odds", params={"since": cursor}).json()
    changed = {market["market_id"]: market for market in changes["markets"]}
    assert changed[moving]["odds_version"] == 2
    assert quiet not in changed
    again = player.get("/odds", params={"since": changes["cursor"]}).json()
    assert all(market["odds_version"] == 2 for market in again["markets"] if market["market_id"] == moving)


def test_a_bet_is_placed_won_and_paid(feed: Caller, trader: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    placed = player.place(market_id, odds=2.10, stake=10, idempotency_key="mine")
    assert placed.status_code == 201
    bet = placed.json()
    assert {key: bet[key] for key in ("odds", "stake", "potential_payout", "status", "result", "payout")} == {
        "odds": "2.10",
        "stake": "10.00",
        "potential_payout": "21.00",
        "status": "PLACED",
        "result": None,
        "payout": None,
    }
    assert player.balance == "90.00"
    assert player.get(f"/bets/{bet['bet_id']}").json() == bet
    assert player.get("/bets/by-key/mine").json() == bet
    liability = trader.get("/trading/liability").json()["markets"]
    [market] = [market for market in liability if market["market_id"] == market_id]
    assert market["selections"] == [
        {"selection_id": "home", "name": "Home", "bets": 1, "stakes": "10.00", "liability": "11.00"}
    ]
    assert trader.post(f"/trading/markets/{market_id}/settle", {"results": HOME_WINS}).status_code == 200
    done = until_worked(trader, market_id)
    assert (done["bets_total"], done["bets_done"]) == (1, 1)
    paid = player.get(f"/bets/{bet['bet_id']}").json()
    assert (paid["status"], paid["result"], paid["payout"]) == ("SETTLED", "won", "21.00")
    assert player.balance == "111.00"
    kinds = [(t["kind"], t["amount"]) for t in player.get("/account/transactions").json()["transactions"]]
    assert kinds == [("payout", "21.00"), ("stake", "-10.00"), ("deposit", "100.00")]


def test_settling_again_changes_nothing_and_otherwise_needs_a_rollback(
    feed: Caller, trader: Caller, player: Caller
) -> None:
    market_id = new_market(feed)
    player.place(market_id)
    path = f"/trading/markets/{market_id}"
    trader.post(f"{path}/settle", {"results": HOME_WINS})
    until_worked(trader, market_id)
    again = trader.post(f"{path}/settle", {"results": HOME_WINS})
    assert len(again.json()["settlements"]) == 1
    otherwise = {"results": {"home": "lost", "draw": "won", "away": "lost"}}
    assert trader.post(f"{path}/settle", otherwise).json()["code"] == "MARKET_CLOSED"
    assert trader.post(f"{path}/rollback").status_code == 200
    until_worked(trader, market_id)
    assert player.balance == "99.00"
    trader.post(f"{path}/settle", otherwise)
    until_worked(trader, market_id)
    assert player.get("/bets").json()["bets"][0]["result"] == "lost"
    assert player.balance == "99.00"


def test_void_and_dead_heat_factors_pay_by_the_formula(feed: Caller, trader: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    player.place(market_id, stake="10.00", idempotency_key="half")
    player.place(market_id, selection_id="draw", odds="3.40", stake="10.00", idempotency_key="heat")
    player.place(market_id, selection_id="away", odds="3.75", stake="10.00", idempotency_key="void")
    results = {
        "home": {"result": "won", "void_factor": "0.5"},
        "draw": {"result": "won", "dead_heat_factor": "1/3"},
        "away": "void",
    }
    message = feed_message(
        "bet_settlement", event_id=market_id.partition(":")[0], market_id=market_id, results=results
    )
    assert feed.post("/feed/messages", [message]).json()["applied"] == 1
    assert feed.post("/feed/messages", [message]).json()["ignored"] == 1
    until_worked(trader, market_id)
    payouts = {bet["idempotency_key"]: bet["payout"] for bet in player.get("/bets").json()["bets"]}
    assert payouts == {"half": "15.50", "heat": "11.33", "void": "10.00"}
    assert player.balance == "106.83"


def test_a_rollback_of_money_that_was_taken_out_leaves_a_debt(
    feed: Caller, trader: Caller, player: Caller
) -> None:
    market_id = new_market(feed)
    player.place(market_id, stake="100.00")
    trader.post(f"/trading/markets/{market_id}/settle", {"results": HOME_WINS})
    until_worked(trader, market_id)
    withdrawal = player.post("/account/withdrawals", {"amount": "210.00", "idempotency_key": "out"})
    assert withdrawal.json()["balance"] == "0.00"
    trader.post(f"/trading/markets/{market_id}/rollback")
    until_worked(trader, market_id)
    account = player.get("/account").json()
    assert (account["balance"], account["debt"]) == ("0.00", "210.00")
    player.post("/account/deposits", {"amount": "300.00", "idempotency_key": "in"})
    account = player.get("/account").json()
    assert (account["balance"], account["debt"]) == ("90.00", "0.00")


def test_one_key_is_one_bet_however_often_it_is_sent_at_once(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    with ThreadPoolExecutor(25) as threads:
        answers = list(threads.map(lambda _: player.place(market_id, idempotency_key="once"), range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["bet_id"] for answer in answers}) == 1
    assert player.balance == "99.00"


def test_bettors_take_a_better_price_or_any_where_they_say_so(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    change_odds(feed, market_id, home="2.30")
    assert player.place(market_id).json()["code"] == "ODDS_CHANGED"
    assert player.place(market_id, accept="better").json()["odds"] == "2.30"
    change_odds(feed, market_id, home="1.90")
    assert player.place(market_id, accept="better").json()["code"] == "ODDS_CHANGED"
    assert player.place(market_id, accept="any").json()["odds"] == "1.90"


def test_a_bet_stop_for_an_event_suspends_its_markets(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    stop = feed_message("bet_stop", event_id=market_id.partition(":")[0])
    body = b'{"kind": "alive", "message_id": "a", "occurred_at": "2026-01-01T00:00:00Z"}\n'
    assert feed.post("/feed/messages", [stop]).json()["applied"] == 1
    ndjson = {"Content-Type": "application/x-ndjson"}
    assert feed.post("/feed/messages", content=body, headers=ndjson).json() == {"applied": 0, "ignored": 1}
    assert player.get(f"/odds/{market_id}").json()["status"] == "suspended"
    assert player.place(market_id).json()["code"] == "MARKET_SUSPENDED"


def test_lowering_a_limit_holds_at_once_and_raising_one_waits(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    first = player.send("PUT", "/account/limits", json={"stake": {"day": "5.00"}}).json()
    assert first["stake"]["day"]["amount"] == "5.00"
    raised = player.send("PUT", "/account/limits", json={"stake": {"day": "50.00"}}).json()
    assert raised["stake"]["day"]["amount"] == "5.00"
    assert raised["stake"]["day"]["next_amount"] == "50.00"
    assert raised["waiting"]
    assert player.place(market_id, stake="6.00").json()["code"] == "LIMIT_EXCEEDED"
    assert player.place(market_id, stake="5.00").status_code == 201


def test_self_exclusion_holds_from_the_next_bet_on_and_money_can_be_taken_out(
    http: httpx.Client, feed: Caller, player: Caller
) -> None:
    market_id = new_market(feed)
    assert player.place(market_id).status_code == 201
    assert player.post("/account/self-exclusion", {"months": 6}).status_code == 200
    for _ in range(4):  # on every pod
        assert player.place(market_id).json()["code"] == "SELF_EXCLUDED"
    deposit = player.post("/account/deposits", {"amount": "1.00", "idempotency_key": "in"})
    assert deposit.json()["code"] == "SELF_EXCLUDED"
    withdrawal = player.post("/account/withdrawals", {"amount": "99.00", "idempotency_key": "out"})
    assert withdrawal.json()["balance"] == "0.00"


def test_pages_of_bets_tell_each_bet_once(feed: Caller, player: Caller) -> None:
    market_id = new_market(feed)
    placed = [player.place(market_id).json()["bet_id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        page = player.get("/bets", params={"limit": "2", **({"cursor": cursor} if cursor else {})}).json()
        seen += [bet["bet_id"] for bet in page["bets"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == placed[::-1]


def test_nobody_sees_the_bets_of_another(http: httpx.Client, feed: Caller, player: Caller) -> None:
    bet = player.place(new_market(feed), idempotency_key="mine").json()
    other = new_player(http)
    assert other.get(f"/bets/{bet['bet_id']}").json()["code"] == "NOT_FOUND"
    assert other.get("/bets/by-key/mine").json()["code"] == "NOT_FOUND"
    assert other.get("/bets").json()["bets"] == []


def test_a_market_id_of_any_letters_that_may_name_one_is_found(feed: Caller, player: Caller) -> None:
    market_id = f"e{uuid.uuid4().hex[:8]}:1/total=2.5|x@y+z"
    message = feed_message(
        "odds_change",
        event_id="odd",
        market_id=market_id,
        selections=[{"selection_id": "over", "odds": "1.90"}],
    )
    feed.post("/feed/messages", [message])
    assert player.get(f"/odds/{quote(market_id, safe='')}").json()["market_id"] == market_id


def test_metrics_count_what_was_refused(player: Caller) -> None:
    player.place("no-such-market")
    text = player.get("/metrics").text
    assert "touchline_http_requests_total" in text
    assert "touchline_live_users" in text


def test_pages_have_a_strict_policy(player: Caller) -> None:
    for path in ("/", "/desk"):
        answer = player.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert player.get("/static/../../settings.py").json()["code"] == "NOT_FOUND"
