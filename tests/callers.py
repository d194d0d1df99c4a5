"""Callers of a running platform over HTTP, and a market of a test's own to bet on."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

PASSWORD = "a long enough one"
ODDS = {"home": "2.10", "draw": "3.40", "away": "3.75"}


@dataclass
class Caller:
    """Somebody with a token, or without."""

    http: httpx.Client
    token: str | None = None

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request with the caller's token."""
        headers = dict(request.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return self.http.request(method, path, headers=headers, **request)

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.send("GET", path, **request)

    def post(self, path: str, json: object = None, **request: Any) -> httpx.Response:
        return self.send("POST", path, **({"json": json} if json is not None else {}), **request)

    def place(self, market_id: str, **changes: object) -> httpx.Response:
        """Place 1.00 on home at the first odds, but for `changes`; None leaves a field out."""
        bet: dict[str, object] = {
            "market_id": market_id,
            "selection_id": "home",
            "odds": ODDS["home"],
            "odds_version": 1,
            "stake": "1.00",
            "idempotency_key": uuid.uuid4().hex,
        }
        bet.update(changes)
        return self.post("/bets", {name: value for name, value in bet.items() if value is not None})

    @property
    def balance(self) -> str:
        """What `GET /account/balance` says."""
        return str(self.get("/account/balance").json()["balance"])


def log_in(http: httpx.Client, username: str, password: str = "demo") -> Caller:
    """Return a caller who is logged in."""
    answer = http.post("/auth/login", json={"username": username, "password": password})
    assert answer.status_code == 200, answer.text
    return Caller(http, answer.json()["token"])


def new_player(http: httpx.Client, amount: str = "100.00", username: str = "") -> Caller:
    """Return a player with an account of his own and `amount` in it."""
    username = username or f"p{uuid.uuid4().hex[:12]}"
    answer = http.post("/auth/register", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    player = Caller(http, answer.json()["token"])
    deposit = player.post("/account/deposits", {"amount": amount, "idempotency_key": "first"})
    assert deposit.status_code == 201, deposit.text
    return player


def feed_message(kind: str, **fields: object) -> dict[str, object]:
    """Return a feed message with an id of its own."""
    at = datetime.now(UTC).isoformat()
    return {"kind": kind, "message_id": uuid.uuid4().hex, "occurred_at": at, **fields}


def new_market(feed: Caller, odds: Mapping[str, str] = ODDS, **fields: object) -> str:
    """Return the id of a fresh live market at version 1."""
    event_id = f"e{uuid.uuid4().hex[:12]}"
    market_id = f"{event_id}:match-odds"
    selections = [{"selection_id": key, "name": key.title(), "odds": price} for key, price in odds.items()]
    messages = [
        feed_message("fixture_change", event_id=event_id, name="A v B", sport="soccer", status="live"),
        feed_message("odds_change", event_id=event_id, market_id=market_id, selections=selections, **fields),
    ]
    answer = feed.post("/feed/messages", messages)
    assert answer.json() == {"applied": 2, "ignored": 0}, answer.text
    return market_id


def change_odds(feed: Caller, market_id: str, **fields: object) -> None:
    """Send an odds change for a market of `new_market`; keywords `home`, `draw`, `away` are prices."""
    prices = [{"selection_id": key, "odds": fields.pop(key)} for key in tuple(ODDS) if key in fields]
    event_id = market_id.partition(":")[0]
    message = feed_message("odds_change", event_id=event_id, market_id=market_id, selections=prices, **fields)
    assert feed.post("/feed/messages", [message]).json() == {"applied": 1, "ignored": 0}
