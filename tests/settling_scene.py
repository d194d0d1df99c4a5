"""A platform whose markets are in Valkey, whose ledger is in shards, and whose settlement follows the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from tests.clock import HandClock
from tests.ledger_scene import SHARDS, authority_of, written
from tests.samples import AWAY, DRAW, HOME
from tests.scene import RULES, Stores, bet_on, memory_sessions, place, postgres_stores, price
from tests.stream_scene import TIMEOUT_MS, recording
from touchline.adapters.ledger_stores import LedgerAccounts, LedgerBets
from touchline.adapters.memory.meters import MemoryMeter
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.dead_letters import PostgresDeadLetters
from touchline.adapters.postgres.decisions import PostgresDecisions
from touchline.adapters.postgres.fact_log import PostgresFactLog
from touchline.adapters.postgres.shards import PostgresShard
from touchline.adapters.valkey.markets import Books, ValkeyMarkets
from touchline.core.bet import Bet
from touchline.core.facts import MARKETS_SHARD, Fact
from touchline.core.ids import MarketId, PlayerId
from touchline.core.settlement import Settlement
from touchline.flows.local_ledger import LocalLedger
from touchline.flows.settle_shards import ShardSettlement
from touchline.flows.write_shard import ShardWriter
from touchline.ports import Clock, Placed


@dataclass(frozen=True, slots=True)
class Scene:
    """The platform, and what carries its settlements out."""

    stores: Stores
    database: Database
    valkey_url: str
    settlement: ShardSettlement

    @property
    def meter(self) -> MemoryMeter:
        meter = self.settlement.meter
        assert isinstance(meter, MemoryMeter)
        return meter

    @property
    def letters(self) -> PostgresDeadLetters:
        letters = self.settlement.letters
        assert isinstance(letters, PostgresDeadLetters)
        return letters

    async def three_bets(self, name: str, market_id: MarketId) -> tuple[PlayerId, list[Bet]]:
        """A player of that name has bets of 1000 on each selection of a market."""
        market = await self.stores.markets.get(market_id) or await price(self.stores, market_id=market_id)
        player_id, bets = PlayerId(name), []
        for selection in (HOME, DRAW, AWAY):
            key = str(self.stores.chance.uuid())
            answer = await place(self.stores, bet_on(self.stores, market, player_id, selection, key=key))
            assert isinstance(answer, Placed), answer
            bets.append(answer.bet)
        return player_id, bets

    async def unfinished(self) -> Sequence[int]:
        """The settlements that are not carried out."""
        rows = await self.database.fetch("SELECT settlement_id FROM settlements WHERE finished_at IS NULL")
        return [row["settlement_id"] for row in rows]

    async def until_worked(self, *but: int) -> None:
        """Wait until every settlement is carried out but those named."""
        async with asyncio.timeout(60):
            while set(await self.unfinished()) != set(but):
                await asyncio.sleep(0.005)

    async def decisions_told(self) -> Sequence[Fact]:
        """Every decision in the log."""
        log = PostgresFactLog(self.database, [MARKETS_SHARD])
        last = await self.database.value("SELECT max(seq) FROM facts WHERE shard = 0")
        told: list[Fact] = []
        deliveries = log.consume(f"looks {self.stores.chance.uuid()}")
        while last and (not told or told[-1].seq < last):
            told += (await anext(deliveries)).facts
        await deliveries.aclose()
        return told

    async def work(self, settlement: Settlement) -> None:
        """Work the fact of a settlement, here and now."""
        told = [fact for fact in await self.decisions_told() if fact.body.settlement == settlement]
        await self.settlement.work(told[0], settlement)

    async def discrepancies(self) -> Sequence[str]:
        """What is wrong with the books, once the authority's changes are in them."""
        async with recording(str(self.stores.dsn), self.valkey_url) as recorder:
            while await recorder.record_next():
                pass
        return await self.stores.books.discrepancies()


@asynccontextmanager
async def settling_scene(
    dsn: str,
    valkey_url: str,
    *,
    shards: int = SHARDS,
    clock: Clock | None = None,
    name: str = "touchline",
    books: Books | None = None,
) -> AsyncIterator[Scene]:
    """Yield the platform over the migrated database at `dsn` and the Valkey at `valkey_url`.

    `name` is what PostgreSQL shows the connections of its settlement as; decided markets are left to `books`.
    """
    clock = clock or HandClock()
    database = await Database.connect(dsn, name=name)
    markets = ValkeyMarkets(valkey_url, TIMEOUT_MS, clock, books)
    await markets.begin()
    authority = authority_of(markets)
    writers = [
        ShardWriter(PostgresShard(dsn, n, shards), authority, RULES, clock) for n in range(1, shards + 1)
    ]
    try:
        async with postgres_stores(dsn, clock) as plain, written(LocalLedger(writers, shards)) as ledger:
            decisions = PostgresDecisions(database, markets, clock)
            stores = replace(
                plain,
                markets=markets,
                bets=LedgerBets(database, clock, RULES, ledger, authority),
                accounts=LedgerAccounts(database, clock, ledger),
                settlements=decisions,
            )
            settlement = ShardSettlement(
                log=PostgresFactLog(database, [MARKETS_SHARD]),
                ledger=ledger,
                decisions=decisions,
                letters=PostgresDeadLetters(database),
                sessions=memory_sessions(),
                clock=clock,
                meter=MemoryMeter(),
            )
            yield Scene(stores, database, valkey_url, settlement)
    finally:
        await markets.close()
        await database.close()


@asynccontextmanager
async def at_work(settlement: ShardSettlement) -> AsyncIterator[None]:
    """Have settlements carried out for a while."""
    working = asyncio.create_task(settlement.run())
    try:
        yield
    finally:
        failed = working.done()
        working.cancel()
        [ended] = await asyncio.gather(working, return_exceptions=True)
        assert not failed, ended
