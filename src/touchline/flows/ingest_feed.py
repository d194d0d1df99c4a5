"""Apply feed messages: each once, whatever arrives twice, late or out of order.

Invariant: a message and its effect go on record in one step, or the effect is such that doing it again changes
nothing and the message goes on record after it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from touchline.core import feed
from touchline.core.errors import Code, Rejection
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId
from touchline.core.market import BETTABLE_LATER, Market, MarketStep, step_market
from touchline.core.odds import apply_odds_change, is_late
from touchline.core.settlement import (
    Plan,
    Results,
    Settlement,
    SettlementKind,
    plan_rollback,
    plan_settle,
    plan_void,
)
from touchline.ports import Clock, FeedMeter, MarketStore, SettlementStore


async def at_once() -> None:
    """Have what was changed shown by a store that shows each change as it is made."""


@dataclass(frozen=True, slots=True)
class FeedIngestion:
    """What a feed says, done; `shown` returns once reads in this process show what was changed until then."""

    markets: MarketStore
    settlements: SettlementStore
    clock: Clock
    meter: FeedMeter
    shown: Callable[[], Awaitable[None]] = at_once

    async def apply_all(self, messages: Sequence[feed.AnyMessage]) -> tuple[int, int]:
        """Apply messages in order; returns how many changed something and how many were ignored.

        Raises:
            Rejection: MALFORMED: one is ahead of our clock; none is applied.
            Outage: those before it are applied; the whole may be sent again.
        """
        feed.check_not_ahead(messages, self.clock.now())
        applied = 0
        for message in messages:
            applied += await self.apply(message)
        await self.shown()
        return applied, len(messages) - applied

    async def apply(self, message: feed.AnyMessage) -> bool:
        """Apply one message; False where it is known already, too late, or of nothing that can be changed."""
        applied = await self._apply(message)
        self.meter.heard(message, applied)
        return applied

    async def _apply(self, message: feed.AnyMessage) -> bool:
        if isinstance(message, feed.Alive):
            return False
        if isinstance(message, feed.OddsChange):
            return await self._change_odds(message)
        if isinstance(message, feed.BetStop):
            return await self._stop_bets(message)
        if isinstance(message, feed.FixtureChange):
            return await self.markets.change_event(
                message.event_id, lambda event: change_fixture(event, message), message.message_id
            )
        return await self._decide_market(message)

    async def _change_odds(self, message: feed.OddsChange) -> bool:
        def change(market: Market | None) -> Market | None:
            return apply_odds_change(market, message, self.clock.now())

        changed = await self.markets.change_market(message.market_id, message.event_id, change, message.message_id)
        return changed is not None

    async def _stop_bets(self, message: feed.BetStop) -> bool:
        if await self.markets.is_applied(message.message_id):
            return False
        for market_id in await self._markets_of(message):
            await self.markets.change_market(market_id, None, lambda market: self._stop(market, message))
        await self.markets.record_message(message.message_id, self.clock.now())
        return True

    def _stop(self, market: Market | None, message: feed.BetStop) -> Market | None:
        if market is None or market.status not in BETTABLE_LATER or is_late(market, message.occurred_at):
            return None
        stopped = step_market(market, MarketStep.SUSPEND, self.clock.now())
        return replace(stopped, priced_at=message.occurred_at)

    async def _markets_of(self, message: feed.BetStop) -> list[MarketId]:
        if message.market_id is not None:
            return [message.market_id]
        found = await self.markets.event(message.event_id)
        return [] if found is None else [market.market_id for market in found[1]]

    async def _decide_market(
        self,
        message: feed.BetSettlement | feed.BetCancel | feed.RollbackBetSettlement | feed.RollbackBetCancel,
    ) -> bool:
        def plan(market: Market, standing: Sequence[Settlement]) -> Plan | Rejection | None:
            now = self.clock.now()
            if isinstance(message, feed.BetSettlement):
                return plan_settle(market, standing, _results_for(market, message), now, corrects=True)
            if isinstance(message, feed.BetCancel):
                return plan_void(market, standing, now, (message.placed_from, message.placed_until))
            if isinstance(message, feed.RollbackBetSettlement):
                return plan_rollback(market, standing, SettlementKind.ROLLBACK_SETTLEMENT, now)
            return plan_rollback(market, standing, SettlementKind.ROLLBACK_VOID, now)

        try:
            answer = await self.settlements.request(message.market_id, plan, message.message_id)
        except Rejection as refused:
            if refused.code in (Code.MARKET_NOT_FOUND, Code.MARKET_CLOSED):
                return False  # nothing of ours to decide, or nothing to take back
            raise
        return isinstance(answer, Plan)


def _results_for(market: Market, message: feed.BetSettlement) -> Results:
    """Return the results of what was ever offered: sources also decide what they never priced."""
    offered = {selection.selection_id for selection in market.selections}
    return {key: outcome for key, outcome in message.results.items() if key in offered}


def change_fixture(event: Event | None, message: feed.FixtureChange) -> Event:
    """Return the event after `message`; what the message leaves out stays, an unknown event starts scheduled."""
    known = event or new_event(message.event_id)
    return replace(
        known,
        name=message.name or known.name,
        sport=message.sport or known.sport,
        competition=message.competition or known.competition,
        status=message.status or known.status,
        start_time=message.start_time or known.start_time,
        score=message.score or known.score,
        clock=message.clock or known.clock,
    )


def new_event(event_id: EventId) -> Event:
    """Return an event of which only its id is known."""
    return Event(event_id, event_id, "unknown", "unknown", EventStatus.SCHEDULED, None, None, None)
