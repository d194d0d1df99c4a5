"""Read a balance: from the session, else from the store, and keep the session warm.

Invariant: losing the session cache changes where an answer comes from, never the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from touchline.core.errors import Code, Outage, Rejection
from touchline.core.ids import PlayerId
from touchline.ports import BALANCES_AT_ONCE_MAX, AccountStore, Balance, Clock, SessionCache

ACTIVE_WITHIN: Final = timedelta(hours=1)
WARMED_MAX: Final = 50_000


async def keep_balances(sessions: SessionCache, balances: Mapping[PlayerId, Balance]) -> None:
    """Keep balances in their sessions; where the cache is away, the next reads fall back to the store."""
    try:
        await sessions.keep(balances)
    except Outage:
        return


@dataclass(frozen=True, slots=True)
class BalanceReading:
    """Balances for display; no decision rests on them."""

    accounts: AccountStore
    sessions: SessionCache
    clock: Clock

    async def read(self, player_id: PlayerId) -> tuple[Balance, Literal["session", "database"]]:
        """Return a player's balance and where it was read.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player any more.
        """
        try:
            held = await self.sessions.balance(player_id)
        except Outage:
            held = None
        if held is not None:
            return held, "session"
        balance = await self.accounts.balance(player_id)
        if balance is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        await keep_balances(self.sessions, {player_id: balance})
        return balance, "database"

    async def warm(self) -> int:
        """Fill the session cache with the players active of late, as after a deploy; returns how many.

        Raises:
            Outage: the cache or the store is away; sessions fill as they are used.
        """
        recent = await self.accounts.recent_balances(self.clock.now() - ACTIVE_WITHIN, WARMED_MAX)
        for first in range(0, len(recent), BALANCES_AT_ONCE_MAX):
            await self.sessions.keep(dict(recent[first : first + BALANCES_AT_ONCE_MAX]))
        return len(recent)
