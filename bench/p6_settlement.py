"""P6: 50,000 open bets settled while their players go on betting, beside one set-based statement over as many.

Both architectures: V0 as the ladder's `settlement=set`, V1 from the log by its shards' writers in this process;
each from the request to the last bet. The statement writes the same rows under the same indexes (bets,
two transfers of each, wallets, exposures, in V1 a fact of each bet), its foreign keys checked where the platform's
are, which is in V0, with no rule and nobody beside it.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
import msgspec
import uvloop
from rich.console import Console

from _books import EVENT, open_market, open_players
from _ledger import hot_market, ledger_of, open_accounts, requests_of
from _ratios import in_turns
from _servers import servers, sql
from touchline.adapters.memory.sessions import MemorySessions
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.dead_letters import PostgresDeadLetters
from touchline.adapters.postgres.decisions import PostgresDecisions
from touchline.adapters.postgres.fact_log import PostgresFactLog
from touchline.adapters.system import SystemClock
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.architectures.poll import assembled
from touchline.architectures.settings import Settings
from touchline.core.bet import BetResult, PlaceBet
from touchline.core.errors import Rejection
from touchline.core.facts import MARKETS_SHARD
from touchline.core.ids import MarketId, PlayerId, SelectionId
from touchline.core.settlement import Outcome, Settlement
from touchline.edge.garbage import collect_seldom
from touchline.flows.settle_market import MarketTrading
from touchline.flows.settle_shards import ShardSettlement
from touchline.ports import Placed

PLAYERS = 200
SHARDS = 2
STAKE_MINOR = 100
PLACED_A_SECOND = 50
PLACED_MAX = 600 * PLACED_A_SECOND
LOOK_MS = 100
LOCK_MAX_MS = 100
BAR = 1 / 1.5
WORKER = "settles"
WRITERS = "shard % writer"
RESULTS = {
    SelectionId("home"): Outcome(BetResult.WON),
    SelectionId("draw"): Outcome(BetResult.LOST),
    SelectionId("away"): Outcome(BetResult.LOST),
}


@dataclass
class Ground:
    """An architecture to measure, and how long its bettors waited and settlement's locks were held meanwhile."""

    dsn: str
    holders: str  # what PostgreSQL shows the connections as that hold settlement's locks
    players: list[PlayerId]
    open: Callable[[MarketId], Awaitable[None]]
    settle: Callable[[MarketId], Awaitable[None]]
    place: Callable[[PlaceBet], Awaitable[Placed | Rejection]]
    requests: Iterator[PlaceBet]
    session: dict[str, str] = field(default_factory=dict)  # what the statement's connection is told
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    waits_s: list[float] = field(default_factory=list)
    locks_s: list[float] = field(default_factory=list)

    async def filled(self, bets: int) -> MarketId:
        """Return a new market with so many open bets."""
        market_id = MarketId(f"bench:{next(self.numbers)}")
        await self.open(market_id)
        await self._execute(sql("settlement_fill"), EVENT, market_id, self.players, bets, STAKE_MINOR)
        return market_id

    async def at_once(self, bets: int) -> float:
        """Return bets a second of the one statement."""
        market_id = await self.filled(bets)
        began = time.perf_counter()
        await self._execute(sql("set_settlement"), market_id)
        return bets / (time.perf_counter() - began)

    async def ours(self, bets: int) -> float:
        """Return bets a second of the platform's settlement, which is looked at, while others are placed."""
        market_id = await self.filled(bets)
        beside = [asyncio.create_task(work) for work in (self._bet(), self._look())]
        began = time.perf_counter()
        await self.settle(market_id)
        rate = bets / (time.perf_counter() - began)
        await _end(beside)
        return rate

    async def _bet(self) -> None:
        """Place bets of the same players on another market, each when it is due, whatever became of others."""
        due = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for request in self.requests:
                tasks.create_task(self._place(request, due))
                due += 1 / PLACED_A_SECOND
                await asyncio.sleep(due - time.perf_counter())

    async def _place(self, request: PlaceBet, due: float) -> None:
        answer = await self.place(request)
        if not isinstance(answer, Placed):
            raise RuntimeError(f"a bet was refused: {answer}")
        self.waits_s.append(time.perf_counter() - due)

    async def _look(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            while True:
                found_s = await connection.fetchval("SELECT longest_transaction($1, $2)", self.holders, LOOK_MS)
                self.locks_s.append(found_s)
        finally:
            connection.terminate()

    async def _execute(self, statement: str, *arguments: object) -> None:
        connection = await asyncpg.connect(self.dsn, server_settings=self.session)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End tasks; one that ended by itself has failed."""
    failed = [task.result() for task in tasks if task.done()]
    assert not failed
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def poll_ground(settings: Settings) -> AsyncIterator[Ground]:
    """Yield V0, which settles in sets."""
    settings = msgspec.structs.replace(settings, settlement="set")
    async with assembled(settings, "bench") as poll, assembled(settings, WORKER) as worker:
        await open_market(poll)
        players = await open_players(poll, PLAYERS)

        async def settle(market_id: MarketId) -> None:
            await poll.platform.trading.settle(market_id, RESULTS)
            await worker.settlement_work.work_next()

        yield Ground(
            dsn=settings.postgres,
            holders=WORKER,
            players=players,
            open=lambda market_id: open_market(poll, market_id),
            settle=settle,
            place=poll.platform.placing.place,
            requests=iter(requests_of(players, PLACED_MAX)),
        )


class Finished:
    """A `SettlementMeter` that tells when a settlement has ended."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def worked(self, settlement: Settlement, bets: int) -> None:
        """See `ports.SettlementMeter`."""

    def finished(self, settlement: Settlement, at: datetime) -> None:
        """See `ports.SettlementMeter`."""
        self.event.set()


@asynccontextmanager
async def stream_ground(settings: Settings) -> AsyncIterator[Ground]:
    """Yield V1, which settles from its log."""
    clock, finished = SystemClock(), Finished()
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(ledger_of(settings, SHARDS))
        database = await Database.connect(settings.postgres, name=WORKER)
        stack.push_async_callback(database.close)
        authority = ValkeyMarkets(settings.valkey, settings.valkey_timeout_ms, clock)
        stack.push_async_callback(authority.close)
        decisions = PostgresDecisions(database, authority, clock)
        trading = MarketTrading(authority, decisions, clock)
        players = await open_accounts(ledger, PLAYERS)
        settlement = ShardSettlement(
            log=PostgresFactLog(database, [MARKETS_SHARD]),
            ledger=ledger,
            decisions=decisions,
            letters=PostgresDeadLetters(database),
            sessions=MemorySessions(bets_per_minute_max=1, velocity_bets=1, velocity_window_ms=1),
            clock=clock,
            meter=finished,
        )
        working = asyncio.create_task(settlement.run())
        stack.push_async_callback(_end, [working])

        async def open_one(market_id: MarketId) -> None:
            await authority.change_market(market_id, EVENT, lambda _: hot_market(market_id, clock.now()))
            await ledger.place(requests_of(players, 1, market_id)[0])  # so that the books know the market

        async def settle(market_id: MarketId) -> None:
            finished.event.clear()
            await trading.settle(market_id, RESULTS)
            await finished.event.wait()

        yield Ground(
            dsn=settings.postgres,
            holders=WRITERS,
            session={"session_replication_role": "replica"},  # as its writers' are
            players=players,
            open=open_one,
            settle=settle,
            place=ledger.place,
            requests=iter(requests_of(players, PLACED_MAX)),
        )


async def measure(name: str, settings: Settings, bets: int) -> None:
    """Measure one architecture and print."""
    collect_seldom()
    async with GROUNDS[name](settings) as ground:
        await in_turns(
            f"P6: {bets:,} bets settled by {name}, while {PLACED_A_SECOND} a second are placed",
            ("one set-based statement", lambda: ground.at_once(bets)),
            (name, lambda: ground.ours(bets)),
            BAR,
        )
        waits_s = sorted(ground.waits_s)
        Console().print(
            f"longest transaction of settlement {max(ground.locks_s) * 1000:.0f} ms, bar {LOCK_MAX_MS}; "
            f"of {len(waits_s):,} bets of the same players the longest waited {waits_s[-1] * 1000:.0f} ms, "
            f"the median {waits_s[len(waits_s) // 2] * 1000:.0f}"
        )


async def main(names: list[str], bets: int) -> None:
    """Start the servers; what is measured has uvloop, on which they can't be started as another user."""
    for name in names:
        async with servers() as settings:
            connection = await asyncpg.connect(settings.postgres)
            await connection.execute(sql("longest_transaction"))
            await connection.close()
            await asyncio.to_thread(uvloop.run, measure(name, settings, bets))


GROUNDS = {"poll": poll_ground, "stream": stream_ground}

if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--architecture", choices=[*GROUNDS], action="append", help="both where none is named")
    asked.add_argument("--bets", type=int, default=50_000)
    options = asked.parse_args()
    asyncio.run(main(options.architecture or [*GROUNDS], options.bets))
