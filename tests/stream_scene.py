"""A platform whose markets have their authority in Valkey, everything else in memory; and what records them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.clock import HandClock
from tests.scene import Stores, memory_stores
from touchline.adapters.board_markets import BoardMarkets
from touchline.adapters.memory.settlements import MemorySettlements
from touchline.adapters.memory.tables import Tables
from touchline.adapters.odds_restoring import OddsRestoring
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.odds_history import PostgresOddsBooks
from touchline.adapters.valkey.history import ValkeyHistory
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.adapters.valkey.refill import ValkeyRefill
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.core.delivery import Board
from touchline.core.errors import Code, Rejection
from touchline.core.ids import MarketId, MessageId
from touchline.core.market import Market
from touchline.core.settlement import Plan, Settlement
from touchline.flows.record_odds import OddsRecording
from touchline.ports import Clock, MarketStore

TIMEOUT_MS = 5_000


class SettlementsElsewhere(MemorySettlements):
    """Settlements in memory, their markets at an authority of its own."""

    def __init__(self, tables: Tables, clock: Clock, markets: MarketStore) -> None:
        super().__init__(tables, clock)
        self._markets = markets

    async def request(
        self,
        market_id: MarketId,
        plan: Callable[[Market, Sequence[Settlement]], Plan | Rejection | None],
        message_id: MessageId | None = None,
    ) -> Plan | Rejection | None:
        market = await self._markets.get(market_id)
        if market is None:
            raise Rejection(Code.MARKET_NOT_FOUND, f"no market {market_id}")
        self._tables.markets[market_id] = market
        answer = await super().request(market_id, plan, message_id)
        if isinstance(answer, Plan):
            decided = answer.market
            await self._markets.change_market(market_id, None, lambda _: decided)
        return answer


@asynccontextmanager
async def stream_markets(valkey_url: str) -> AsyncIterator[Stores]:
    """Yield a platform whose markets are in the empty Valkey at `valkey_url`."""
    async with _authority(valkey_url) as (authority, stores):
        yield stores(authority)


@asynccontextmanager
async def board_markets(valkey_url: str) -> AsyncIterator[Stores]:
    """Yield a platform whose markets are in the empty Valkey at `valkey_url`, read from a board."""
    stream = ValkeyOddsStream(valkey_url, TIMEOUT_MS)
    async with _authority(valkey_url) as (authority, stores):
        markets = BoardMarkets(Board(), stream, authority, HandClock())
        following = asyncio.create_task(markets.follow())
        try:
            yield stores(markets)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await stream.close()


@asynccontextmanager
async def recording(dsn: str, valkey_url: str) -> AsyncIterator[OddsRecording]:
    """Yield what records the changes at the authority at `valkey_url` in the database at `dsn`."""
    database = await Database.connect(dsn, pool_size=3)
    history, refill = ValkeyHistory(valkey_url, TIMEOUT_MS), ValkeyRefill(valkey_url, TIMEOUT_MS)
    restoring = OddsRestoring(database, refill, history, HandClock())
    try:
        yield OddsRecording(history, PostgresOddsBooks(database), restoring.prepare)
    finally:
        await history.close()
        await refill.close()
        await database.close()


@asynccontextmanager
async def _authority(valkey_url: str) -> AsyncIterator[tuple[ValkeyMarkets, Callable[[MarketStore], Stores]]]:
    """Yield an authority with no markets, and what makes a platform's stores of a way to read it."""
    clock, tables = HandClock(), Tables()
    authority = ValkeyMarkets(valkey_url, TIMEOUT_MS, clock)
    history = ValkeyHistory(valkey_url, TIMEOUT_MS)
    await authority.begin()

    async def versions(market_id: MarketId) -> list[tuple[int, str]]:
        kept = [entry.changed for entry in await history.waiting(1_000)]
        mine = [market for market in kept if isinstance(market, Market) and market.market_id == market_id]
        return sorted({(market.odds_version, market.status.value) for market in mine})

    def stores(markets: MarketStore) -> Stores:
        settlements = SettlementsElsewhere(tables, clock, markets)
        return replace(memory_stores(clock, tables), markets=markets, settlements=settlements, history=versions)

    try:
        yield authority, stores
    finally:
        await authority.close()
        await history.close()
