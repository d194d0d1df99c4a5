"""A feed of the lab's own: live events with one market each, whose prices move at a rate that the scenario sets.

Invariant: every message changes what a bettor sees, so that changes a second are versions a second.
"""

import asyncio
import heapq
import uuid
from collections.abc import Sequence
from random import Random
from typing import Any, Final

import msgspec

from touchline.lab.bettors import Player
from touchline.lab.clock import monotonic_s, utc_now
from touchline.lab.http_client import Exchange, HttpClient

OPENING: Final = {"home": 210, "draw": 340, "away": 375}  # odds in hundredths
STEP_MAX: Final = 10
LOWEST: Final = 110
HIGHEST: Final = 1_500
GATHER_S: Final = 0.02  # changes that are due within it go out in one request
MESSAGES_MAX: Final = 500  # of one request
TRIES_MAX: Final = 240  # a minute of the platform's being away
RETRY_S: Final = 0.25
TIMEOUT_S: Final = 10.0
CONNECTIONS_MAX: Final = 4
WAITING_MAX: Final = 100


class FeedRefused(Exception):
    """The platform does not take what the feed says."""


class MarketMaker:
    """The feed of the platform at `address`; `feeder` is an account of the role feed."""

    def __init__(self, address: str, feeder: Player, seed: str) -> None:
        self._client = _client(address)
        self._feeder = feeder
        self._chance = Random(f"{seed}:market maker")
        self._odds: dict[str, dict[str, int]] = {}
        self.changes = 0

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def move_to(self, address: str) -> None:
        """Feed the platform where it is now."""
        await self._client.close()
        self._client = _client(address)

    async def open_markets(self, count: int) -> list[str]:
        """Make `count` live events with a market each, and return the markets' ids.

        Raises:
            FeedRefused: the platform does not take them.
        """
        messages, markets = list[dict[str, Any]](), list[str]()
        for number in range(count):
            event_id = f"lab-{uuid.uuid4().hex[:12]}"
            market_id = f"{event_id}:match-odds"
            self._odds[market_id] = dict(OPENING)
            markets.append(market_id)
            name = f"Lab {number + 1} v Field {number + 1}"
            messages.append(message("fixture_change", event_id, name=name, sport="soccer", status="live"))
            messages.append(self._change(market_id))
        for first in range(0, len(messages), MESSAGES_MAX):
            await self._send(messages[first : first + MESSAGES_MAX])
        return markets

    async def move(self, markets: Sequence[str], changes_per_s: float, ends_s: float) -> None:
        """Change each market's prices `changes_per_s` times a second on the average (a Poisson process).

        Raises:
            FeedRefused: the platform does not take a change.
        """
        if changes_per_s <= 0:
            return
        now = monotonic_s()
        due = [(now + self._chance.expovariate(changes_per_s), market_id) for market_id in markets]
        heapq.heapify(due)
        while due[0][0] < ends_s:
            await asyncio.sleep(max(GATHER_S, due[0][0] - monotonic_s()))
            now = monotonic_s()
            messages: list[dict[str, Any]] = []
            while due[0][0] <= now and len(messages) < MESSAGES_MAX:
                at_s, market_id = due[0]
                heapq.heapreplace(due, (at_s + self._chance.expovariate(changes_per_s), market_id))
                self._walk(self._odds[market_id])
                messages.append(self._change(market_id))
            if messages:
                await self._send(messages)
                self.changes += len(messages)

    async def settle(self, market_id: str, winner: str) -> None:
        """Say who won.

        Raises:
            FeedRefused: the platform does not take it.
        """
        results = {name: "won" if name == winner else "lost" for name in self._odds[market_id]}
        event_id = market_id.partition(":")[0]
        await self._send([message("bet_settlement", event_id, market_id=market_id, results=results)])

    def _walk(self, odds: dict[str, int]) -> None:
        """Move one price, by a step that never is none."""
        name = self._chance.choice(list(odds))
        step = self._chance.choice((-1, 1)) * self._chance.randint(1, STEP_MAX)
        moved = odds[name] + step
        odds[name] = moved if LOWEST <= moved <= HIGHEST else odds[name] - step

    def _change(self, market_id: str) -> dict[str, Any]:
        selections = [
            {"selection_id": name, "name": name.title(), "odds": f"{odds // 100}.{odds % 100:02}"}
            for name, odds in self._odds[market_id].items()
        ]
        event_id = market_id.partition(":")[0]
        return message("odds_change", event_id, market_id=market_id, selections=selections)

    async def _send(self, messages: Sequence[dict[str, Any]]) -> None:
        """Send messages, again while the platform is away: each is applied once."""
        body = msgspec.json.encode(messages)
        request = self._client.request("POST", "/feed/messages", self._feeder.token, body)
        for _ in range(TRIES_MAX):
            exchange = await self._client.ask(request)
            if exchange.status == 200:
                return
            if exchange.status is not None and exchange.status < 500:
                break
            await asyncio.sleep(RETRY_S)
        raise FeedRefused(f"the feed was refused: {_said(exchange)}")


def _client(address: str) -> HttpClient:
    return HttpClient(address, connections_max=CONNECTIONS_MAX, waiting_max=WAITING_MAX, timeout_s=TIMEOUT_S)


def message(kind: str, event_id: str, **fields: object) -> dict[str, Any]:
    """Return a feed message with an id of its own."""
    at = utc_now().isoformat()
    return {"kind": kind, "message_id": uuid.uuid4().hex, "occurred_at": at, "event_id": event_id, **fields}


def _said(exchange: Exchange) -> str:
    return f"{exchange.status or exchange.lost} {exchange.body[:300].decode(errors='replace')}"
