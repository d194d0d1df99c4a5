"""Bets in memory."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from touchline.adapters.memory.tables import Exposure, Tables
from touchline.core.acceptance import Acceptance, Position, Rules
from touchline.core.bet import Bet, BetStatus, PlaceBet
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.ids import BetId, PlayerId
from touchline.core.market import Market, offered_milli
from touchline.ports import Clock, Placed, SelectionExposure


class MemoryBets:
    """The `BetStore` port."""

    def __init__(self, tables: Tables, clock: Clock, rules: Rules) -> None:
        self._tables = tables
        self._clock = clock
        self._rules = rules

    async def place(
        self, request: PlaceBet, decide: Callable[[Position], Acceptance | Rejection]
    ) -> Placed | Rejection:
        """See `ports.BetStore`."""
        answer = decide(self._look_up(request))
        if isinstance(answer, Rejection):
            return answer
        bet, posting = answer.bet, answer.posting
        if posting is None:
            return Placed(bet, None)
        if bet.bet_id in self._tables.bets:
            raise Fault(f"bet {bet.bet_id} is on record already")
        balance = self._tables.post(posting)
        self._tables.bets[bet.bet_id] = bet
        if bet.idempotency_key is not None:
            self._tables.bets_by_key[bet.player_id, bet.idempotency_key] = bet.bet_id
        self._tables.move_exposure(bet)
        return Placed(bet, balance)

    async def position(self, request: PlaceBet) -> Position:
        """See `ports.BetStore`."""
        return self._look_up(request)

    def _look_up(self, request: PlaceBet) -> Position:
        tables, now = self._tables, self._clock.now()
        account = tables.account(request.player_id)
        if account is None:
            raise Rejection(Code.UNAUTHENTICATED, "the token's account is not known")
        market = tables.markets.get(request.market_id)
        exposure = tables.exposures.get((request.market_id, request.selection_id), Exposure())
        return Position(
            account=account,
            market=market,
            rules=self._rules,
            now=now,
            exposure_minor=exposure.liability_minor,
            spent=tables.spent(account.player_id, now) if account.limits else {},
            earlier=self._by_key(request.player_id, request.idempotency_key),
            asked_milli=self._asked_milli(request, market),
        )

    def _asked_milli(self, request: PlaceBet, market: Market | None) -> int | None:
        if not self._rules.odds_tolerance_pct or market is None or request.odds_version >= market.odds_version:
            return None
        then = self._tables.history[request.market_id, request.odds_version]
        return offered_milli(then.status, then.selections, request.selection_id)

    async def get(self, player_id: PlayerId, bet_id: BetId) -> Bet | None:
        """See `ports.BetStore`."""
        bet = self._tables.bets.get(bet_id)
        return bet if bet is not None and bet.player_id == player_id else None

    async def by_key(self, player_id: PlayerId, key: str) -> Bet | None:
        """See `ports.BetStore`."""
        return self._by_key(player_id, key)

    def _by_key(self, player_id: PlayerId, key: str | None) -> Bet | None:
        bet_id = None if key is None else self._tables.bets_by_key.get((player_id, key))
        return None if bet_id is None else self._tables.bets[bet_id]

    async def page(
        self, player_id: PlayerId, status: BetStatus | None, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[Bet]:
        """See `ports.BetStore`."""
        found = [
            bet
            for bet in self._tables.bets.values()
            if bet.player_id == player_id
            and status in (None, bet.status)
            and (before is None or (bet.placed_at, bet.bet_id) < before)
        ]
        return sorted(found, key=lambda bet: (bet.placed_at, bet.bet_id), reverse=True)[:limit]

    async def placed_since(self, player_id: PlayerId, since: datetime) -> int:
        """See `ports.BetStore`."""
        return sum(bet.player_id == player_id and bet.placed_at >= since for bet in self._tables.bets.values())

    async def exposures(self) -> list[SelectionExposure]:
        """See `ports.BetStore`."""
        return [
            SelectionExposure(*place, exposure.bets, exposure.stakes_minor, exposure.liability_minor)
            for place, exposure in sorted(self._tables.exposures.items())
            if exposure.bets
        ]
