"""Players, their credentials, money and limits in memory."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from uuid import UUID

from touchline.adapters.memory.tables import HeldWallet, Player, Tables
from touchline.core.errors import Code, Rejection
from touchline.core.funds import FundsAcceptance, FundsMoved, FundsPosition, MoveFunds
from touchline.core.ids import PlayerId
from touchline.core.ledger import Transfer, Wallet
from touchline.core.limits import Limit, LimitKey, Limits
from touchline.ports import Balance, Clock, Credentials, Profile, Revocation


class MemoryAccounts:
    """The `AccountStore` port."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.AccountStore`."""
        if credentials.player_id in self._tables.players or self._named(username) is not None:
            return False
        self._tables.players[credentials.player_id] = Player(
            credentials.player_id, username, credentials.role, credentials.password_hash, currency
        )
        self._tables.wallets[credentials.player_id] = HeldWallet(Wallet(0), currency, 1, at)
        return True

    async def credentials(self, username: str) -> Credentials | None:
        """See `ports.AccountStore`."""
        player = self._named(username)
        if player is None:
            return None
        return Credentials(player.player_id, player.role, player.password_hash, player.locked_until)

    def _named(self, username: str) -> Player | None:
        wanted = username.lower()
        return next((p for p in self._tables.players.values() if p.username.lower() == wanted), None)

    async def login_failed(self, player_id: PlayerId, failures_max: int, lock_until: datetime) -> datetime | None:
        """See `ports.AccountStore`."""
        player = self._tables.players.get(player_id)
        if player is None:
            return None
        player.login_failures += 1
        if player.login_failures >= failures_max:
            player.login_failures, player.locked_until = 0, lock_until
        return player.locked_until

    async def login_succeeded(self, player_id: PlayerId) -> None:
        """See `ports.AccountStore`."""
        if player_id in self._tables.players:
            self._tables.players[player_id].login_failures = 0

    async def profile(self, player_id: PlayerId) -> Profile | None:
        """See `ports.AccountStore`."""
        account = self._tables.account(player_id)
        if account is None:
            return None
        player = self._tables.players[player_id]
        return Profile(account, player.username, player.velocity_flagged_at)

    async def balance(self, player_id: PlayerId) -> Balance | None:
        """See `ports.AccountStore`."""
        held = self._tables.wallets.get(player_id)
        return None if held is None else held.balance

    async def recent_balances(self, since: datetime, limit: int) -> list[tuple[PlayerId, Balance]]:
        """See `ports.AccountStore`."""
        recent = [(key, held) for key, held in self._tables.wallets.items() if held.updated_at >= since]
        recent.sort(key=lambda pair: pair[1].updated_at, reverse=True)
        return [(player_id, held.balance) for player_id, held in recent[:limit]]

    async def move_funds(
        self, request: MoveFunds, decide: Callable[[FundsPosition], FundsAcceptance | Rejection]
    ) -> tuple[FundsMoved, Balance | None] | Rejection:
        """See `ports.AccountStore`."""
        answer = decide(self._funds_position(request))
        if isinstance(answer, Rejection):
            return answer
        if answer.posting is None:
            return answer.moved, None
        balance = self._tables.post(answer.posting)
        self._tables.funds_moves[request.player_id, request.idempotency_key] = answer.moved
        return answer.moved, balance

    def _funds_position(self, request: MoveFunds) -> FundsPosition:
        tables, now = self._tables, self._clock.now()
        account = tables.account(request.player_id)
        if account is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        return FundsPosition(
            account=account,
            now=now,
            spent=tables.spent(account.player_id, now) if account.limits else {},
            earlier=tables.funds_moves.get((request.player_id, request.idempotency_key)),
        )

    async def transactions(
        self, player_id: PlayerId, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[Transfer]:
        """See `ports.AccountStore`."""
        found = sorted(
            self._tables.transfers_of(player_id), key=lambda t: (t.recorded_at, t.transfer_id), reverse=True
        )
        return [t for t in found if before is None or (t.recorded_at, t.transfer_id) < before][:limit]

    async def change_limits(
        self, player_id: PlayerId, wanted: dict[LimitKey, int | None], now: datetime
    ) -> Limits | None:
        """See `ports.AccountStore`."""
        player = self._tables.players.get(player_id)
        if player is None:
            return None
        changed = {
            key: player.limits.get(key, Limit()).changed(wanted_minor, now) for key, wanted_minor in wanted.items()
        }
        player.limits = {**player.limits, **changed}
        return player.limits

    async def exclude(self, player_id: PlayerId, until: datetime, revocation: Revocation) -> datetime:
        """See `ports.AccountStore`."""
        player = self._tables.players.get(player_id)
        if player is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        end = until if player.excluded_until is None else max(until, player.excluded_until)
        player.excluded_until = end
        await self.revoke(revocation)
        return end

    async def flag_velocity(self, player_id: PlayerId, at: datetime) -> None:
        """See `ports.AccountStore`."""
        if player_id in self._tables.players:
            self._tables.players[player_id].velocity_flagged_at = at

    async def revoke(self, revocation: Revocation) -> None:
        """See `ports.AccountStore`."""
        self._tables.revocations.append(revocation)
        self._tables.bell.ring()

    async def revocations(self) -> AsyncIterator[Revocation]:
        """See `ports.AccountStore`."""
        told = 0
        while True:
            while told < len(self._tables.revocations):
                revocation = self._tables.revocations[told]
                told += 1
                if revocation.until > self._clock.now():
                    yield revocation
            await self._tables.bell.wait()
