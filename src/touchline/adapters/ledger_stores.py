"""Bets and accounts as `stream` keeps them: read from PostgreSQL, written by the writer of the player's shard.

Invariant: nothing here writes a wallet. Limits, exclusions and locks stay rows of the player's, which his shard's
writer reads with each batch.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from touchline.adapters.postgres.accounts import PostgresAccounts
from touchline.adapters.postgres.bets import PostgresBets
from touchline.adapters.postgres.database import Database
from touchline.core.acceptance import Acceptance, Position, Rules, decide
from touchline.core.bet import PlaceBet
from touchline.core.errors import Rejection
from touchline.core.funds import FundsAcceptance, FundsMoved, FundsPosition, MoveFunds, decide_funds
from touchline.ports import Balance, Clock, Credentials, Placed
from touchline.ports.shards import Authority
from touchline.ports.stream import Ledger


class LedgerBets(PostgresBets):
    """The `BetStore` port, over a ledger in shards and another authority on what is offered."""

    def __init__(
        self, database: Database, clock: Clock, rules: Rules, ledger: Ledger, authority: Authority
    ) -> None:
        super().__init__(database, clock, rules)
        self._ledger = ledger
        self._authority = authority

    async def place(
        self, request: PlaceBet, decide: Callable[[Position], Acceptance | Rejection]
    ) -> Placed | Rejection:
        """See `ports.BetStore`.

        The writer decides, by the core's own `decide`. Another can only refuse: it is asked beforehand, on the
        position under no lock.
        """
        if not _is_core(decide, _DECIDE):
            answer = decide(await self.position(request))
            if isinstance(answer, Rejection):
                return answer
        return await self._ledger.place(request)

    async def position(self, request: PlaceBet) -> Position:
        """See `ports.BetStore`."""
        on_record = await super().position(request)
        offered = await self._authority([request.market_id])
        market = offered.markets.get(request.market_id)
        async with self._database.connection() as connection:
            asked_milli = await self._asked_milli(connection, request, market)
        return replace(on_record, market=market, now=offered.at or on_record.now, asked_milli=asked_milli)


class LedgerAccounts(PostgresAccounts):
    """The `AccountStore` port, over a ledger in shards."""

    def __init__(self, database: Database, clock: Clock, ledger: Ledger) -> None:
        super().__init__(database, clock)
        self._ledger = ledger

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.AccountStore`."""
        return await self._ledger.register(credentials, username, currency, at)

    async def move_funds(
        self, request: MoveFunds, decide: Callable[[FundsPosition], FundsAcceptance | Rejection]
    ) -> tuple[FundsMoved, Balance | None] | Rejection:
        """See `ports.AccountStore`. The writer decides, as in `LedgerBets.place`."""
        if not _is_core(decide, decide_funds):
            async with self._database.connection() as connection:
                answer = decide(await self._funds_position(connection, request))
            if isinstance(answer, Rejection):
                return answer
        return await self._ledger.move_funds(request)


_DECIDE = decide


def _is_core(decide: Callable[..., Any], core: Callable[..., Any]) -> bool:
    return isinstance(decide, partial) and decide.func is core
