"""Writers of shards killed, hung and replaced under load: what was answered is on record, once, without a gap."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.writer_process import SECRET
from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import Stores, bet_on, postgres_stores, price, superuser
from touchline.adapters.shards import RemoteLedger
from touchline.adapters.system import SystemClock
from touchline.core.account import Role
from touchline.core.bet import Bet
from touchline.core.errors import Outage
from touchline.core.funds import MoveFunds
from touchline.core.ids import PlayerId
from touchline.core.ledger import TransferKind
from touchline.core.market import Market
from touchline.ports import Credentials, Placed
from touchline.ports.stream import Ledger

ROOT = Path(__file__).parents[2]
SHARDS, PLAYERS, BETS_EACH = 2, 24, 25
DEPOSITED, STAKE = 100_000, 10
PATIENT, HASTY = 10.0, 1.0  # how long a writer may be silent, in seconds


@asynccontextmanager
async def writers(dsn: str, silent_max_s: float = PATIENT) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with a writer for each shard; killed at the end, if it still is there."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.writer_process",
        dsn,
        str(SHARDS),
        str(silent_max_s),
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


async def told(child: asyncio.subprocess.Process, words: str) -> None:
    """Wait until a process says so."""
    assert child.stdout is not None
    async with asyncio.timeout(60):
        while words not in (line := (await child.stdout.readline()).decode()):
            assert line, f"it ended without saying {words}"


@pytest_asyncio.fixture
async def stores(database_dsn: str) -> AsyncIterator[Stores]:
    """The books as anybody reads them, with one market."""
    async with postgres_stores(database_dsn, SystemClock()) as made:
        await price(made)
        yield made


@pytest_asyncio.fixture
async def ledger(stores: Stores) -> AsyncIterator[RemoteLedger]:
    """A pod's ledger, which finds the writers where the books say they are."""

    async def addresses() -> Mapping[int, str]:
        async with superuser(stores) as connection:
            rows = await connection.fetch("SELECT shard, address FROM shards WHERE address IS NOT NULL")
        return {row["shard"]: row["address"] for row in rows}

    made = RemoteLedger(SHARDS, addresses, SECRET, answer_s=20)
    yield made
    await made.close()


async def open_players(stores: Stores, ledger: Ledger) -> list[PlayerId]:
    players = [PlayerId(f"p{n}") for n in range(PLAYERS)]
    for player in players:
        credentials = Credentials(player, Role.PLAYER, "hash", None)
        assert await ledger.register(credentials, player, "EUR", stores.clock.now())
        await ledger.move_funds(
            MoveFunds(
                move_id=stores.chance.uuid(),
                player_id=player,
                kind=TransferKind.DEPOSIT,
                amount_minor=DEPOSITED,
                idempotency_key="first",
            )
        )
    return players


class Load:
    """Players who bet one after another, each bet sent until it is answered, as a client does that has a key."""

    def __init__(self, stores: Stores, ledger: Ledger, market: Market) -> None:
        self._stores = stores
        self._ledger = ledger
        self._market = market
        self.acknowledged: list[Bet] = []

    async def run(self, player: PlayerId) -> None:
        for n in range(BETS_EACH):
            request = bet_on(self._stores, self._market, player, (HOME, DRAW, AWAY)[n % 3], STAKE, f"k{n}")
            while True:
                try:
                    answer = await self._ledger.place(request)
                    break
                except Outage:
                    await asyncio.sleep(0.01)
            assert isinstance(answer, Placed), answer
            self.acknowledged.append(answer.bet)

    async def until(self, bets: int) -> None:
        async with asyncio.timeout(120):
            while len(self.acknowledged) < bets:
                await asyncio.sleep(0)


async def assert_whole(stores: Stores, acknowledged: list[Bet], bets: int) -> None:
    """Every answer is on record, once; facts have no gap, and say the same; the books balance."""
    async with superuser(stores) as connection:
        rows = await connection.fetch("SELECT bet_id, user_id, idempotency_key FROM bets")
        facts = await connection.fetch("SELECT shard, seq, epoch, kind, bet_id FROM facts ORDER BY shard, seq")
        places = dict(await connection.fetch("SELECT shard, next_seq FROM shards"))
    assert len(rows) == bets
    assert {bet.bet_id for bet in acknowledged} == {row["bet_id"] for row in rows}
    assert max(Counter((row["user_id"], row["idempotency_key"]) for row in rows).values()) == 1
    for shard in range(1, SHARDS + 1):
        of_shard = [fact for fact in facts if fact["shard"] == shard]
        assert [fact["seq"] for fact in of_shard] == list(range(1, places[shard]))
        epochs = [fact["epoch"] for fact in of_shard]
        assert epochs == sorted(epochs)
    accepted = [fact["bet_id"] for fact in facts if fact["kind"] == "BetAccepted"]
    assert sorted(accepted) == sorted(row["bet_id"] for row in rows)
    assert await stores.books.discrepancies() == []


@pytest.mark.parametrize("seed", [1, 2])
async def test_writers_killed_under_load_lose_nothing_and_take_nothing_twice(
    stores: Stores, ledger: RemoteLedger, database_dsn: str, seed: int
) -> None:
    chance, bets = random.Random(seed), PLAYERS * BETS_EACH
    async with AsyncExitStack() as processes:
        at_work = await processes.enter_async_context(writers(database_dsn))
        await told(at_work, "ready")
        load = Load(stores, ledger, await the_market(stores))
        betting = asyncio.gather(*[load.run(player) for player in await open_players(stores, ledger)])
        for kill_at in sorted(chance.randrange(bets) for _ in range(4)):
            next_one = await processes.enter_async_context(writers(database_dsn))  # it stands by
            await load.until(kill_at)
            at_work.kill()
            await told(next_one, "ready")
            at_work = next_one
        await betting
    await assert_whole(stores, load.acknowledged, bets)


async def test_a_writer_that_hangs_is_replaced_and_writes_nothing_once_it_goes_on(
    stores: Stores, ledger: RemoteLedger, database_dsn: str
) -> None:
    bets = PLAYERS * BETS_EACH
    async with writers(database_dsn, HASTY) as hung:
        await told(hung, "ready")
        load = Load(stores, ledger, await the_market(stores))
        betting = asyncio.gather(*[load.run(player) for player in await open_players(stores, ledger)])
        async with writers(database_dsn, HASTY):
            await load.until(bets // 3)
            hung.send_signal(signal.SIGSTOP)
            await load.until(bets // 2)
            hung.send_signal(signal.SIGCONT)
            await told(hung, "is let go of")
            await betting
    await assert_whole(stores, load.acknowledged, bets)


async def test_connections_cut_under_load_lose_nothing(
    stores: Stores, ledger: RemoteLedger, database_dsn: str
) -> None:
    bets = PLAYERS * BETS_EACH
    async with writers(database_dsn) as child, superuser(stores) as admin:
        await told(child, "ready")
        load = Load(stores, ledger, await the_market(stores))
        betting = asyncio.gather(*[load.run(player) for player in await open_players(stores, ledger)])
        for n, part in enumerate(("writer", "reader", "holder"), start=1):
            await load.until(bets * n // 4)
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
            for shard in range(1, SHARDS + 1):
                assert await admin.fetch(cut, f"shard {shard} {part}")
            for _ in range(SHARDS):
                await told(child, "is let go of")
        await betting
    await assert_whole(stores, load.acknowledged, bets)


async def test_one_key_sent_by_many_pods_at_once_is_one_bet(
    stores: Stores, ledger: RemoteLedger, database_dsn: str
) -> None:
    async with writers(database_dsn) as child:
        await told(child, "ready")
        player, *_ = await open_players(stores, ledger)
        request = bet_on(stores, await the_market(stores), player, HOME, STAKE, "k")
        answers = await asyncio.gather(*(ledger.place(request) for _ in range(50)))
        bets = [answer.bet for answer in answers if isinstance(answer, Placed)]
        assert bets == bets[:1] * 50
    await assert_whole(stores, bets, 1)


async def the_market(stores: Stores) -> Market:
    market = await stores.markets.get(MARKET)
    assert market is not None
    return market
