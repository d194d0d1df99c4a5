"""Players, their credentials, money and limits in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.listening import listening
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import (
    account_of,
    limits_of,
    limits_text,
    moved_of,
    transfer_columns,
    transfer_of,
)
from touchline.adapters.postgres.spending import read_spent
from touchline.core.account import Role
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.funds import FundsAcceptance, FundsMoved, FundsPosition, MoveFunds
from touchline.core.ids import PlayerId
from touchline.core.ledger import Transfer
from touchline.core.limits import Limit, LimitKey, Limits
from touchline.ports import Balance, Clock, Credentials, Profile, Revocation

RELISTEN_AFTER_S: Final = 1.0
LISTEN_IDLE_S: Final = 60.0
_QUERIES: Final = Queries("accounts.sql")


class PostgresAccounts:
    """The `AccountStore` port."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.AccountStore`."""
        return bool(
            await self._database.value(
                _QUERIES["register"],
                credentials.player_id,
                username,
                credentials.role.value,
                credentials.password_hash,
                currency,
                at,
            )
        )

    async def credentials(self, username: str) -> Credentials | None:
        """See `ports.AccountStore`."""
        row = await self._database.row(_QUERIES["credentials"], username)
        if row is None:
            return None
        return Credentials(PlayerId(row["user_id"]), Role(row["role"]), row["password_hash"], row["locked_until"])

    async def login_failed(self, player_id: PlayerId, failures_max: int, lock_until: datetime) -> datetime | None:
        """See `ports.AccountStore`."""
        until: datetime | None = await self._database.value(
            _QUERIES["login_failed"], player_id, failures_max, lock_until
        )
        return until

    async def login_succeeded(self, player_id: PlayerId) -> None:
        """See `ports.AccountStore`."""
        await self._database.value(_QUERIES["login_succeeded"], player_id)

    async def profile(self, player_id: PlayerId) -> Profile | None:
        """See `ports.AccountStore`."""
        row = await self._database.row(_QUERIES["profile"], player_id)
        return None if row is None else Profile(account_of(row), row["username"], row["velocity_flagged_at"])

    async def balance(self, player_id: PlayerId) -> Balance | None:
        """See `ports.AccountStore`."""
        row = await self._database.row(_QUERIES["balance"], player_id)
        return None if row is None else Balance(row["balance_minor"], row["currency"], row["version"])

    async def recent_balances(self, since: datetime, limit: int) -> list[tuple[PlayerId, Balance]]:
        """See `ports.AccountStore`."""
        rows = await self._database.fetch(_QUERIES["recent_balances"], since, limit)
        return [
            (PlayerId(row["user_id"]), Balance(row["balance_minor"], row["currency"], row["version"]))
            for row in rows
        ]

    async def move_funds(
        self, request: MoveFunds, decide: Callable[[FundsPosition], FundsAcceptance | Rejection]
    ) -> tuple[FundsMoved, Balance | None] | Rejection:
        """See `ports.AccountStore`."""
        async with self._database.transaction() as connection:
            answer = decide(await self._funds_position(connection, request))
            if isinstance(answer, Rejection):
                return answer
            moved, posting = answer.moved, answer.posting
            if posting is None:
                return moved, None
            version = await connection.fetchval(
                _QUERIES["record_funds_move"],
                moved.move_id,
                moved.player_id,
                moved.kind.value,
                moved.amount_minor,
                moved.currency,
                moved.balance_minor,
                moved.idempotency_key,
                moved.recorded_at,
                posting.wallet.debt_minor,
                *transfer_columns([posting]),
            )
        return moved, Balance(moved.balance_minor, moved.currency, version)

    async def _funds_position(self, connection: Any, request: MoveFunds) -> FundsPosition:
        await connection.fetchrow(_QUERIES["lock_wallet"], request.player_id)
        row = await connection.fetchrow(_QUERIES["profile"], request.player_id)
        if row is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        account, now = account_of(row), self._clock.now()
        earlier = await connection.fetchrow(
            _QUERIES["funds_move_by_key"], request.player_id, request.idempotency_key
        )
        return FundsPosition(
            account=account,
            now=now,
            spent=await read_spent(connection, account.player_id, account.limits, now),
            earlier=None if earlier is None else moved_of(earlier),
        )

    async def transactions(
        self, player_id: PlayerId, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[Transfer]:
        """See `ports.AccountStore`."""
        recorded_before, id_before = before or (None, None)
        rows = await self._database.fetch(_QUERIES["transactions"], player_id, recorded_before, id_before, limit)
        return [transfer_of(row) for row in rows]

    async def change_limits(
        self, player_id: PlayerId, wanted: dict[LimitKey, int | None], now: datetime
    ) -> Limits | None:
        """See `ports.AccountStore`. Under the wallet's lock, so that no bet is decided on half of a change."""
        async with self._database.transaction() as connection:
            await connection.fetchrow(_QUERIES["lock_wallet"], player_id)
            text = await connection.fetchval(_QUERIES["limits"], player_id)
            if text is None:
                return None
            limits = dict(limits_of(text))
            for key, wanted_minor in wanted.items():
                limits[key] = limits.get(key, Limit()).changed(wanted_minor, now)
            await connection.execute(_QUERIES["write_limits"], player_id, limits_text(limits))
            return limits

    async def exclude(self, player_id: PlayerId, until: datetime, revocation: Revocation) -> datetime:
        """See `ports.AccountStore`."""
        async with self._database.transaction() as connection:
            await connection.fetchrow(_QUERIES["lock_wallet"], player_id)
            end: datetime | None = await connection.fetchval(_QUERIES["exclude"], player_id, until)
            if end is None:
                raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
            await connection.fetchval(_QUERIES["revoke"], *_revocation_columns(revocation))
            return end

    async def flag_velocity(self, player_id: PlayerId, at: datetime) -> None:
        """See `ports.AccountStore`."""
        await self._database.value(_QUERIES["flag_velocity"], player_id, at)

    async def revoke(self, revocation: Revocation) -> None:
        """See `ports.AccountStore`."""
        await self._database.value(_QUERIES["revoke"], *_revocation_columns(revocation))

    async def revocations(self) -> AsyncIterator[Revocation]:
        """See `ports.AccountStore`."""
        while True:
            try:
                async with listening(self._database.dsn, "revocations") as listener:
                    told = None
                    while True:
                        for row in await self._told_of(listener.connection, told):
                            yield _revocation_of(row)
                        told = await listener.next(LISTEN_IDLE_S)
            except Outage:
                await asyncio.sleep(RELISTEN_AFTER_S)

    async def _told_of(self, connection: Any, told: str | None) -> list[Any]:
        if told is None:
            rows: list[Any] = await connection.fetch(_QUERIES["standing_revocations"], self._clock.now())
        else:
            rows = await connection.fetch(_QUERIES["revocation"], int(told))
        return rows


def _revocation_columns(revocation: Revocation) -> tuple[object, ...]:
    return (
        revocation.token_id,
        revocation.player_id,
        revocation.issued_until,
        revocation.spared,
        revocation.until,
    )


def _revocation_of(row: Any) -> Revocation:
    return Revocation(
        until=row["until"],
        token_id=row["token_id"],
        player_id=None if row["user_id"] is None else PlayerId(row["user_id"]),
        issued_until=row["issued_until"],
        spared=row["spared"],
    )
