"""Bets in PostgreSQL, placed one a transaction under the market's row lock: V0's way.

Invariants: locks are taken in one order everywhere, market before wallet; nothing is decided here. A hot market
is locked for no round trip of ours: an acceptance is decided on an unlocked read, and one call records it if all
that it rests on is, under the locks, as it was read. Whatever else comes of it is decided anew under the locks.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import account_of, bet_of, market_of, selections_of, transfer_columns
from touchline.adapters.postgres.spending import read_spent
from touchline.core.acceptance import Acceptance, Position, Rules
from touchline.core.bet import Bet, BetStatus, PlaceBet
from touchline.core.errors import Code, Rejection
from touchline.core.ids import BetId, MarketId, PlayerId, SelectionId
from touchline.core.ledger import Posting
from touchline.core.market import Market, MarketStatus, offered_milli
from touchline.ports import Balance, Clock, Placed, SelectionExposure

_QUERIES: Final = Queries("bets.sql")
_POSITION: Final = _QUERIES["position"]
_RECORD_IF_UNCHANGED: Final = _QUERIES["record_if_unchanged"]


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
        return await self._place_as_read(request, decide) or await self._place_locked(request, decide)

    async def _place_as_read(
        self, request: PlaceBet, decide: Callable[[Position], Acceptance | Rejection]
    ) -> Placed | None:
        """Decide on an unlocked read; None where that refuses, or something it rests on has changed since."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_POSITION, *_asked(request))
            answer = decide(await self._position_of(connection, row, request))
            if isinstance(answer, Rejection):
                return None
            bet, posting = answer.bet, answer.posting
            if posting is None:
                return Placed(bet, None)
            if bet.odds_version != row["odds_version"]:
                return None  # honoured at a price that has passed: the one call records current ones only
            [stake] = posting.transfers
            version = await connection.fetchval(
                _RECORD_IF_UNCHANGED,
                *_columns(bet, posting),
                stake.transfer_id,
                stake.debit,
                stake.credit,
                row["wallet_version"],
                row["player_state"],
                self._rules.exposure_max_minor - bet.liability_minor,
            )
        return None if version is None else _placed(bet, posting, version)

    async def _place_locked(
        self, request: PlaceBet, decide: Callable[[Position], Acceptance | Rejection]
    ) -> Placed | Rejection:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_QUERIES["lock_position"], *_asked(request))
            answer = decide(await self._position_of(connection, row, request))
            if isinstance(answer, Rejection):
                return answer
            bet, posting = answer.bet, answer.posting
            if posting is None:
                return Placed(bet, None)
            version = await connection.fetchval(
                _QUERIES["record_bet"],
                *_columns(bet, posting),
                *transfer_columns([posting]),
            )
        return _placed(bet, posting, version)

    async def position(self, request: PlaceBet) -> Position:
        """See `ports.BetStore`."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_POSITION, *_asked(request))
            return await self._position_of(connection, row, request)

    async def _position_of(self, connection: Any, row: Any, request: PlaceBet) -> Position:
        if row is None or row["user_id"] is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        now = self._clock.now()
        account = account_of(row)
        earlier = None
        if row["earlier"] is not None:
            earlier = bet_of(await connection.fetchrow(_QUERIES["bet"], row["earlier"], request.player_id))
        market = None if row["market_id"] is None else market_of(row, "market_status")
        return Position(
            account=account,
            market=market,
            rules=self._rules,
            now=now,
            exposure_minor=row["exposure_minor"],
            spent=await read_spent(connection, account.player_id, account.limits, now),
            earlier=earlier,
            asked_milli=await self._asked_milli(connection, request, market),
        )

    async def _asked_milli(self, connection: Any, request: PlaceBet, market: Market | None) -> int | None:
        # The history never changes, so that what it says holds under locks and without.
        if not self._rules.odds_tolerance_pct or market is None or request.odds_version >= market.odds_version:
            return None
        row = await connection.fetchrow(_QUERIES["past_version"], request.market_id, request.odds_version)
        if row is None:
            return None  # where the authority is elsewhere, the history can be behind it
        return offered_milli(MarketStatus(row["status"]), selections_of(row["selections"]), request.selection_id)

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


def _asked(request: PlaceBet) -> tuple[object, ...]:
    return request.market_id, request.player_id, request.selection_id, request.idempotency_key


def _placed(bet: Bet, posting: Posting, version: int) -> Placed:
    return Placed(bet, Balance(posting.wallet.balance_minor, bet.currency, version))


def _columns(bet: Bet, posting: Posting) -> tuple[object, ...]:
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
        bet.idempotency_key,
        bet.placed_at,
        bet.requested_odds_milli,
        bet.requested_odds_version,
        bet.requested_accept and bet.requested_accept.value,
        bet.requested_valid_until,
        bet.liability_minor,
        posting.wallet.balance_minor,
    )
