"""A platform whose ledger is in shards, their writers in this process; its markets are PostgreSQL's."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from tests.clock import NOON, HandClock
from tests.scene import RULES, Stores, memory_stores, postgres_stores
from touchline.adapters.ledger_stores import LedgerAccounts, LedgerBets
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.settlements import PostgresSettlements
from touchline.adapters.postgres.shards import PostgresShard
from touchline.core.acceptance import Rules
from touchline.core.ids import BetId, MarketId, PlayerId
from touchline.core.settlement import Settlement, SettlementKind
from touchline.flows.local_ledger import LocalLedger
from touchline.flows.write_shard import ShardWriter
from touchline.ports import Balance, Clock, MarketStore, Worked
from touchline.ports.shards import Authority, Offered
from touchline.ports.stream import Ledger

SHARDS = 2
NOBODYS = Settlement(
    settlement_id=0, market_id=MarketId("none"), kind=SettlementKind.VOID, results={}, requested_at=NOON
)


def authority_of(markets: MarketStore) -> Authority:
    """Return what a writer asks of a store of markets."""

    async def offered(market_ids: Collection[MarketId]) -> Offered:
        found = [await markets.get(market_id) for market_id in sorted(market_ids)]
        return Offered({market.market_id: market for market in found if market is not None})

    return offered


class SettlementsInShards(PostgresSettlements):
    """Settlements as PostgreSQL keeps them, carried out by the shards' writers."""

    def __init__(self, database: Database, markets: PostgresMarkets, ledger: Ledger) -> None:
        super().__init__(database, markets)
        self._ledger = ledger

    async def next_unfinished(self) -> Settlement | None:
        await self._settled(NOBODYS)
        return await super().next_unfinished()

    async def open_bets(self, settlement: Settlement, limit: int) -> list[BetId]:
        await self._settled(settlement)
        return await super().open_bets(settlement, limit)

    async def _settled(self, settlement: Settlement) -> None:
        """Wait until whatever was decided before is on record."""
        for shard in range(1, self._ledger.shards + 1):
            await self._ledger.to_work(shard, settlement)

    async def carry_out(self, settlement: Settlement, bet_ids: Sequence[BetId], at: datetime) -> Worked:
        bets, balances = 0, dict[PlayerId, Balance]()
        for shard in range(1, self._ledger.shards + 1):
            if bets < len(bet_ids):
                worked = await self._ledger.work(shard, settlement, at, len(bet_ids) - bets)
                bets += worked.bets
                balances |= worked.balances
        return Worked(bets, balances)


@asynccontextmanager
async def ledger_stores(
    dsn: str, clock: Clock | None = None, rules: Rules = RULES, shards: int = SHARDS
) -> AsyncIterator[Stores]:
    """Yield a platform in the migrated database at `dsn`, with a writer for each shard of its ledger."""
    clock = clock or HandClock()
    async with postgres_stores(dsn, clock, rules=rules) as plain:
        authority = authority_of(plain.markets)
        numbers = range(1, shards + 1)
        writers = [ShardWriter(PostgresShard(dsn, n, shards), authority, rules, clock) for n in numbers]
        async with written(LocalLedger(writers, shards)) as ledger:
            database = await Database.connect(dsn)
            markets = PostgresMarkets(database, clock)
            try:
                yield replace(
                    plain,
                    bets=LedgerBets(database, clock, rules, ledger, authority),
                    accounts=LedgerAccounts(database, clock, ledger),
                    settlements=SettlementsInShards(database, markets, ledger),
                )
            finally:
                await database.close()


@asynccontextmanager
async def written(ledger: LocalLedger) -> AsyncIterator[LocalLedger]:
    """Yield a ledger once its writers have their shards, and end them."""
    running = asyncio.create_task(ledger.run())
    ready = asyncio.create_task(ledger.ready())
    try:
        await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert ready.done()
        yield ledger
    finally:
        ready.cancel()
        running.cancel()
        await asyncio.gather(running, ready, return_exceptions=True)


@asynccontextmanager
async def stores_over(kind: str, dsn: str | None, rules: Rules = RULES) -> AsyncIterator[Stores]:
    """Yield a platform of one kind: "memory", "postgres" or "stream", the last two in the database at `dsn`."""
    if dsn is None:
        yield memory_stores(rules=rules)
        return
    made = postgres_stores(dsn, rules=rules) if kind == "postgres" else ledger_stores(dsn, rules=rules)
    async with made as stores:
        yield stores
