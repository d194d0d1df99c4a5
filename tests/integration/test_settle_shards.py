"""Settlement that follows the log: over all shards, each market's in order, and what can't be worked set aside."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from tests.clock import HandClock
from tests.contract.settling import feed_says, settle, statuses
from tests.samples import MARKET
from tests.scene import AWAY_WINS, HOME_WINS, balance_of, bet_on, open_player, place, price
from tests.settling_scene import Scene, at_work, settling_scene
from touchline.adapters.kafka.cluster import Cluster
from touchline.adapters.kafka.fact_log import KafkaFactLog
from touchline.adapters.kafka.publisher import KafkaPublisher
from touchline.adapters.postgres.fact_log import PostgresFactLog
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.feed import BetCancel, BetSettlement, RollbackBetCancel
from touchline.core.ids import MarketId, PlayerId
from touchline.core.market import MarketStatus, MarketStep
from touchline.core.settlement import SettlementKind
from touchline.flows.relay_facts import FactRelay

OTHER = MarketId("other")
PLAYERS = [f"p{n}" for n in range(6)]  # some in each shard
pytestmark = pytest.mark.timeout(120)


@pytest_asyncio.fixture
async def scene(database_dsn: str, valkey_url: str) -> AsyncIterator[Scene]:
    """Six players with three bets each on one market."""
    async with settling_scene(database_dsn, valkey_url) as made:
        for name in PLAYERS:
            await open_player(made.stores, name)
            await made.three_bets(name, MARKET)
        yield made


async def balances(scene: Scene) -> set[int]:
    return {await balance_of(scene.stores, PlayerId(name)) for name in PLAYERS}


async def test_a_decision_is_carried_out_over_all_shards(scene: Scene) -> None:
    async with at_work(scene.settlement):
        await scene.stores.trading.settle(MARKET, HOME_WINS)
        await scene.until_worked()
    assert await balances(scene) == {99_000}
    [done] = await scene.stores.settlements.of_market(MARKET)
    assert (done.bets_total, done.bets_done, done.finished_at) == (18, 18, scene.stores.clock.now())
    market = await scene.stores.markets.get(MARKET)
    assert market is not None
    assert market.status is MarketStatus.SETTLED
    for name in PLAYERS:
        assert await scene.settlement.sessions.balance(PlayerId(name)) == await scene.stores.accounts.balance(
            PlayerId(name)
        )
    assert scene.meter.bets == {SettlementKind.SETTLE: 18}
    assert scene.meter.finished_ids == [done.settlement_id]
    assert await scene.discrepancies() == []


async def test_a_fact_that_comes_again_has_no_second_effect(scene: Scene) -> None:
    settlement = await settle(scene.stores)
    for _ in range(3):
        await scene.work(settlement)
    await asyncio.gather(*(scene.work(settlement) for _ in range(3)))
    assert await balances(scene) == {99_000}
    assert scene.meter.bets == {SettlementKind.SETTLE: 18}
    assert await scene.discrepancies() == []


async def test_two_that_work_the_same_pay_once(scene: Scene) -> None:
    settlement = await settle(scene.stores)
    few = replace(scene, settlement=replace(scene.settlement, bets_at_once=1))
    await asyncio.gather(*(few.work(settlement) for _ in range(4)))
    assert await balances(scene) == {99_000}
    assert scene.meter.bets == {SettlementKind.SETTLE: 18}
    assert await scene.discrepancies() == []


async def test_what_is_decided_last_stands(scene: Scene) -> None:
    trading = scene.stores.trading
    await trading.settle(MARKET, AWAY_WINS)
    await trading.roll_back(MARKET)
    await trading.settle(MARKET, HOME_WINS)
    async with at_work(scene.settlement):
        await scene.until_worked()
        assert await balances(scene) == {99_000}
        await trading.void(MARKET)
        await trading.roll_back(MARKET)
        await trading.step(MARKET, MarketStep.RESUME)
        await trading.settle(MARKET, AWAY_WINS)
        await scene.until_worked()
    assert await balances(scene) == {97_000 + 4_500}
    assert await scene.discrepancies() == []


async def test_windows_and_corrections_by_the_feed(scene: Scene) -> None:
    stores = scene.stores
    before = (await stores.bets.page(PlayerId("p0"), None, None, 3))[0].placed_at
    async with at_work(scene.settlement):
        assert await feed_says(stores, BetCancel, "a", placed_from=before)
        await scene.until_worked()
        assert await statuses(stores, PlayerId("p0")) == ["VOID void"] * 3
        assert await feed_says(stores, RollbackBetCancel, "b")
        assert await feed_says(stores, BetSettlement, "c", results=AWAY_WINS)
        assert await feed_says(stores, BetSettlement, "d", results=HOME_WINS)
        assert not await feed_says(stores, BetSettlement, "d", results=HOME_WINS)
        await scene.until_worked()
    assert await balances(scene) == {99_000}
    assert await scene.discrepancies() == []


async def test_bets_that_race_with_a_decision_are_all_settled(scene: Scene) -> None:
    market = await scene.stores.markets.get(MARKET)
    assert market is not None

    async def bet(name: str) -> int:
        """Bet until the market takes no more; returns how many were taken."""
        for taken in range(1_000):
            answer = await place(scene.stores, bet_on(scene.stores, market, PlayerId(name), key=f"{name}-{taken}"))
            if isinstance(answer, Rejection):
                assert answer.code in (Code.MARKET_CLOSED, Code.INSUFFICIENT_BALANCE)
                return taken
        raise AssertionError("the market never closed")

    async with at_work(scene.settlement):
        betting = [asyncio.create_task(bet(name)) for name in PLAYERS]
        while await scene.database.value("SELECT count(*) FROM bets") < 60:
            await asyncio.sleep(0)
        await scene.stores.trading.settle(MARKET, HOME_WINS)
        taken = sum(await asyncio.gather(*betting))
        await scene.until_worked()
    [done] = await scene.stores.settlements.of_market(MARKET)
    assert done.bets_done == done.bets_total == 18 + taken
    assert await scene.database.value("SELECT count(*) FROM bets WHERE status = 'PLACED'") == 0
    assert await scene.discrepancies() == []


class HeldUp:
    """A ledger that works one market only once it may."""

    def __init__(self, ledger: Any, market_id: MarketId) -> None:
        self._ledger = ledger
        self._market_id = market_id
        self.may = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def work(self, shard: int, settlement: Any, *arguments: Any) -> Any:
        if settlement.market_id == self._market_id:
            await self.may.wait()
        return await self._ledger.work(shard, settlement, *arguments)


async def test_one_market_waits_for_no_other(scene: Scene) -> None:
    for name in PLAYERS:
        await scene.three_bets(name, OTHER)
    slow = HeldUp(scene.settlement.ledger, MARKET)
    async with at_work(replace(scene.settlement, ledger=slow)):
        await scene.stores.trading.settle(MARKET, HOME_WINS)
        await scene.stores.trading.settle(OTHER, HOME_WINS)
        [first] = await scene.stores.settlements.of_market(MARKET)
        await scene.until_worked(first.settlement_id)
        await scene.stores.trading.roll_back(OTHER)  # in a later delivery
        await scene.until_worked(first.settlement_id)
        slow.may.set()
        await scene.until_worked()
    assert await balances(scene) == {99_000 - 3_000}
    assert await scene.discrepancies() == []


class Away:
    """A ledger whose work is an outage every other time."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def work(self, *arguments: Any) -> Any:
        worked = await self._ledger.work(*arguments)
        self.calls += 1
        if self.calls % 2:
            raise Outage("shard 1")  # its answer is lost
        return worked


async def test_an_outage_passes_through_and_running_again_goes_on(scene: Scene) -> None:
    away = replace(scene.settlement, ledger=Away(scene.settlement.ledger), bets_at_once=2)
    await scene.stores.trading.settle(MARKET, AWAY_WINS)
    await scene.stores.trading.roll_back(MARKET)
    await scene.stores.trading.settle(MARKET, HOME_WINS)
    outages = 0
    while await scene.unfinished():
        working = asyncio.create_task(away.run())
        worked = asyncio.create_task(scene.until_worked())
        await asyncio.wait([working, worked], return_when=asyncio.FIRST_COMPLETED)
        for task in (working, worked):
            task.cancel()
        [ended, _] = await asyncio.gather(working, worked, return_exceptions=True)
        outages += isinstance(ended, Outage)
    assert outages > 2
    assert await balances(scene) == {99_000}
    assert await scene.discrepancies() == []


async def test_settlements_that_the_log_has_no_fact_of_are_told_of(scene: Scene) -> None:
    """Another architecture's, begun there and to be carried out here."""
    await settle(scene.stores)
    await scene.database.value("ALTER TABLE facts DISABLE TRIGGER facts_append_only")
    await scene.database.value("DELETE FROM facts WHERE shard = 0")
    await scene.database.value("UPDATE shards SET next_seq = 1 WHERE shard = 0")
    async with at_work(scene.settlement):
        await scene.until_worked()
    assert await scene.settlement.decisions.tell_untold() == 0
    assert len(await scene.decisions_told()) == 1
    assert await balances(scene) == {99_000}


async def test_settlement_follows_kafka_too(scene: Scene, kafka_address: str) -> None:
    cluster = Cluster(kafka_address, topic=f"facts.{scene.stores.chance.uuid().hex}", partitions=3)
    publisher = KafkaPublisher(cluster)
    relay = asyncio.create_task(FactRelay(PostgresFactLog(scene.database), publisher).run())
    async with at_work(replace(scene.settlement, log=KafkaFactLog(cluster, [0]))):
        await price(scene.stores, market_id=OTHER)
        for market_id, step in ((MARKET, HOME_WINS), (OTHER, AWAY_WINS)):
            await scene.stores.trading.settle(market_id, step)
        await scene.stores.trading.roll_back(MARKET)
        await scene.stores.trading.settle(MARKET, AWAY_WINS)
        await scene.until_worked()
    relay.cancel()
    await asyncio.wait([relay])
    await publisher.close()
    assert await balances(scene) == {97_000 + 4_500}
    assert await scene.discrepancies() == []


class LongClock(HandClock):
    """One by which everything takes a tenth of a second."""

    def now(self) -> datetime:
        self.move(timedelta(milliseconds=100))
        return super().now()


async def test_a_writer_holds_fewer_bets_the_longer_they_take(database_dsn: str, valkey_url: str) -> None:
    async with settling_scene(database_dsn, valkey_url, shards=1, clock=LongClock()) as scene:
        await open_player(scene.stores, "ann", 210_000)
        for _ in range(70):
            await scene.three_bets("ann", MARKET)
        settlement, ledger = await settle(scene.stores), scene.settlement.ledger
        at = scene.stores.clock.now()
        assert [(await ledger.work(1, settlement, at, 500)).bets for _ in range(5)] == [100, 50, 50, 10, 0]
        assert await scene.discrepancies() == []
