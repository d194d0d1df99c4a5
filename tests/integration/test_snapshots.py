"""Snapshots are kept as facts come, one a shard, and survive kills; what is worked out begins from the newest."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.clock import HandClock
from tests.ledger_scene import ledger_stores
from tests.samples import AWAY, DRAW, HOME
from tests.scene import AWAY_WINS, HOME_WINS, Stores, bet_on, move, open_player, placed, price, work_all
from touchline.adapters.memory.chance import SeededChance
from touchline.adapters.postgres.archive import PostgresArchiveStore
from touchline.core.ids import MarketId, PlayerId
from touchline.flows.rebuild_state import current, keep_snapshots, verify

ROOT = Path(__file__).parents[2]
EVERY = 5
PLAYERS = [PlayerId("ann"), PlayerId("bob")]


@pytest.fixture
def archive(database_dsn: str) -> PostgresArchiveStore:
    return PostgresArchiveStore(database_dsn)


@pytest_asyncio.fixture
async def stores(database_dsn: str) -> AsyncIterator[Stores]:
    async with ledger_stores(database_dsn) as made:
        for player_id in PLAYERS:
            await open_player(made, player_id)
        yield made


async def bet_and_settle(stores: Stores, results: int) -> None:
    """Some facts more: bets on a market of their own, that is settled, taken back, and at times settled anew."""
    stores, market_id = replace(stores, chance=SeededChance(100 + results)), MarketId(f"m{results}")
    market = await price(stores, market_id=market_id)
    for player_id in PLAYERS:
        for selection in (HOME, DRAW, AWAY):
            await placed(stores, bet_on(stores, market, player_id, selection, 100))
    await stores.trading.settle(market_id, HOME_WINS)
    await work_all(stores)
    await stores.trading.roll_back(market_id)
    if results % 2:
        await stores.trading.settle(market_id, AWAY_WINS)
    await work_all(stores)
    for player_id in PLAYERS:
        await move(stores, player_id, 1, f"in {results}")


async def kept(dsn: str) -> list[tuple[int, int]]:
    """The snapshots that there are: (shard, next_seq)."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT shard, next_seq FROM snapshots ORDER BY 1, 2")
        return [(row["shard"], row["next_seq"]) for row in rows]
    finally:
        await connection.close()


async def ends(archive: PostgresArchiveStore) -> dict[int, int]:
    async with archive.reading() as seen:
        return dict(seen.shards)


@asynccontextmanager
async def keeping(archive: PostgresArchiveStore) -> AsyncIterator[None]:
    task = asyncio.create_task(keep_snapshots(archive, HandClock(), EVERY))
    yield
    task.cancel()
    [ended] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)


async def test_each_shard_has_one_snapshot_and_it_is_a_new_one(
    stores: Stores, archive: PostgresArchiveStore, database_dsn: str
) -> None:
    for results in range(3):
        await bet_and_settle(stores, results)
        async with keeping(archive), asyncio.timeout(30):
            while await kept(database_dsn) != sorted((await ends(archive)).items()):
                pass
        assert (await verify(archive, from_snapshots=True)).differences == []


async def test_what_is_worked_out_begins_from_the_snapshot(
    stores: Stores, archive: PostgresArchiveStore, database_dsn: str
) -> None:
    await bet_and_settle(stores, 1)
    async with keeping(archive), asyncio.timeout(30):
        while len(await kept(database_dsn)) < 2:
            pass
    market = await price(stores)
    await placed(replace(stores, chance=SeededChance(9)), bet_on(stores, market, PLAYERS[0], HOME, 300))
    connection = await asyncpg.connect(database_dsn)
    await connection.execute("SET session_replication_role = replica")
    for shard, next_seq in await kept(database_dsn):
        async with archive.reading() as seen:
            before = (await current(seen, shard)).fold
        await connection.execute("UPDATE facts SET body = '' WHERE shard = $1 AND seq < $2", shard, next_seq)
        async with archive.reading() as seen:
            assert (await current(seen, shard)).fold == before
    await connection.close()


async def test_facts_that_cannot_be_folded_are_told_and_hold_no_other_shard_up(
    stores: Stores, archive: PostgresArchiveStore, database_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    await bet_and_settle(stores, 1)
    connection = await asyncpg.connect(database_dsn)
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("UPDATE facts SET body = 'no JSON' WHERE shard = 1 AND seq = 2")
    await connection.close()
    async with keeping(archive), asyncio.timeout(30):
        while [shard for shard, _ in await kept(database_dsn)] != [2]:
            pass
    assert "shard 1 has no new snapshot" in caplog.text


async def test_whoever_keeps_them_may_be_killed_anywhere(
    stores: Stores, archive: PostgresArchiveStore, database_dsn: str
) -> None:
    chance = random.Random(1)
    for results in range(4):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.snapshotter", database_dsn, "1"),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        )
        try:
            before = await kept(database_dsn)
            await bet_and_settle(stores, results)
            async with asyncio.timeout(60):
                while await kept(database_dsn) == before:
                    pass
                for n in range(chance.randrange(20)):
                    await move(stores, PLAYERS[0], 1, f"{results}/{n}")
        finally:
            child.kill()
            await child.wait()
        assert [shard for shard, _ in await kept(database_dsn)] in ([1], [2], [1, 2])
        assert (await verify(archive, from_snapshots=True)).differences == []
    assert (await verify(archive)).differences == []
