"""What a trader, the feed and the cashier do for a run: markets, players with money, settlement to the end.

Invariant: it goes through the platform's own front door, by the accounts of its demo mode.
"""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec

from touchline.lab.clock import monotonic_s, utc_now
from touchline.lab.slips import Bettor, Offer

TIMEOUT_S: Final = 30.0
AT_ONCE: Final = 8  # accounts opened at once: each costs the platform a password hash
POLL_S: Final = 0.02
RETRY_S: Final = 0.2
DEMO_PASSWORD: Final = "demo"  # noqa: S105  # published, of accounts that only demo mode has
PASSWORD: Final = "as long as a run lasts"  # noqa: S105  # of accounts that nobody uses after it
ODDS: Final = {"home": "2.10", "draw": "3.40", "away": "3.75"}


class DeskRefused(Exception):
    """The platform did not do what a run needs of it."""


class Desk:
    """Trader, feed and cashier of the platform at `address`."""

    def __init__(self, address: str) -> None:
        self._http = httpx.AsyncClient(base_url=address, timeout=TIMEOUT_S, trust_env=False)
        self._tokens: dict[str, str] = {}

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def open_market(self) -> Offer:
        """Make a live event with one market at version 1; return its first selection's price.

        Raises:
            DeskRefused: the platform did not take it.
        """
        event_id = f"lab-{uuid.uuid4().hex[:12]}"
        market_id = f"{event_id}:match-odds"
        selections = [{"selection_id": key, "name": key.title(), "odds": odds} for key, odds in ODDS.items()]
        await self._feed("fixture_change", event_id, name="Lab v Field", sport="soccer", status="live")
        await self._feed("odds_change", event_id, market_id=market_id, selections=selections)
        return Offer(market_id, "home", ODDS["home"], 1)

    async def open_bettors(self, users: range, amount: str) -> list[Bettor]:
        """Register a player for each number of `users`, with `amount` in his wallet.

        Raises:
            DeskRefused: the platform did not take one.
        """
        room = asyncio.Semaphore(AT_ONCE)

        async def open_one(user: int) -> Bettor:
            async with room:
                asked = {"username": f"u{uuid.uuid4().hex[:14]}", "password": PASSWORD}
                account = await self._call("POST", "/auth/register", asked, token="")
                deposit = {"amount": amount, "idempotency_key": "first"}
                await self._call("POST", "/account/deposits", deposit, token=account["token"])
                return Bettor(user, account["player_id"], account["token"])

        return list(await asyncio.gather(*map(open_one, users)))

    async def settle(self, market_id: str, results: Mapping[str, str]) -> None:
        """Request a settlement.

        Raises:
            DeskRefused: the platform did not take it.
        """
        body = {"results": results}
        await self._call("POST", f"/trading/markets/{market_id}/settle", body, role="trader")

    async def bets_settled(self, market_id: str) -> tuple[int, int, bool]:
        """Return how many bets of how many a market's newest settlement has worked, and whether it is finished.

        Raises:
            DeskRefused: the platform does not tell.
        """
        found = await self._call("GET", f"/trading/markets/{market_id}/settlement", role="trader")
        newest = found["settlements"][0]
        return newest["bets_done"], newest["bets_total"], newest["finished_at"] is not None

    async def until_settled(self, market_id: str, bets: int | None, within_s: float) -> int:
        """Wait until so many bets are worked, all where `bets` is None; return how many are.

        Raises:
            DeskRefused: they were not in `within_s`.
        """
        until_s = monotonic_s() + within_s
        done = 0
        while monotonic_s() < until_s:
            done, _, finished = await self.bets_settled(market_id)
            if finished or (bets is not None and done >= bets):
                return done
            await asyncio.sleep(POLL_S)
        raise DeskRefused(f"settlement of {market_id} did not come on in {within_s:g} s: {done} bets worked")

    async def token(self, role: str) -> str:
        """Return a token of a demo account's.

        Raises:
            DeskRefused: the platform gives none.
        """
        return await self._token(role)

    async def _feed(self, kind: str, event_id: str, **fields: object) -> None:
        message = {"kind": kind, "message_id": uuid.uuid4().hex, "occurred_at": utc_now(), "event_id": event_id}
        await self._call("POST", "/feed/messages", [message | fields], role="feed")

    async def _call(self, method: str, path: str, body: object = None, *, role: str = "", token: str = "") -> Any:
        """Call, again and again while the platform is away.

        Raises:
            DeskRefused: it refused, or stayed away for `TIMEOUT_S`.
        """
        until_s = monotonic_s() + TIMEOUT_S
        while True:
            if role:
                token = await self._token(role)
            content = None if body is None else msgspec.json.encode(body)
            headers = {"Content-Type": "application/json"} | (
                {"Authorization": f"Bearer {token}"} if token else {}
            )
            try:
                answer = await self._http.request(method, path, content=content, headers=headers)
                if answer.is_success:
                    return msgspec.json.decode(answer.content)
                why = f"{answer.status_code} {answer.text[:300]}"
                if answer.status_code < 500:
                    raise DeskRefused(f"{method} {path}: {why}")
            except httpx.TransportError as failed:
                why = repr(failed)
            if monotonic_s() > until_s:
                raise DeskRefused(f"{method} {path}: {why}")
            await asyncio.sleep(RETRY_S)

    async def _token(self, role: str) -> str:
        if role not in self._tokens:
            asked = {"username": role, "password": DEMO_PASSWORD}
            self._tokens[role] = (await self._call("POST", "/auth/login", asked))["token"]
        return self._tokens[role]
