"""Decide markets, and carry decisions out bet by bet.

Invariant: a decision goes on record in one step under the market's lock; carrying it out may stop anywhere, and
goes on from the bets themselves.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from touchline.core.errors import Code, Rejection
from touchline.core.ids import BetId, MarketId
from touchline.core.market import Market, MarketStep, step_market
from touchline.core.settlement import (
    Plan,
    Results,
    Settlement,
    SettlementKind,
    plan_rollback,
    plan_settle,
    plan_void,
)
from touchline.flows.pace import Pace
from touchline.flows.read_balance import keep_balances
from touchline.ports import Clock, MarketStore, SessionCache, SettlementMeter, SettlementStore

OPEN_BETS_AT_ONCE_MAX: Final = 20_000  # looked up in the order of their players, then worked some at a time
SET_OF_BETS_MAX: Final = 750  # whose locks are held together

Planning = Callable[[Market, Sequence[Settlement]], Plan | Rejection | None]


@dataclass(frozen=True, slots=True)
class MarketTrading:
    """What a trader does to a market."""

    markets: MarketStore
    settlements: SettlementStore
    clock: Clock

    async def step(self, market_id: MarketId, step: MarketStep) -> Market:
        """Suspend, resume or close a market.

        Raises:
            Rejection: MARKET_NOT_FOUND, or MARKET_CLOSED where its lifecycle has no such step.
        """

        def change(market: Market | None) -> Market:
            if market is None:
                raise Rejection(Code.MARKET_NOT_FOUND, f"no market {market_id}")
            return step_market(market, step, self.clock.now())

        changed = await self.markets.change_market(market_id, None, change)
        if changed is None:
            raise Rejection(Code.MARKET_NOT_FOUND, f"no market {market_id}")
        return changed

    async def settle(self, market_id: MarketId, results: Results) -> None:
        """Settle a market; the same results again change nothing.

        Raises:
            Rejection: see `core.settlement.plan_settle`; other results need a rollback first.
        """
        await self._request(
            market_id,
            lambda market, standing: plan_settle(market, standing, results, self.clock.now(), corrects=False),
        )

    async def void(self, market_id: MarketId) -> None:
        """Void a market; a settlement that stands is taken back first.

        Raises:
            Rejection: MARKET_NOT_FOUND.
        """
        await self._request(market_id, lambda market, standing: plan_void(market, standing, self.clock.now()))

    async def roll_back(self, market_id: MarketId) -> None:
        """Take back what decided the market last.

        Raises:
            Rejection: MARKET_NOT_FOUND, or MARKET_CLOSED where nothing decided it.
        """

        def plan(market: Market, standing: Sequence[Settlement]) -> Plan:
            newest = next(iter(standing), None)
            voided = newest is not None and newest.kind is SettlementKind.VOID
            kind = SettlementKind.ROLLBACK_VOID if voided else SettlementKind.ROLLBACK_SETTLEMENT
            return plan_rollback(market, standing, kind, self.clock.now())

        await self._request(market_id, plan)

    async def progress(self, market_id: MarketId) -> tuple[Market, list[Settlement]]:
        """Return a market and its settlements, newest first.

        Raises:
            Rejection: MARKET_NOT_FOUND.
        """
        market = await self.markets.get(market_id)
        if market is None:
            raise Rejection(Code.MARKET_NOT_FOUND, f"no market {market_id}")
        return market, await self.settlements.of_market(market_id)

    async def _request(self, market_id: MarketId, plan: Planning) -> None:
        answer = await self.settlements.request(market_id, plan)
        if isinstance(answer, Rejection):
            raise answer


@dataclass(frozen=True, slots=True)
class SettlementWork:
    """Carrying out: one settlement after another, up to `bets_at_once` bets a transaction; V0's way is one."""

    settlements: SettlementStore
    sessions: SessionCache
    clock: Clock
    meter: SettlementMeter
    bets_at_once: int = 1

    async def run(self) -> None:
        """Work whatever is requested, for ever; an `Outage` passes through, and running again goes on."""
        async for _ in self.settlements.requests():
            while await self.work_next():
                pass

    async def work_next(self) -> bool:
        """Work the oldest unfinished settlement to its end; False where there is none."""
        settlement = await self.settlements.next_unfinished()
        if settlement is None:
            return False
        pace = Pace(self.bets_at_once)
        while bet_ids := deque(await self.settlements.open_bets(settlement, OPEN_BETS_AT_ONCE_MAX)):
            while bet_ids:
                some = [bet_ids.popleft() for _ in range(min(pace.bets, len(bet_ids)))]
                began = self.clock.now()
                if not await self._work(settlement, some, began):
                    break  # it has been taken back meanwhile
                pace.took(len(some), self.clock.now() - began)
        finished_at = self.clock.now()
        await self.settlements.finish(settlement, finished_at)
        self.meter.finished(settlement, finished_at)
        return True

    async def _work(self, settlement: Settlement, bet_ids: Sequence[BetId], at: datetime) -> int:
        worked = await self.settlements.carry_out(settlement, bet_ids, at)
        if worked.bets:
            self.meter.worked(settlement, worked.bets)
        await keep_balances(self.sessions, worked.balances)
        return worked.bets
