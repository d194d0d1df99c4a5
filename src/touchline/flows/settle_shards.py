"""Carry decisions out as the log tells of them: all shards at once, some bets a transaction.

Invariants: of one market's settlements each is carried out after those before it, so that what was decided last
stands. What is left to do is read off the bets, so that a fact may come any number of times and a consumer die
anywhere: nobody is paid twice, and nobody never.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from touchline.core.errors import Fault, Rejection
from touchline.core.facts import Fact, MarketDecided
from touchline.core.ids import MarketId
from touchline.core.settlement import Settlement
from touchline.flows.read_balance import keep_balances
from touchline.ports import Clock, SessionCache, SettlementMeter
from touchline.ports.settling import DeadLetters, DecisionStore
from touchline.ports.stream import Delivery, FactLog, Ledger

GROUP: Final = "settlement"
BETS_AT_ONCE_MAX: Final = 500  # of a shard in one transaction, whose locks are held together
MARKETS_AT_ONCE_MAX: Final = 8
DELIVERIES_AT_ONCE_MAX: Final = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ShardSettlement:
    """The consumer that carries settlements out; several share the log, and take over from one that dies."""

    log: FactLog
    ledger: Ledger
    decisions: DecisionStore
    letters: DeadLetters
    sessions: SessionCache
    clock: Clock
    meter: SettlementMeter
    bets_at_once: int = BETS_AT_ONCE_MAX

    async def run(self) -> None:
        """Work what is decided, for ever; an `Outage` passes through, and running again goes on."""
        await self.decisions.tell_untold()
        try:
            async with asyncio.TaskGroup() as tasks:
                await _Course(self, tasks).follow()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def work(self, fact: Fact, settlement: Settlement) -> None:
        """Carry one settlement out to its end; where that can't be, its fact is kept with the reason."""
        try:
            await self._carry_out(settlement)
        except (Fault, Rejection) as wrong:
            await self.letters.bury(GROUP, fact, str(wrong), self.clock.now())
        else:
            await self.letters.resolve(GROUP, fact.fact_id, self.clock.now())

    async def _carry_out(self, settlement: Settlement) -> None:
        progress = await self.decisions.progress(settlement)
        if progress.settlement.finished_at is not None:
            return
        if progress.held_up_by is not None:
            raise Fault(f"settlement {progress.held_up_by} of the market comes before it and is not carried out")
        await self.decisions.ensure_decided(settlement.market_id)
        shards = range(1, self.ledger.shards + 1)
        # From here on no bet can be added to those that are counted.
        counts = await together(self.ledger.to_work(shard, settlement) for shard in shards)
        await self.decisions.begin(settlement, sum(counts))
        await together(
            self._work_shard(shard, settlement) for shard, bets in zip(shards, counts, strict=True) if bets
        )
        finished_at = self.clock.now()
        await self.decisions.finish(settlement, finished_at)
        self.meter.finished(settlement, finished_at)

    async def _work_shard(self, shard: int, settlement: Settlement) -> None:
        while True:
            worked = await self.ledger.work(shard, settlement, self.clock.now(), self.bets_at_once)
            if not worked.bets:
                return
            self.meter.worked(settlement, worked.bets)
            await keep_balances(self.sessions, worked.balances)


@dataclass(frozen=True, slots=True)
class _Course:
    """What is under way: deliveries, and in them the settlements of markets, each after the one before it."""

    settlement: ShardSettlement
    tasks: asyncio.TaskGroup
    last: dict[MarketId, asyncio.Task[None]] = field(default_factory=dict)
    deliveries: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DELIVERIES_AT_ONCE_MAX))
    markets: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MARKETS_AT_ONCE_MAX))

    async def follow(self) -> None:
        """Take deliveries as there is room for them, for ever."""
        told: Any = self.settlement.log.consume(GROUP)
        async with aclosing(told):
            while True:
                await self.deliveries.acquire()
                delivery: Delivery = await anext(told)
                works = [self._begin(fact, fact.body) for fact in delivery.facts if _decides(fact.body)]
                self.tasks.create_task(self._finish(delivery, works))

    def _begin(self, fact: Fact, decided: Any) -> asyncio.Task[None]:
        market_id = decided.settlement.market_id
        before = self.last.get(market_id)
        task = self.tasks.create_task(self._work_after(before, fact, decided.settlement))
        self.last[market_id] = task
        task.add_done_callback(lambda done: self._forget(market_id, done))
        return task

    def _forget(self, market_id: MarketId, done: asyncio.Task[None]) -> None:
        if self.last.get(market_id) is done:
            del self.last[market_id]

    async def _work_after(self, before: asyncio.Task[None] | None, fact: Fact, settlement: Settlement) -> None:
        if before is not None:
            await _ended([before])
        async with self.markets:
            await self.settlement.work(fact, settlement)

    async def _finish(self, delivery: Delivery, works: list[asyncio.Task[None]]) -> None:
        await _ended(works)
        await delivery.done()
        self.deliveries.release()


async def _ended(works: Sequence[asyncio.Task[None]]) -> None:
    """Wait until all have ended, and fail as they did: nothing goes on after what was not worked."""
    if works:
        await asyncio.wait(works)
    for work in works:
        work.result()


def _decides(body: object) -> bool:
    return isinstance(body, MarketDecided)


async def together(asked: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what each comes to; where one fails the others are ended, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one) for one in asked]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in running]
