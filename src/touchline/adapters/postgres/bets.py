"""Bets in PostgreSQL, placed one a transaction under the market's row lock: V0's way.

Invariants: locks are taken in one order everywhere, market before wallet; nothing is decided here.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import account_of, bet_of, market_of, transfer_columns
from touchline.adapters.postgres.spending import read_spent
from touchline.core.acceptance import Acceptance, Position, Rules
from touchline.core.bet import Bet, BetStatus, PlaceBet
from touchline.core.errors import Code, Rejection
from touchline.core.ids import BetId, MarketId, PlayerId, SelectionId
from touchline.ports import Balance, Clock, Placed, SelectionExposure

_QUERIES: Final = Queries("bets.sql")
_LOCK_POSITION: Final = _QUERIES["lock_position"]
_RECORD_BET: Final = _QUERIES["record_bet"]


class PostgresBets:
    """The `BetStore` port."""

    def __init__(self, database: Database, clock: Clock, rules: Rules) -> None:
        self._database = database
        self._clock = clock
        self._rules = rules

    async def place(
        self, request: PlaceBet, decide: Callable[[Position], Acceptance | Rejection]
    ) -> Placed | Rejection:
        """See `ports.BetStore`."""
        async with self._database.transaction() as connection:
            answer = decide(await self._look_up(connection, _LOCK_POSITION, request))
            if isinstance(answer, Rejection):
                return answer
            if answer.posting is None:
                return Placed(answer.bet, None)
            version = await connection.fetchval(_RECORD_BET, *_columns(answer))
        return Placed(answer.bet, Balance(answer.posting.wallet.balance_minor, answer.bet.currency, version))

    async def position(self, request: PlaceBet) -> Position:
        """See `ports.BetStore`."""
        async with self._database.connection() as connection:
            return await self._look_up(connection, _QUERIES["position"], request)

    async def _look_up(self, connection: Any, query: str, request: PlaceBet) -> Position:
        row = await connection.fetchrow(
            query, request.market_id, request.player_id, request.selection_id, request.idempotency_key
        )
        if row is None or row["user_id"] is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        now = self._clock.now()
        account = account_of(row)
        earlier = None
        if row["earlier"] is not None:
            earlier = bet_of(await connection.fetchrow(_QUERIES["bet"], row["earlier"], request.player_id))
        return Position(
            account=account,
            market=None if row["market_id"] is None else market_of(row, "market_status"),
            rules=self._rules,
            now=now,
            exposure_minor=row["exposure_minor"],
            spent=await read_spent(connection, account.player_id, account.limits, now),
            earlier=earlier,
        )

    async def get(self, player_id: PlayerId, bet_id: BetId) -> Bet | None:
        """See `ports.BetStore`."""
        row = await self._database.row(_QUERIES["bet"], bet_id, player_id)
        return None if row is None else bet_of(row)

    async def by_key(self, player_id: PlayerId, key: str) -> Bet | None:
        """See `ports.BetStore`."""
        row = await self._database.row(_QUERIES["bet_by_key"], player_id, key)
        return None if row is None else bet_of(row)

    async def page(
        self, player_id: PlayerId, status: BetStatus | None, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[Bet]:
        """See `ports.BetStore`."""
        placed_before, id_before = before or (None, None)
        rows = await self._database.fetch(
            _QUERIES["page"], player_id, status and status.value, placed_before, id_before, limit
        )
        return [bet_of(row) for row in rows]

    async def placed_since(self, player_id: PlayerId, since: datetime) -> int:
        """See `ports.BetStore`."""
        return int(await self._database.value(_QUERIES["placed_since"], player_id, since))

    async def exposures(self) -> list[SelectionExposure]:
        """See `ports.BetStore`."""
        rows = await self._database.fetch(_QUERIES["exposures"])
        return [
            SelectionExposure(
                MarketId(row["market_id"]),
                SelectionId(row["selection_id"]),
                row["bets"],
                row["stakes_minor"],
                row["liability_minor"],
            )
            for row in rows
        ]


def _columns(accepted: Acceptance) -> tuple[object, ...]:
    bet, posting = accepted.bet, accepted.posting
    assert posting is not None
    return (
        bet.bet_id,
        bet.player_id,
        bet.event_id,
        bet.market_id,
        bet.selection_id,
        bet.odds_milli,
        bet.odds_version,
        bet.stake_minor,
        bet.currency,
        bet.status.value,
        bet.idempotency_key,
        bet.placed_at,
        bet.requested_odds_milli,
        bet.requested_odds_version,
        bet.liability_minor,
        posting.wallet.balance_minor,
        *transfer_columns(posting.transfers, bet.player_id),
    )
