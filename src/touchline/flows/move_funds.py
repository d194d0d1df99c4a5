"""Bring money in and take it out."""

from dataclasses import dataclass
from functools import partial

from touchline.core.errors import Rejection
from touchline.core.funds import FundsMoved, MoveFunds, decide_funds
from touchline.flows.read_balance import keep_balances
from touchline.ports import AccountStore, SessionCache


@dataclass(frozen=True, slots=True)
class FundsMoving:
    """Deposits and withdrawals, each once a key."""

    accounts: AccountStore
    sessions: SessionCache

    async def move(self, request: MoveFunds) -> tuple[FundsMoved, bool]:
        """Return what is on record, and whether it answers a retry.

        Raises:
            Rejection: the first refusal of `decide_funds` that applies.
            Outage: nothing was recorded, or the same key tells.
        """
        answer = await self.accounts.move_funds(request, partial(decide_funds, request))
        if isinstance(answer, Rejection):
            raise answer
        moved, balance = answer
        if balance is not None:
            await keep_balances(self.sessions, {request.player_id: balance})
        return moved, balance is None
