"""Limits and self-exclusion: what a player does to keep his betting in bounds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from touchline.core.account import Identity
from touchline.core.errors import Code, Rejection
from touchline.core.limits import LimitKey, Limits
from touchline.ports import AccountStore, Clock, Revocation

EXCLUSION_MONTHS_MAX: Final = 120
DAYS_OF_A_MONTH: Final = 30


@dataclass(frozen=True, slots=True)
class PlayerProtection:
    """Lowering is immediate, raising waits; an exclusion can be made longer, never shorter."""

    accounts: AccountStore
    clock: Clock
    token_ttl: timedelta

    async def change_limits(self, identity: Identity, wanted: dict[LimitKey, int | None]) -> Limits:
        """Change the limits that `wanted` names and return all.

        Raises:
            Rejection: UNAUTHENTICATED: there is no such player any more.
        """
        limits = await self.accounts.change_limits(identity.player_id, wanted, self.clock.now())
        if limits is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        return limits

    async def exclude(self, identity: Identity, months: int) -> datetime:
        """Exclude the player for `months` of 30 days from now, and end his other sessions; returns its end.

        The session that asks stays, to withdraw what is left; every bet is refused from the next one on.

        Raises:
            Rejection: MALFORMED: no number of months from 1 to `EXCLUSION_MONTHS_MAX`.
        """
        if not 1 <= months <= EXCLUSION_MONTHS_MAX:
            raise Rejection(Code.MALFORMED, f"months must be 1 to {EXCLUSION_MONTHS_MAX}", field="months")
        now = self.clock.now()
        others = Revocation(
            until=now + self.token_ttl,
            player_id=identity.player_id,
            issued_until=now,
            spared=identity.token_id,
        )
        return await self.accounts.exclude(
            identity.player_id, now + timedelta(days=DAYS_OF_A_MONTH * months), others
        )
