"""A settlement worker killed anywhere, and its database connections cut: every bet is paid exactly once."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import (
    AWAY_WINS,
    HOME_WINS,
    Stores,
    balance_of,
    bet_on,
    open_player,
    place,
    postgres_stores,
    price,
    superuser,
)
from touchline.core.ids import PlayerId
from touchline.core.settlement import Results
from touchline.ports import Placed

ROOT = Path(__file__).parents[2]
PLAYERS, ROUNDS_OF_BETS = 8, 10
DEPOSITED, STAKE = 100_000, 1_000
PAYS = {HOME: 2_000, DRAW: 3_000, AWAY: 4_500}
CUT_WAITING = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE NOT granted AND application_name = 'touchline'"
)


@pytest.fixture(params=[1, 150], ids=["one by one", "in sets"])
def bets_at_once(request: pytest.FixtureRequest) -> int:
    """How many bets a worker works in one transaction."""
    return int(request.param)


@pytest_asyncio.fixture
async def stores(database_dsn: str, bets_at_once: int) -> AsyncIterator[Stores]:
    """Eight players with thirty bets each on one market."""
    async with postgres_stores(database_dsn) as plain:
        made = replace(plain, bets_at_once=bets_at_once)
        market = await price(made)
        players = [await open_player(made, f"p{n}", DEPOSITED) for n in range(PLAYERS)]
        for _ in range(ROUNDS_OF_BETS):
            for selection in (HOME, DRAW, AWAY):
                for player in players:
                    assert isinstance(await place(made, bet_on(made, market, player, selection)), Placed)
        yield made


@asynccontextmanager
async def worker(stores: Stores) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker at work; killed at the end, if it still is."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.settler",
        str(stores.dsn),
        str(stores.bets_at_once),
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


async def told_outage(child: asyncio.subprocess.Process) -> None:
    assert child.stdout is not None
    assert b"outage: PostgreSQL" in await child.stdout.readline()


async def done(stores: Stores) -> int:
    """How many bets have been worked in all."""
    return sum(settlement.bets_done for settlement in await stores.settlements.of_market(MARKET))


async def until(stores: Stores, bets: int) -> None:
    """Wait until so many bets are worked."""
    async with asyncio.timeout(60):
        while await done(stores) < bets:
            await asyncio.sleep(0)


async def until_all_is_worked(stores: Stores) -> None:
    async with asyncio.timeout(60):
        while await stores.settlements.next_unfinished() is not None:
            await asyncio.sleep(0)


async def assert_each_is_paid_once(stores: Stores, results: Results) -> None:
    winner = next(key for key, outcome in results.items() if outcome.result.value == "won")
    expected = DEPOSITED - 3 * ROUNDS_OF_BETS * STAKE + ROUNDS_OF_BETS * STAKE * PAYS[winner] // 1_000
    for n in range(PLAYERS):
        assert await balance_of(stores, PlayerId(f"p{n}")) == expected
    for settlement in await stores.settlements.of_market(MARKET):
        assert settlement.bets_done == settlement.bets_total == 3 * ROUNDS_OF_BETS * PLAYERS
        assert settlement.finished_at is not None
    assert await stores.books.discrepancies() == []


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_worker_killed_anywhere_pays_each_bet_once(stores: Stores, seed: int) -> None:
    chance, everyone = random.Random(seed), 3 * ROUNDS_OF_BETS * PLAYERS
    await stores.trading.settle(MARKET, AWAY_WINS)
    await stores.trading.roll_back(MARKET)
    await stores.trading.settle(MARKET, HOME_WINS)
    # What was decided and taken back before anyone worked it pays nobody; the rest is cut up by kills.
    for kill_at in sorted(chance.randrange(everyone) for _ in range(5)):
        async with worker(stores) as child:
            await until(stores, kill_at)
            child.kill()
            await child.wait()
        assert await stores.books.discrepancies() == []
    async with worker(stores):
        await until_all_is_worked(stores)
    newest = (await stores.settlements.of_market(MARKET))[0]
    assert newest.bets_done == newest.bets_total == everyone
    expected = DEPOSITED - 3 * ROUNDS_OF_BETS * STAKE + ROUNDS_OF_BETS * STAKE * 2
    assert [await balance_of(stores, PlayerId(f"p{n}")) for n in range(PLAYERS)] == [expected] * PLAYERS
    assert await stores.books.discrepancies() == []


async def test_rollbacks_and_corrections_survive_kills_too(stores: Stores) -> None:
    chance, everyone = random.Random(3), 3 * ROUNDS_OF_BETS * PLAYERS
    await stores.trading.settle(MARKET, AWAY_WINS)
    worked = 0
    for step in (stores.trading.roll_back(MARKET), stores.trading.settle(MARKET, HOME_WINS)):
        for kill_at in sorted(chance.randrange(everyone) for _ in range(2)):
            async with worker(stores) as child:
                await until(stores, worked + kill_at)
                child.kill()
                await child.wait()
        async with worker(stores):
            await until_all_is_worked(stores)
        worked += everyone
        await step
    async with worker(stores):
        await until_all_is_worked(stores)
    await assert_each_is_paid_once(stores, HOME_WINS)


@pytest.mark.parametrize("bets_at_once", [1, 37])  # so few that there is something left to cut three times
async def test_a_worker_whose_connections_are_cut_goes_on(stores: Stores) -> None:
    await stores.trading.settle(MARKET, HOME_WINS)
    async with superuser(stores) as admin, superuser(stores) as holder, worker(stores) as child:
        await until(stores, 1)
        for name in ("p3", "p5", "p7"):  # bets are worked in the order of their players
            async with holder.transaction(), asyncio.timeout(60):
                # The worker waits for this wallet in the midst of a bet, and there it is cut off.
                await holder.execute("SELECT 1 FROM wallets WHERE user_id = $1 FOR UPDATE", name)
                while not await admin.fetch(CUT_WAITING):
                    await asyncio.sleep(0)
                await told_outage(child)
        await until_all_is_worked(stores)
    await assert_each_is_paid_once(stores, HOME_WINS)


async def test_a_worker_whose_listener_is_cut_goes_on(stores: Stores) -> None:
    async with superuser(stores) as admin, worker(stores) as child:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%listener'"
        async with asyncio.timeout(30):
            while not await admin.fetch(cut):
                await asyncio.sleep(0)
            await told_outage(child)
        await stores.trading.settle(MARKET, HOME_WINS)
        await until_all_is_worked(stores)
    await assert_each_is_paid_once(stores, HOME_WINS)
