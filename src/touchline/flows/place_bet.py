"""Place one bet: the session says whether he may and probably can, the bet store decides and records.

Invariant: the session never decides; a bet is refused only by `decide` on what the authority holds.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from touchline.core.acceptance import decide
from touchline.core.bet import PlaceBet
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.ids import PlayerId
from touchline.core.rates import MINUTE, too_many_bets
from touchline.flows.read_balance import keep_balances
from touchline.ports import AccountStore, Admission, BetStore, Clock, Placed, SessionCache


class Placing(Protocol):
    """How a bet is placed: V0's `BetPlacing`, or a `Ledger`, whose writers keep rates and sessions, too."""

    def place(self, request: PlaceBet) -> Awaitable[Placed | Rejection]:
        """Return the bet on record, or why not. A refused bet does not count against the player's rate.

        Raises:
            Outage: nothing was recorded, or the same key tells.
        """


@dataclass(frozen=True, slots=True)
class BetPlacing:
    """The `Placing` of V0: rate and balance in the session, then the store."""

    bets: BetStore
    accounts: AccountStore
    sessions: SessionCache
    clock: Clock
    bets_per_minute_max: int

    async def place(self, request: PlaceBet) -> Placed | Rejection:
        """See `Placing`."""
        bet_key = request.idempotency_key or str(request.bet_id)
        admission = await self._admit(request.player_id, bet_key)
        if admission.retry_after_s is not None:
            return too_many_bets(self.bets_per_minute_max, admission.retry_after_s)
        try:
            answer = await self._decide(request, admission)
        except Outage:
            await self._withdraw(request.player_id, bet_key)
            raise
        if isinstance(answer, Rejection):
            # A key that conflicts has a bet of its own on record, and that one goes on counting.
            if answer.code is not Code.IDEMPOTENCY_CONFLICT:
                await self._withdraw(request.player_id, bet_key)
        elif answer.balance is not None:
            await keep_balances(self.sessions, {request.player_id: answer.balance})
            if admission.faster_than_a_person:
                await self.accounts.flag_velocity(request.player_id, answer.bet.placed_at)
        return answer

    async def _decide(self, request: PlaceBet, admission: Admission) -> Placed | Rejection:
        if admission.balance is not None and admission.balance.balance_minor < request.stake_minor:
            # The session's balance can be behind. What it suspects is decided on unlocked reads, in the published
            # order, so that a bettor who can't pay costs the market no lock.
            early = decide(request, await self.bets.position(request))
            if isinstance(early, Rejection):
                return early
        return await self.bets.place(request, partial(decide, request))

    async def _admit(self, player_id: PlayerId, bet_key: str) -> Admission:
        now = self.clock.now()
        try:
            return await self.sessions.admit(player_id, bet_key, now)
        except Outage:
            # The bets on record keep the rate while the session cache is away.
            recent = await self.bets.placed_since(player_id, now - MINUTE)
            return Admission(60 if recent >= self.bets_per_minute_max else None, None, False)

    async def _withdraw(self, player_id: PlayerId, bet_key: str) -> None:
        try:
            await self.sessions.withdraw(player_id, bet_key)
        except Outage:
            return  # what the cache lost with its death needs no taking back
