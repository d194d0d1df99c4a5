"""Settlement over shards killed anywhere, with the writers of its shards: every bet is paid exactly once."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.samples import MARKET
from tests.scene import AWAY_WINS, HOME_WINS, Stores, balance_of, open_player, postgres_stores
from tests.settling_scene import settling_scene
from tests.stream_scene import TIMEOUT_MS, recording
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.decisions import PostgresDecisions
from touchline.adapters.system import SystemClock
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.core.ids import MarketId, PlayerId
from touchline.core.settlement import Settlement
from touchline.flows.settle_market import MarketTrading

ROOT = Path(__file__).parents[2]
MARKETS = [MARKET, MarketId("other")]
PLAYERS, ROUNDS = 6, 8
BETS = 3 * ROUNDS * PLAYERS  # on each market
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Seen:
    """The platform as its pods see it, none of them being the one that is killed."""

    stores: Stores
    trading: MarketTrading
    valkey_url: str

    async def settlements(self) -> list[Settlement]:
        return [s for market_id in MARKETS for s in await self.stores.settlements.of_market(market_id)]

    async def done(self) -> int:
        """How many bets have been worked in all, back and forth."""
        return sum(settlement.bets_done for settlement in await self.settlements())

    async def until_done(self, bets: int) -> None:
        async with asyncio.timeout(60):
            while await self.done() < bets:
                await asyncio.sleep(0.002)

    async def until_all_is_done(self) -> None:
        async with asyncio.timeout(60):
            while any(settlement.finished_at is None for settlement in await self.settlements()):
                await asyncio.sleep(0.005)

    async def assert_paid_once(self, paid: int) -> None:
        """Each player has what his bets paid, and every record of it agrees."""
        staked = len(MARKETS) * 3 * ROUNDS * 1_000
        for n in range(PLAYERS):
            assert await balance_of(self.stores, PlayerId(f"p{n}")) == 100_000 - staked + ROUNDS * paid
        async with recording(str(self.stores.dsn), self.valkey_url) as recorder:
            while await recorder.record_next():
                pass
        assert await self.stores.books.discrepancies() == []


@pytest_asyncio.fixture
async def seen(database_dsn: str, valkey_url: str) -> AsyncIterator[Seen]:
    """Six players with 24 bets each on each of two markets."""
    async with settling_scene(database_dsn, valkey_url, clock=SystemClock()) as scene:
        for n in range(PLAYERS):
            await open_player(scene.stores, f"p{n}")
        for _ in range(ROUNDS):
            for market_id in MARKETS:
                for n in range(PLAYERS):
                    await scene.three_bets(f"p{n}", market_id)
    clock = SystemClock()
    markets = ValkeyMarkets(valkey_url, TIMEOUT_MS, clock)
    database = await Database.connect(database_dsn)
    async with postgres_stores(database_dsn, clock) as stores:
        decisions = PostgresDecisions(database, markets, clock)
        yield Seen(stores, MarketTrading(markets, decisions, clock), valkey_url)
    await database.close()
    await markets.close()


@asynccontextmanager
async def settler(seen: Seen, bets_at_once: int = 7) -> AsyncIterator[asyncio.subprocess.Process]:
    """Settlement at work; killed at the end, if it still is."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.shard_settler", str(seen.stores.dsn), seen.valkey_url, str(bets_at_once)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@pytest.mark.parametrize("seed", [1, 2])
async def test_settlement_killed_anywhere_pays_each_bet_once(seen: Seen, seed: int) -> None:
    chance = random.Random(seed)
    for market_id in MARKETS:
        await seen.trading.settle(market_id, AWAY_WINS)
        await seen.trading.roll_back(market_id)
        await seen.trading.settle(market_id, HOME_WINS)
    everyone = len(MARKETS) * BETS
    for kill_at in sorted(chance.randrange(everyone) for _ in range(5)):
        async with settler(seen) as child:
            await seen.until_done(kill_at)
            child.kill()
            await child.wait()
    async with settler(seen):
        await seen.until_all_is_done()
    await seen.assert_paid_once(2 * 2_000)
    for market_id in MARKETS:
        newest = (await seen.stores.settlements.of_market(market_id))[0]
        assert newest.bets_done == newest.bets_total == BETS


async def test_rollbacks_and_corrections_survive_kills_too(seen: Seen) -> None:
    chance, worked, everyone = random.Random(3), 0, len(MARKETS) * BETS
    for step in ("settle", "roll back", "settle anew"):
        for market_id in MARKETS:
            if step == "roll back":
                await seen.trading.roll_back(market_id)
            else:
                await seen.trading.settle(market_id, AWAY_WINS if step == "settle" else HOME_WINS)
        for kill_at in sorted(chance.randrange(everyone) for _ in range(2)):
            async with settler(seen) as child:
                await seen.until_done(worked + kill_at)
                child.kill()
                await child.wait()
        async with settler(seen):
            await seen.until_all_is_done()
        worked += everyone
    await seen.assert_paid_once(2 * 2_000)


async def test_two_settlers_one_killed_the_other_goes_on(seen: Seen) -> None:
    async with settler(seen) as first, settler(seen):  # one has all shards while it lives, and the log
        for market_id in MARKETS:
            await seen.trading.settle(market_id, HOME_WINS)
        await seen.until_done(BETS // 2)
        first.kill()
        await first.wait()
        await seen.until_all_is_done()
    await seen.assert_paid_once(2 * 2_000)


@pytest.mark.parametrize("cut", ["facts listener", "shard 1 writer", "shard 2 holder", "settler"])
async def test_settlement_whose_connections_are_cut_goes_on(seen: Seen, cut: str) -> None:
    admin = await asyncpg.connect(seen.stores.dsn)
    async with settler(seen, bets_at_once=2) as child:
        for n, market_id in enumerate(MARKETS):
            await seen.trading.settle(market_id, HOME_WINS)
            await seen.until_done(n * BETS + BETS // 3)
            async with asyncio.timeout(30):
                while not await admin.fetch(CUT, cut):
                    await asyncio.sleep(0)
            await seen.until_all_is_done()
        assert child.returncode is None
    await admin.close()
    await seen.assert_paid_once(2 * 2_000)
