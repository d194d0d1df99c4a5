"""Players for virtual bettors: opened once over HTTP, kept in the platform's directory, used again by later runs.

Invariant: a player that is returned is logged in, and has money; at most `ACCOUNTS_MAX` are opened, because each
costs the platform a password hash. Bettors beyond that many share accounts: they share a token and a wallet.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from touchline.lab.bettors import Player
from touchline.lab.clock import utc_now
from touchline.lab.http_client import Exchange, HttpClient

FILE: Final = "lab-players.json"
ACCOUNTS_MAX: Final = 500
AT_ONCE: Final = 4
TRIES_MAX: Final = 8
RETRY_S: Final = 0.5
TIMEOUT_S: Final = 30.0
WAITING_MAX: Final = 1_000
TOKEN_LEFT_MIN: Final = timedelta(hours=3)  # a token is renewed that might end in mid-run
OPENING: Final = "1000000.00"
BALANCE_MIN: Final = Decimal(100_000)
DEMO_PASSWORD: Final = "demo"  # noqa: S105  # published, of accounts that only demo mode has

Tell = Callable[[str, int, int], None]  # what is being done, how many of it, of how many


class AccountsRefused(Exception):
    """The platform does not open accounts, or log in to them."""


class Session(msgspec.Struct, frozen=True):
    """What a login answers."""

    token: str
    expires_at: datetime
    player_id: str


class Known(msgspec.Struct, frozen=True):
    """An account that was opened before."""

    username: str
    password: str
    session: Session

    @property
    def player(self) -> Player:
        """It as bettors need it."""
        return Player(self.session.player_id, self.session.token)


class Balance(msgspec.Struct, frozen=True):
    """What a balance answers."""

    balance: Decimal


class Accounts:
    """The accounts of the platform at `address`, remembered in `data_dir`."""

    def __init__(self, address: str, data_dir: Path) -> None:
        self._client = HttpClient(address, connections_max=AT_ONCE, waiting_max=WAITING_MAX, timeout_s=TIMEOUT_S)
        self._file = data_dir / FILE

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()

    async def log_in(self, username: str, password: str = DEMO_PASSWORD) -> Player:
        """Return an account that is there already.

        Raises:
            AccountsRefused: it can't be logged in to.
        """
        session = await self._session("/auth/login", username, password)
        return Player(session.player_id, session.token)

    async def players(self, count: int, tell: Tell) -> list[Player]:
        """Return `count` players, `ACCOUNTS_MAX` at most, known ones first.

        Raises:
            AccountsRefused: the platform does not open one.
        """
        count = min(count, ACCOUNTS_MAX)
        known: list[Known] = []
        room = asyncio.Semaphore(AT_ONCE)

        async def one(old: Known | None) -> None:
            async with room:
                known.append(await self._renew(old) or await self._open())
            tell("accounts", len(known), count)

        remembered = self._remembered()
        wanted: list[Known | None] = [*remembered[:count], *[None] * (count - len(remembered))]
        try:
            async with asyncio.TaskGroup() as group:
                for old in wanted:
                    group.create_task(one(old))
        except ExceptionGroup as refused:  # one of them says it for all
            raise refused.exceptions[0] from None
        known.sort(key=lambda account: account.username)
        self._remember([*known, *remembered[count:]])
        return [account.player for account in known]

    async def _renew(self, old: Known | None) -> Known | None:
        """Return a known account with a token and money; None where the platform doesn't know it."""
        if old is None:
            return None
        if old.session.expires_at < utc_now() + TOKEN_LEFT_MIN:
            try:
                session = await self._session("/auth/login", old.username, old.password)
            except AccountsRefused:
                return None
            old = Known(old.username, old.password, session)
        exchange = await self._try("GET", "/account/balance", old.session.token)
        if exchange.status != 200:
            return None
        if msgspec.json.decode(exchange.body, type=Balance).balance < BALANCE_MIN:
            await self._deposit(old.session.token)
        return old

    async def _open(self) -> Known:
        username, password = f"lab{secrets.token_hex(8)}", secrets.token_urlsafe(16)
        session = await self._session("/auth/register", username, password)
        await self._deposit(session.token)
        return Known(username, password, session)

    async def _deposit(self, token: str) -> None:
        body = {"amount": OPENING, "idempotency_key": f"lab-{secrets.token_hex(8)}"}
        exchange = await self._try("POST", "/account/deposits", token, msgspec.json.encode(body))
        if exchange.status != 201:
            raise AccountsRefused(f"a deposit was refused: {_said(exchange)}")

    async def _session(self, path: str, username: str, password: str) -> Session:
        body = msgspec.json.encode({"username": username, "password": password})
        exchange = await self._try("POST", path, "", body)
        if exchange.status not in (200, 201):
            raise AccountsRefused(f"{path} for {username} was refused: {_said(exchange)}")
        return msgspec.json.decode(exchange.body, type=Session)

    async def _try(self, method: str, path: str, token: str = "", body: bytes = b"") -> Exchange:
        """Ask, again while the platform is busy; keys make that safe."""
        request = self._client.request(method, path, token, body)
        for _ in range(TRIES_MAX):
            exchange = await self._client.ask(request)
            if exchange.status is not None and exchange.status < 500:
                break
            await asyncio.sleep(RETRY_S)
        return exchange

    def _remembered(self) -> list[Known]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=list[Known])
        except (FileNotFoundError, msgspec.DecodeError):
            return []

    def _remember(self, known: list[Known]) -> None:
        beside = self._file.with_name(f".{FILE}.new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(known))
        beside.replace(self._file)


def _said(exchange: Exchange) -> str:
    if exchange.status is None:
        return f"no answer ({exchange.lost})"
    return f"{exchange.status} {exchange.body[:300].decode(errors='replace')}"
