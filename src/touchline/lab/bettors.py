"""What a virtual bettor does: polls a market or has it pushed, bets at the odds shown, looks at the balance.

Invariants: each intention to bet has a key, and is sent again under it only as it was; a bettor never sends a
price that was not shown to it.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final

import msgspec

from touchline.lab.clock import monotonic_s, utc_now
from touchline.lab.http_client import DROPPED, REFUSED, Exchange, HttpClient
from touchline.lab.records import PRICE, BetAttempt, LineWriter
from touchline.lab.samples import Tally

ODDS: Final = "odds"
BET: Final = "bet"
BALANCE: Final = "balance"
REOFFER: Final = "reoffer"  # a bet at the price that a refusal named
RETRY: Final = "retry"  # a bet sent again under its key, the answer being lost or 503

RETRIES_MAX: Final = 3
RETRY_FIRST_S: Final = 0.5  # then twice that, and so on; or what Retry-After says
RETRY_AFTER_S_MAX: Final = 5.0
REOFFER_AFTER_S: Final = 1.0  # a person reads the new price, and clicks
WENT_BACK: Final = "VERSION_WENT_BACK"  # a later poll or push showed an older version


class Player(msgspec.Struct, frozen=True):
    """An account and a token of it; several virtual bettors may share one."""

    player_id: str
    token: str


class ShownSelection(msgspec.Struct, frozen=True):
    """A selection of a poll."""

    selection_id: str
    odds: str | None
    status: str


class ShownMarket(msgspec.Struct, frozen=True):
    """What a bettor reads of a poll or of a push."""

    odds_version: int
    status: str
    selections: list[ShownSelection]
    market_id: str = ""
    updated_at: datetime | None = None


class Problem(msgspec.Struct, frozen=True):
    """What a bettor reads of a refusal."""

    code: str = ""
    current_odds: str | None = None
    current_odds_version: int | None = None
    retry_after_s: float | None = None


_market: Final = msgspec.json.Decoder(ShownMarket)
_problem: Final = msgspec.json.Decoder(Problem)
NO_PROBLEM: Final = Problem()


def problem_of(exchange: Exchange) -> Problem:
    """Return the refusal of an answer; one without a code where its body is none."""
    try:
        return _problem.decode(exchange.body)
    except msgspec.DecodeError:
        return NO_PROBLEM


@dataclass
class Trade:
    """What all bettors of a process share: the way out, where it is counted, and how they bet."""

    client: HttpClient
    tally: Tally
    history: LineWriter
    run_began_s: float
    ends_s: float  # after it nothing is sent; it may be put forward
    keys: str  # what the keys of its bets begin with
    stake: str = "1.00"
    accept: str = "none"


@dataclass(frozen=True)
class Intention:
    """A bet that a bettor means to place, and when."""

    market_id: str
    selection_id: str
    odds: str
    odds_version: int
    key: str


class Bettor:
    """A virtual bettor who watches one market; `shown` is its odds as the lobby showed them, or None."""

    def __init__(
        self, trade: Trade, number: int, player: Player, market_id: str, shown: ShownMarket | None, seed: str
    ) -> None:
        self._trade = trade
        self._number = number
        self._player = player
        self._market_id = market_id
        self._shown = shown
        self._shown_s = 0.0
        self._etag: bytes | None = None
        self._chance = Random(f"{seed}:{number}")
        self._name = f"{trade.keys}-{number}"
        self._bets = 0
        client = trade.client
        self._path = f"/odds/{market_id}"
        self._poll = client.request("GET", self._path, player.token)
        self._look = client.request("GET", "/account/balance", player.token)

    async def poll(self, due_s: float) -> None:
        """Ask for the market's odds."""
        exchange = await self._ask(ODDS, due_s, self._poll)
        if exchange.status != 200:
            return
        try:
            shown = _market.decode(exchange.body)
        except msgspec.DecodeError:
            self._trade.tally.notice(ODDS, due_s, "UNREADABLE")
            return
        sent_s = exchange.sent_s or 0.0
        if self._shown is not None and shown.odds_version < self._shown.odds_version and sent_s >= self._shown_s:
            self._trade.tally.notice(ODDS, due_s, WENT_BACK)
        if self._shown is not None and shown.odds_version > self._shown.odds_version:
            see(self._trade.tally, exchange.answered_s or sent_s, shown)
        self._shown, self._shown_s = shown, exchange.answered_s or sent_s
        if exchange.etag is not None and exchange.etag != self._etag:  # the next poll names it, as browsers do
            self._etag = exchange.etag
            more = b"If-None-Match: " + exchange.etag + b"\r\n"
            self._poll = self._trade.client.request("GET", self._path, self._player.token, more=more)

    def show(self, shown: ShownMarket) -> None:
        """Keep the market as it was pushed."""
        self._shown = shown

    async def look(self, due_s: float) -> None:
        """Ask for the balance."""
        await self._ask(BALANCE, due_s, self._look)

    async def bet(self, due_s: float) -> None:
        """Bet on a selection at its odds as they are shown, and once more at those that a refusal names."""
        intention = self._intend()
        if intention is None:
            return
        exchange = await self._place(BET, due_s, intention)
        if exchange.status != 409:
            return
        refused = problem_of(exchange)
        if refused.current_odds is None or refused.current_odds_version is None:
            return
        again_s = monotonic_s() + REOFFER_AFTER_S
        if again_s < self._trade.ends_s:
            await asyncio.sleep(REOFFER_AFTER_S)
            offered = Intention(
                intention.market_id,
                intention.selection_id,
                refused.current_odds,
                refused.current_odds_version,
                f"{intention.key}-again",
            )
            await self._place(REOFFER, again_s, offered)

    def _intend(self) -> Intention | None:
        shown = self._shown
        if shown is None or shown.status != "active":
            return None
        offered = [one for one in shown.selections if one.odds is not None and one.status == "active"]
        if not offered:
            return None
        self._bets += 1
        chosen = self._chance.choice(offered)
        key = f"{self._name}-{self._bets}"
        return Intention(self._market_id, chosen.selection_id, chosen.odds or "", shown.odds_version, key)

    async def _place(self, kind: str, due_s: float, intention: Intention) -> Exchange:
        """Send a bet, and again under its key while nobody can say what became of it."""
        request = self._request(intention)
        wait_s = RETRY_FIRST_S
        for attempt in range(1, RETRIES_MAX + 2):
            sent_at = utc_now()
            exchange = await self._ask(kind, due_s, request)
            self._record(intention, attempt, due_s, sent_at, exchange)
            if exchange.status is not None and exchange.status < 500:
                break
            wait_s = min(RETRY_AFTER_S_MAX, max(wait_s, problem_of(exchange).retry_after_s or 0.0))
            kind, due_s = RETRY, monotonic_s() + wait_s
            if attempt > RETRIES_MAX or due_s >= self._trade.ends_s:
                break
            await asyncio.sleep(wait_s)
            wait_s *= 2
        return exchange

    def _request(self, intention: Intention) -> bytes:
        trade = self._trade
        body = {
            "market_id": intention.market_id,
            "selection_id": intention.selection_id,
            "odds": intention.odds,
            "odds_version": intention.odds_version,
            "stake": trade.stake,
            "idempotency_key": intention.key,
            "accept": trade.accept,
        }
        return trade.client.request("POST", "/bets", self._player.token, msgspec.json.encode(body))

    def _record(
        self, intention: Intention, attempt: int, due_s: float, sent_at: datetime, exchange: Exchange
    ) -> None:
        if exchange.lost == DROPPED:
            return  # nobody sent it
        refused = exchange.status is not None and exchange.status >= 400
        self._trade.history.append(
            BetAttempt(
                user=self._number,
                player_id=self._player.player_id,
                key=intention.key,
                market_id=intention.market_id,
                selection_id=intention.selection_id,
                odds=intention.odds,
                odds_version=intention.odds_version,
                stake=self._trade.stake,
                accept=self._trade.accept,
                attempt=attempt,
                intended_s=round(due_s - self._trade.run_began_s, 6),
                sent_at=sent_at,
                answered_at=None if exchange.status is None else utc_now(),
                status=exchange.status,
                code=(problem_of(exchange).code or None) if refused else exchange.lost,
                bet=msgspec.json.decode(exchange.body) if exchange.status == 201 else None,
            )
        )

    async def _ask(self, kind: str, due_s: float, request: bytes) -> Exchange:
        tally = self._trade.tally
        tally.offer(kind, due_s, max(0.0, monotonic_s() - due_s))
        exchange = await self._trade.client.ask(request)
        count(tally, kind, due_s, exchange)
        return exchange


def see(tally: Tally, seen_s: float, shown: ShownMarket) -> None:
    """Count a price that a bettor sees for the first time; the clocks of both sides are one machine's."""
    if shown.updated_at is not None:
        tally.see(PRICE, seen_s, max(0.0, (utc_now() - shown.updated_at).total_seconds()))


def count(tally: Tally, kind: str, due_s: float, exchange: Exchange) -> None:
    """Count what came of a request."""
    if exchange.status is None or exchange.answered_s is None:
        tally.lose(kind, due_s, exchange.lost or REFUSED)
        return
    code = (problem_of(exchange).code or None) if exchange.status >= 400 else None
    tally.answer(kind, due_s, exchange.answered_s, exchange.status, code)
