"""Books begun in V0 grow into V1: facts state all that stood on record, and everything after folds on."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.clock import NOON
from tests.ledger_scene import ledger_stores
from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import (
    AWAY_WINS,
    HOME_WINS,
    Stores,
    balance_of,
    bet_on,
    move,
    open_player,
    placed,
    postgres_stores,
    price,
    superuser,
    work_all,
)
from touchline.adapters.memory.chance import SeededChance
from touchline.adapters.postgres.archive import PostgresArchiveStore
from touchline.core.errors import Outage
from touchline.core.ids import MarketId, PlayerId
from touchline.core.ledger import TransferKind
from touchline.flows.carry_over import ROWS_AT_ONCE_MAX, carried_over
from touchline.flows.rebuild_state import rebuild, take_snapshot, verify

ROOT = Path(__file__).parents[2]
OTHER, UNDER_WAY = MarketId("other"), MarketId("under-way")
ANN, BOB = PlayerId("ann"), PlayerId("bob")
MOVES = ROWS_AT_ONCE_MAX + 5
FACTS = 3 + 18 + 2 + 1  # wallets, bets, and the movements of Bob, in two parts, and Ann
WITHDRAWN = 100_000 - 9 * 1_000 + 3 * 1_000 + 2_000


@pytest.fixture
def archive(database_dsn: str) -> PostgresArchiveStore:
    return PostgresArchiveStore(database_dsn)


@pytest_asyncio.fixture
async def grown_from(database_dsn: str) -> str:
    """What V0 left: a debt, bets settled, void, taken back and open, and a settlement that is half carried out."""
    async with postgres_stores(database_dsn) as v0:
        for name in ("ann", "bob", "idle"):
            await open_player(v0, name, 0 if name == "idle" else 100_000)
        for market_id in (MARKET, OTHER, UNDER_WAY):
            market = await price(v0, market_id=market_id)
            for player_id in (ANN, BOB):
                for selection in (HOME, DRAW, AWAY):
                    key = f"{market_id}/{selection}"
                    await placed(v0, bet_on(v0, market, player_id, selection, 1_000, key))
        await v0.trading.void(OTHER)
        await work_all(v0)
        await v0.trading.settle(MARKET, HOME_WINS)
        await work_all(v0)
        await move(v0, ANN, WITHDRAWN, "all out", TransferKind.WITHDRAWAL)
        await v0.trading.roll_back(MARKET)  # what she won is gone, and owed
        await v0.trading.roll_back(OTHER)
        await work_all(v0)
        await v0.trading.settle(OTHER, AWAY_WINS)
        await work_all(v0)
        await v0.trading.settle(UNDER_WAY, AWAY_WINS)
        half = await v0.settlements.next_unfinished()
        assert half is not None
        bet_ids = await v0.settlements.open_bets(half, 6)
        await v0.settlements.carry_out(half, bet_ids[:2], v0.clock.now())
        for n in range(MOVES):
            await move(v0, BOB, 1, f"small {n}")
        async with superuser(v0) as connection:
            assert await connection.fetchval("SELECT debt_minor FROM wallets WHERE user_id = 'ann'") > 0
    return database_dsn


async def facts_on_record(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM facts WHERE shard > 0"))
    finally:
        await connection.close()


@asynccontextmanager
async def taken_by_v1(dsn: str) -> AsyncIterator[Stores]:
    async with ledger_stores(dsn) as stores:
        yield replace(stores, chance=SeededChance(2))


async def test_what_stood_on_record_is_stated_once_and_the_ledger_goes_on(
    grown_from: str, archive: PostgresArchiveStore
) -> None:
    assert (await verify(archive)).differences  # nothing tells of it yet
    facts = await archive.carry_over(2, carried_over, NOON)
    assert facts == await facts_on_record(grown_from) == FACTS
    found = await verify(archive)
    assert (found.differences, found.players, found.bets) == ([], 3, 18)
    assert (await verify(archive, from_snapshots=True)).differences == []
    assert await archive.carry_over(2, carried_over, NOON) == 0

    for shard in (1, 2):
        await take_snapshot(archive, shard, NOON, every=1)
    async with taken_by_v1(grown_from) as v1:
        await work_all(v1)  # what V0 had under way
        await v1.trading.settle(MARKET, AWAY_WINS)
        await v1.trading.roll_back(OTHER)  # V0's settlement, whose bets were decided before there were facts
        await work_all(v1)
        assert (await verify(archive)).differences == []
        await v1.trading.settle(OTHER, HOME_WINS)
        await work_all(v1)
        paid = 4_500 + 2_000 + 4_500 - 9 * 1_000
        assert await balance_of(v1, ANN) == 100_000 - WITHDRAWN + paid
        assert await balance_of(v1, BOB) == 100_000 + MOVES + paid
        market = await price(v1, market_id=MarketId("new"))
        await placed(v1, bet_on(v1, market, BOB, HOME, 500, "new"))
        await open_player(v1, "dan")
        await work_all(v1)
        found = await verify(archive)
        assert (found.differences, found.players, found.bets) == ([], 4, 19)
        assert (await verify(archive, from_snapshots=True)).differences == []
        assert await v1.books.discrepancies() == []
    done = await rebuild(archive)
    assert (done.rows, done.exposures) == (0, 0)


async def test_a_key_that_v0_took_is_answered_as_v0_did(grown_from: str, archive: PostgresArchiveStore) -> None:
    await archive.carry_over(2, carried_over, NOON)
    async with taken_by_v1(grown_from) as v1:
        market = await price(v1)
        again = bet_on(v1, market, ANN, HOME, 1_000, f"{MARKET}/{HOME}")
        earlier = await placed(v1, replace(again, odds_version=1, odds_milli=2_000))
        assert earlier.bet_id != again.bet_id
        assert (await verify(archive)).differences == []


@pytest.mark.parametrize("kill_after", [0, 1, 7, 20])
async def test_killed_in_the_midst_nothing_is_stated_and_next_time_all_of_it(
    grown_from: str, archive: PostgresArchiveStore, kill_after: int
) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.carrier", grown_from, str(kill_after)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"stands still\n"
    with pytest.raises(Outage):  # while it is at work nobody else is
        await archive.carry_over(2, carried_over, NOON)
    child.kill()
    await child.wait()
    assert await facts_on_record(grown_from) == 0
    async with asyncio.timeout(30):
        while not await carried_at_last(archive):
            pass
    assert (await verify(archive)).differences == []


async def carried_at_last(archive: PostgresArchiveStore) -> bool:
    """Carry over, once the server has noticed that who was at it is dead."""
    try:
        return await archive.carry_over(2, carried_over, NOON) == FACTS
    except Outage:
        return False


async def test_books_that_began_in_v1_are_left_as_they_are(
    database_dsn: str, archive: PostgresArchiveStore
) -> None:
    assert await archive.carry_over(2, carried_over, NOON) == 0  # nothing at all is on record
    async with ledger_stores(database_dsn) as v1:
        await open_player(v1)
        assert await archive.carry_over(2, carried_over, NOON) == 0  # and its writers need not be stopped
        assert (await verify(archive)).differences == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM transfers WHERE kind = 'payout'", "transfer "),
        ("UPDATE funds_moves SET amount_minor = amount_minor + 1 WHERE idempotency_key = 'small 7'", "move "),
        ("UPDATE bets SET payout_minor = payout_minor + 1 WHERE result = 'won'", "bet "),
        ("UPDATE wallets SET balance_minor = balance_minor + 1 WHERE user_id = 'bob'", "wallet of bob"),
    ],
)
async def test_what_v0_recorded_is_compared_from_then_on(
    grown_from: str, archive: PostgresArchiveStore, change: str, told: str
) -> None:
    await archive.carry_over(2, carried_over, NOON)
    connection = await asyncpg.connect(grown_from)
    await connection.execute("SET session_replication_role = replica")
    assert await connection.execute(change) not in ("UPDATE 0", "DELETE 0")
    await connection.close()
    found = await verify(archive)
    assert found.differences
    assert all(difference.startswith(told) for difference in found.differences)
