"""A shard's writer on PostgreSQL: what it refuses to write, what it answers when, and what stops it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from tests.clock import HandClock
from tests.ledger_scene import SettlementsInShards, authority_of, ledger_stores
from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import (
    HOME_WINS,
    RULES,
    Stores,
    balance_of,
    bet_on,
    move,
    open_player,
    place,
    postgres_stores,
    price,
    superuser,
)
from tests.writer_scene import ANN, BOB, books, count, ledger_over, request
from touchline.adapters.postgres.migrations import migrate
from touchline.adapters.postgres.shards import PostgresShard
from touchline.core.acceptance import Acceptance
from touchline.core.account import Role
from touchline.core.batch import Batch
from touchline.core.bet import PlaceBet
from touchline.core.errors import Code, Fault, Outage, Rejection
from touchline.core.facts import shard_of
from touchline.core.ids import MarketId, PlayerId
from touchline.flows.local_ledger import LocalLedger
from touchline.flows.write_shard import CROWD_MIN
from touchline.ports import Credentials, Placed
from touchline.ports.shards import Offered, ShardRecords
from touchline.runtime.postgres import PostgresServer


@pytest_asyncio.fixture
async def stores(database_dsn: str) -> AsyncIterator[Stores]:
    """V0's stores, to prepare the books with and to read them."""
    async with books(database_dsn) as made:
        yield made


@asynccontextmanager
async def taken(stores: Stores, shard: int = 1, shards: int = 2) -> AsyncIterator[ShardRecords]:
    assert stores.dsn is not None
    async with PostgresShard(stores.dsn, shard, shards).taken() as records:
        yield records


async def decided(stores: Stores, records: ShardRecords, *requests: PlaceBet, exposure_max: int = 10**9) -> Batch:
    market = await stores.markets.get(MARKET)
    assert market is not None
    rules = replace(RULES, exposure_max_minor=exposure_max)
    batch = Batch(await records.look_up(requests), {MARKET: market}, rules, stores.clock.now())
    for one in requests:
        assert isinstance(batch.place(one), Acceptance)
    return batch


async def cut(stores: Stores, name: str) -> None:
    async with superuser(stores) as admin:
        assert await admin.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name
        )


async def test_a_shard_has_one_writer(stores: Stores) -> None:
    async with taken(stores):
        with pytest.raises(Outage):
            async with taken(stores):
                pass
        async with taken(stores, 2):
            pass
    async with taken(stores):
        pass


async def test_a_replaced_writer_writes_nothing(stores: Stores) -> None:
    async with taken(stores) as late:
        batch = await decided(stores, late, await request(stores))
        await cut(stores, "shard 1 holder")
        with pytest.raises(Outage):
            await late.lost()
        async with taken(stores) as new:
            with pytest.raises(Outage):
                await late.record(batch)
            assert (await count(stores, "facts"), await count(stores, "bets")) == (0, 0)
            assert await new.record(await decided(stores, new, await request(stores)))
            eve = Credentials(PlayerId("eve"), Role.PLAYER, "hash", None)
            for late_step in (late.record(batch), late.register(eve, "eve", "EUR", stores.clock.now())):
                with pytest.raises(Outage):
                    await late_step
    assert (await count(stores, "facts"), await count(stores, "bets")) == (1, 1)
    assert await stores.accounts.profile(PlayerId("eve")) is None
    assert await balance_of(stores, ANN) == 99_000


async def test_facts_have_no_gap_where_a_batch_is_not_recorded(stores: Stores) -> None:
    async with taken(stores) as records:
        first = await request(stores)
        assert await records.record(await decided(stores, records, first))
        with pytest.raises(Fault):
            await records.record(await decided(stores, records, first))  # a bet's id is used once
        assert await records.record(await decided(stores, records, await request(stores), await request(stores)))
    async with superuser(stores) as connection:
        rows = await connection.fetch("SELECT seq FROM facts WHERE shard = 1 ORDER BY seq")
        assert await connection.fetchval("SELECT next_seq FROM shards WHERE shard = 1") == 4
    assert [row["seq"] for row in rows] == [1, 2, 3]


async def test_what_one_shard_takes_of_an_exposures_bound_another_does_not_take_as_well(stores: Stores) -> None:
    async with taken(stores, 1) as first, taken(stores, 2) as second:
        mine = await decided(stores, first, await request(stores), exposure_max=1_500)
        others = await decided(stores, second, await request(stores, BOB), exposure_max=1_500)
        assert await first.record(mine)
        assert not await second.record(others)
        assert (await count(stores, "facts"), await count(stores, "bets")) == (1, 1)
        less = await decided(stores, second, await request(stores, BOB, 500), exposure_max=1_500)
        assert await second.record(less)
    assert await stores.books.discrepancies() == []


async def test_exposures_are_the_last_that_a_batch_waits_for(stores: Stores) -> None:
    """So that shards hold up one another on a hot market no longer than a commit takes."""
    written = "SELECT pg_relation_size('facts') > 0 AND pg_relation_size('bets') > 0"
    async with ledger_over(stores) as ledger, superuser(stores) as holder, superuser(stores) as watcher:
        async with holder.transaction():
            row = (MARKET, HOME, 1, 1, 1)
            await holder.execute("INSERT INTO exposures VALUES ($1, $2, $3, $4, $5)", *row)
            assert not await watcher.fetchval(written)
            betting = asyncio.ensure_future(ledger.place(await request(stores)))
            async with asyncio.timeout(20):
                while not await watcher.fetchval(written):
                    await asyncio.sleep(0)
            assert not betting.done()
        assert isinstance(await betting, Placed)


async def test_a_wallet_that_somebody_else_writes_is_a_fault(stores: Stores) -> None:
    async with taken(stores) as records:
        batch = await decided(stores, records, await request(stores))
        await move(stores, ANN, 5, "past the writer")
        with pytest.raises(Fault):
            await records.record(batch)
        assert await count(stores, "bets") == 0
        assert await records.record(await decided(stores, records, await request(stores)))


async def test_the_number_of_shards_is_fixed_once_there_are_any(stores: Stores) -> None:
    async with taken(stores, 1, 2):
        pass
    for shard, shards in ((1, 3), (3, 3), (1, 1)):
        with pytest.raises(Fault):
            async with taken(stores, shard, shards):
                pass


async def test_nothing_is_answered_before_it_is_on_record(stores: Stores) -> None:
    async with ledger_over(stores) as ledger, superuser(stores) as holder:
        async with holder.transaction():
            await holder.execute("SELECT 1 FROM wallets WHERE user_id = $1 FOR UPDATE", ANN)
            taken_bet = asyncio.ensure_future(ledger.place(await request(stores, key="k")))
            async with superuser(stores) as watcher:
                while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0)
            again = asyncio.ensure_future(ledger.place(await request(stores, key="k")))
            refused = asyncio.ensure_future(ledger.place(await request(stores, stake=99_001)))
            done, _ = await asyncio.wait([taken_bet, again, refused], timeout=0.1)
            assert done == set()
        first, second, third = await asyncio.gather(taken_bet, again, refused)
    assert isinstance(first, Placed)
    assert second == Placed(first.bet, None)
    assert isinstance(third, Rejection)
    assert third.code is Code.INSUFFICIENT_BALANCE


async def test_what_the_books_refuse_fails_alone(stores: Stores) -> None:
    async with ledger_over(stores) as ledger:
        first = await request(stores, key="first")
        assert isinstance(await ledger.place(first), Placed)
        asked = [await request(stores, key=f"k{n}") for n in range(20)]
        asked[7] = replace(asked[7], bet_id=first.bet_id)
        answers = await asyncio.gather(*(ledger.place(one) for one in asked), return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if not isinstance(answer, Placed)] == [7]
    assert isinstance(answers[7], Fault)
    assert await balance_of(stores, ANN) == 80_000
    assert await count(stores, "facts") == 20


async def test_while_the_authority_is_away_only_bets_are_refused(stores: Stores) -> None:
    shown = authority_of(stores.markets)
    away = True

    async def authority(market_ids: Collection[MarketId]) -> Offered:
        if away:
            raise Outage("Valkey")
        return await shown(market_ids)

    async with ledger_over(stores, authority) as ledger:
        moving = replace_ledger(stores, ledger)
        bet, moved = await asyncio.gather(
            ledger.place(await request(stores)), move(moving, ANN, 5, "k"), return_exceptions=True
        )
        assert isinstance(bet, Outage)
        assert bet.dependency == "Valkey"
        assert isinstance(moved, tuple)
        away = False
        assert isinstance(await ledger.place(await request(stores)), Placed)


def replace_ledger(stores: Stores, ledger: LocalLedger) -> Any:
    """Stores whose money moves by way of a ledger."""

    class Accounts:
        async def move_funds(self, request: Any, _decide: Any) -> Any:
            return await ledger.move_funds(request)

    return replace(stores, accounts=Accounts())  # type: ignore[arg-type]  # all that `move` asks of it


async def test_more_than_may_wait_are_an_outage_at_once(stores: Stores) -> None:
    shown, gate = authority_of(stores.markets), asyncio.Event()

    async def authority(market_ids: Collection[MarketId]) -> Offered:
        await gate.wait()
        return await shown(market_ids)

    async with ledger_over(stores, authority, waiting_max=5, batch_bets_max=3) as ledger:
        asked = [asyncio.ensure_future(ledger.place(await request(stores))) for _ in range(12)]
        refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        assert all(isinstance(one.exception(), Outage) for one in refused)
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert 5 <= sum(isinstance(answer, Placed) for answer in answers) <= 8


async def test_after_a_crowd_the_next_few_bets_are_recorded_together(stores: Stores) -> None:
    async with ledger_over(stores, gather_s=1.0) as ledger:
        crowd = [await request(stores, key=str(n)) for n in range(CROWD_MIN)]
        first, second = await request(stores, key="first"), await request(stores, key="second")
        await asyncio.gather(*(ledger.place(one) for one in crowd))
        waits = ledger.place(first)
        assert await count(stores, "bets") == CROWD_MIN
        assert all(isinstance(answer, Placed) for answer in await asyncio.gather(waits, ledger.place(second)))
        assert ledger._writers[1].batches == 2


async def test_bets_go_on_while_settlements_work_waits(stores: Stores) -> None:
    async with ledger_over(stores) as ledger:
        other = await price(stores, market_id=MarketId("other"))
        for _ in range(30):
            await ledger.place(bet_on(stores, other, BOB, DRAW, 10))
        await stores.trading.settle(MarketId("other"), HOME_WINS)
        settlement = await stores.settlements.next_unfinished()
        assert settlement is not None
        order: list[str] = []

        async def work(n: int) -> None:
            assert (await ledger.work(1, settlement, stores.clock.now(), 1)).bets == 1
            order.append("work")

        async def bet() -> None:
            assert isinstance(await ledger.place(await request(stores)), Placed)
            order.append("bet")

        await asyncio.gather(*(work(n) for n in range(30)), bet())
        assert order.index("bet") < 5
        assert await ledger.to_work(1, settlement) == 0
    assert await stores.books.discrepancies() == []


async def test_a_settlement_that_is_taken_back_is_worked_no_further(database_dsn: str) -> None:
    async with ledger_stores(database_dsn) as stores:
        market = await price(stores)
        ann = await open_player(stores)
        for _ in range(6):
            await place(stores, bet_on(stores, market, ann, AWAY, 10))
        assert isinstance(stores.settlements, SettlementsInShards)
        ledger, shard = stores.settlements._ledger, shard_of(ann, 2)
        await stores.trading.settle(MARKET, HOME_WINS)
        settlement = await stores.settlements.next_unfinished()
        assert settlement is not None
        assert await ledger.to_work(shard, settlement) == 6
        assert (await ledger.work(shard, settlement, stores.clock.now(), 2)).bets == 2
        await stores.trading.roll_back(MARKET)
        assert await ledger.to_work(shard, settlement) == 0
        assert (await ledger.work(shard, settlement, stores.clock.now(), 2)).bets == 0
        [rollback, _] = await stores.settlements.of_market(MARKET)
        assert await ledger.to_work(shard, rollback) == 2
        assert (await ledger.work(shard, rollback, stores.clock.now(), 9)).bets == 2
        assert (await ledger.work(shard, rollback, stores.clock.now(), 9)).bets == 0


async def test_a_writer_outlives_its_server(servers_dir: Path) -> None:
    place_of_its_own = servers_dir / "outlived"
    place_of_its_own.mkdir()
    place_of_its_own.chmod(0o711)
    server = PostgresServer(place_of_its_own)
    child = await server.start()
    try:
        await migrate(server.dsn)
        async with postgres_stores(server.dsn, HandClock()) as stores, asyncio.timeout(120):
            await price(stores)
            await open_player(stores, ANN)
            async with ledger_over(stores) as ledger:
                asked = await request(stores, key="k")
                assert isinstance(await ledger.place(asked), Placed)
                child.signal(signal.SIGKILL)
                await child.wait()
                with pytest.raises(Outage):
                    await ledger.place(asked)
                child = await server.start()
                await ledger.ready()
                again = await ledger.place(asked)
                assert isinstance(again, Placed)
                assert again.balance is None
            assert await stores.books.discrepancies() == []
    finally:
        await child.stop()


async def test_whoever_listens_is_told_of_facts(stores: Stores) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    async with ledger_over(stores) as ledger, superuser(stores) as listener, asyncio.timeout(20):
        await listener.add_listener("facts", lambda *about: told.put_nowait(about[-1]))
        await ledger.place(await request(stores))
        assert await told.get() == "1"
        eve = Credentials(PlayerId("eve"), Role.PLAYER, "hash", None)
        assert await ledger.register(eve, "eve", "EUR", stores.clock.now())
        assert await told.get() == "1"


@pytest.mark.parametrize("key", ["a\x1fb", "a\x1eb", "\x1e", "", "a\x00b"])
async def test_a_text_that_would_be_taken_for_another_is_refused_alone(stores: Stores, key: str) -> None:
    async with ledger_over(stores) as ledger:
        wrong, right = await request(stores, key=key), await request(stores, key="k")
        answers = await asyncio.gather(ledger.place(wrong), ledger.place(right), return_exceptions=True)
    assert isinstance(answers[0], Fault)
    assert isinstance(answers[1], Placed)
    assert await balance_of(stores, ANN) == 99_000


async def test_an_id_of_a_bet_is_its_facts(stores: Stores) -> None:
    async with ledger_over(stores) as ledger:
        asked = await request(stores)
        await ledger.place(asked)
    async with superuser(stores) as connection:
        row = await connection.fetchrow("SELECT * FROM facts")
    assert (row["fact_id"], row["bet_id"], row["player_id"], row["kind"]) == (
        asked.bet_id,
        asked.bet_id,
        ANN,
        "BetAccepted",
    )
    assert isinstance(row["fact_id"], UUID)
