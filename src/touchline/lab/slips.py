"""Single clients that bet, read, break off and come back; each attempt at a bet is kept as its client saw it.

Invariant: an attempt is in the history before anything is made of its answer, so that the checker misses none.
"""

import asyncio
from typing import Any, Final

import msgspec

from touchline.lab.clock import monotonic_s, utc_now
from touchline.lab.http_client import RESET, HttpClient
from touchline.lab.records import BetAttempt, LineWriter
from touchline.lab.rude_clients import send_and_vanish

TIMEOUT_S: Final = 5.0
CONNECTIONS_MAX: Final = 300
WAITING_MAX: Final = 300
RETRY_S: Final = 0.1


class Bettor(msgspec.Struct, frozen=True):
    """A player who is logged in."""

    user: int
    player_id: str
    token: str


class Offer(msgspec.Struct, frozen=True):
    """The price that a client saw."""

    market_id: str
    selection_id: str
    odds: str
    odds_version: int


class Slips:
    """Clients of the platform at `address`, in a run that began at `began_s`; their bets go into `history`."""

    def __init__(self, address: str, history: LineWriter, began_s: float) -> None:
        self.address = address
        self._history = history
        self._began_s = began_s
        self.http = HttpClient(
            address, connections_max=CONNECTIONS_MAX, waiting_max=WAITING_MAX, timeout_s=TIMEOUT_S
        )

    def elapsed_s(self) -> float:
        """Return the seconds since the run's start."""
        return monotonic_s() - self._began_s

    async def close(self) -> None:
        """Close every connection."""
        await self.http.close()

    async def get(self, bettor: Bettor, path: str) -> tuple[int | None, str, dict[str, Any]]:
        """Return the status, the code of a refusal or of what went wrong, and the answer's document."""
        return await self._exchange(self.http.request("GET", path, bettor.token))

    def ask(self, bettor: Bettor, offer: Offer, stake: str, key: str | None) -> BetAttempt:
        """Return a bet as a client is about to ask for it."""
        return BetAttempt(
            user=bettor.user,
            player_id=bettor.player_id,
            key=key,
            market_id=offer.market_id,
            selection_id=offer.selection_id,
            odds=offer.odds,
            odds_version=offer.odds_version,
            stake=stake,
            accept="none",
            attempt=1,
            intended_s=self.elapsed_s(),
            sent_at=utc_now(),
        )

    async def send(self, bettor: Bettor, asked: BetAttempt) -> BetAttempt:
        """Send a bet, and return the attempt with what came back."""
        sent_at = utc_now()
        status, code, document = await self._exchange(self._request(bettor, asked))
        sent = msgspec.structs.replace(
            asked,
            sent_at=sent_at,
            answered_at=None if status is None else utc_now(),
            status=status,
            code=code or None,
            bet=document if status == 201 else None,
        )
        self._history.append(sent)
        return sent

    async def send_and_vanish(self, bettor: Bettor, asked: BetAttempt, linger_s: float) -> BetAttempt:
        """Send a bet and break off without its answer; return the attempt."""
        sent_at = utc_now()
        await send_and_vanish(self.address, self._request(bettor, asked), linger_s)
        sent = msgspec.structs.replace(asked, sent_at=sent_at, code=RESET)
        self._history.append(sent)
        return sent

    async def send_until_answered(self, bettor: Bettor, asked: BetAttempt, within_s: float) -> BetAttempt:
        """Send a bet until it is answered, as the contract asks after 503 or nothing; return the last attempt."""
        until_s = monotonic_s() + within_s
        while True:
            sent = await self.send(bettor, asked)
            if (sent.status is not None and sent.status < 500) or monotonic_s() > until_s:
                return sent
            asked = again(sent)
            await asyncio.sleep(RETRY_S)

    def _request(self, bettor: Bettor, asked: BetAttempt) -> bytes:
        return self.http.request("POST", "/bets", bettor.token, msgspec.json.encode(_body(asked)))

    async def _exchange(self, request: bytes) -> tuple[int | None, str, dict[str, Any]]:
        exchange = await self.http.ask(request)
        if exchange.status is None:
            return None, exchange.lost or RESET, {}
        document = _document(exchange.body)
        return exchange.status, str(document.get("code", "")), document


def again(sent: BetAttempt) -> BetAttempt:
    """Return the next attempt at the same bet."""
    fresh = {"answered_at": None, "status": None, "code": None, "bet": None}
    return msgspec.structs.replace(sent, attempt=sent.attempt + 1, **fresh)


def _body(asked: BetAttempt) -> dict[str, object]:
    body: dict[str, object] = {
        "market_id": asked.market_id,
        "selection_id": asked.selection_id,
        "odds": asked.odds,
        "odds_version": asked.odds_version,
        "stake": asked.stake,
        "accept": asked.accept,
    }
    return body if asked.key is None else body | {"idempotency_key": asked.key}


def _document(body: bytes) -> dict[str, Any]:
    """Return an answer's JSON object; an empty one where it has none."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
