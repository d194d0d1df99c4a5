"""Settlements that can't be carried out: set aside with the reason, shown, tried again, and never passed by."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from tests.clock import NOON
from tests.contract.settling import feed_says, statuses
from tests.logs import facts, postgres_logs
from tests.samples import MARKET
from tests.scene import AWAY_WINS, HOME_WINS, balance_of, open_player
from tests.settling_scene import Scene, at_work, settling_scene
from touchline.adapters.postgres.activity import read_activity
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.dead_letters import PostgresDeadLetters
from touchline.cli_deadletters import deadletters_app
from touchline.core.errors import Fault
from touchline.core.feed import BetCancel
from touchline.core.ids import MarketId, PlayerId
from touchline.core.market import MarketStep
from touchline.core.settlement import Settlement

ANN, OTHER = PlayerId("ann"), MarketId("other")
pytestmark = pytest.mark.timeout(120)


class Broken:
    """A ledger that meets a fault at the settlements named."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.at: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def work(self, shard: int, settlement: Settlement, *arguments: Any) -> Any:
        if settlement.settlement_id in self.at:
            raise Fault("a bet in no state that the settlement could meet it in [/bet]")
        return await self._ledger.work(shard, settlement, *arguments)


@pytest_asyncio.fixture
async def scene(database_dsn: str, valkey_url: str) -> AsyncIterator[Scene]:
    """Ann has 100000 less 1000 on each selection of two markets."""
    async with settling_scene(database_dsn, valkey_url) as made:
        await open_player(made.stores, ANN)
        await made.three_bets(ANN, MARKET)
        await made.three_bets(ANN, OTHER)
        yield replace(made, settlement=replace(made.settlement, ledger=Broken(made.settlement.ledger)))


async def newest(scene: Scene, market_id: MarketId = MARKET) -> int:
    return (await scene.stores.settlements.of_market(market_id))[0].settlement_id


async def test_a_fault_is_set_aside_and_the_others_go_on(scene: Scene) -> None:
    broken: Any = scene.settlement.ledger
    await scene.stores.trading.settle(MARKET, HOME_WINS)
    number = await newest(scene)
    broken.at.add(number)
    await scene.stores.trading.settle(OTHER, HOME_WINS)
    async with at_work(scene.settlement):
        await scene.until_worked(number)
        while not (letters := await scene.letters.waiting(10)):
            await asyncio.sleep(0)
    [letter] = letters
    assert (letter.market_id, letter.settlement_id, letter.attempts) == (MARKET, number, 1)
    assert letter.why.startswith("a bet in no state that the settlement could meet it in")
    assert await balance_of(scene.stores, ANN) == 94_000 + 2_000
    assert (await read_activity(scene.database, NOON)).dead_letters == 1
    assert await scene.discrepancies() == []


async def test_what_comes_after_it_on_its_market_waits_for_it(scene: Scene) -> None:
    """A void of some bets that was not carried out: the result must not settle them."""
    broken: Any = scene.settlement.ledger
    stores = scene.stores
    bet = (await stores.bets.page(ANN, None, None, 10))[-1]
    assert await feed_says(stores, BetCancel, "cancel", placed_from=bet.placed_at)
    void = await newest(scene)
    broken.at.add(void)
    await stores.trading.settle(MARKET, AWAY_WINS)
    result = await newest(scene)
    async with at_work(scene.settlement):
        while len(await scene.letters.waiting(10)) < 2:
            await asyncio.sleep(0)
        first, second = await scene.letters.waiting(10)
        assert (first.settlement_id, second.settlement_id) == (void, result)
        assert f"settlement {void}" in second.why
        assert await balance_of(stores, ANN) == 94_000
        assert await scene.letters.replay(second.letter_id, stores.clock.now())  # too early: it comes back
        while (await scene.letters.waiting(10))[1].attempts < 2:
            await asyncio.sleep(0)
        broken.at.clear()
        for letter in await scene.letters.waiting(10):
            assert await scene.letters.replay(letter.letter_id, stores.clock.now())
        await scene.until_worked()
        while await scene.letters.waiting(10):
            await asyncio.sleep(0)
    assert await statuses(stores, ANN) == ["VOID void"] * 3 + ["PLACED -"] * 3
    assert await balance_of(stores, ANN) == 97_000
    assert not await scene.letters.replay(first.letter_id, stores.clock.now())  # it is resolved
    assert await scene.discrepancies() == []


async def test_a_rollback_is_no_prisoner_of_what_it_takes_back(scene: Scene) -> None:
    broken: Any = scene.settlement.ledger
    trading = scene.stores.trading
    await trading.settle(MARKET, AWAY_WINS)
    wrong = await newest(scene)
    broken.at.add(wrong)
    async with at_work(scene.settlement):
        while not await scene.letters.waiting(10):
            await asyncio.sleep(0)
        await trading.roll_back(MARKET)
        await trading.step(MARKET, MarketStep.RESUME)
        await trading.settle(MARKET, HOME_WINS)
        await scene.until_worked(wrong)
        [letter] = await scene.letters.waiting(10)
        assert await balance_of(scene.stores, ANN) == 94_000 + 2_000
        assert await scene.letters.replay(letter.letter_id, scene.stores.clock.now())
        await scene.until_worked()  # nothing is left of it to work
    assert await balance_of(scene.stores, ANN) == 94_000 + 2_000
    assert await scene.discrepancies() == []


async def test_a_letter_of_another_shard_is_shown_and_not_replayed(database_dsn: str) -> None:
    async with postgres_logs(database_dsn) as logs:
        await logs.record(facts(1, 1, 1))
    database = await Database.connect(database_dsn)
    letters = PostgresDeadLetters(database)
    for _ in range(3):
        await letters.bury("somebody", facts(1, 1, 1)[0], "why", NOON)
    [letter] = await letters.waiting(10)
    assert (letter.consumer, letter.market_id, letter.attempts) == ("somebody", None, 3)
    assert not await letters.replay(letter.letter_id, NOON)
    await letters.resolve("nobody", letter.fact_id, NOON)
    assert await letters.waiting(10) == [letter]
    await letters.resolve("somebody", letter.fact_id, NOON)
    assert await letters.waiting(10) == []
    await database.close()


async def test_the_command_line_shows_and_replays(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(deadletters_app, list(arguments))
        return done.exit_code, done.output

    monkeypatch.setenv("TOUCHLINE_POSTGRES", str(scene.stores.dsn))
    monkeypatch.setenv("COLUMNS", "160")
    assert await asyncio.to_thread(run, "list") == (0, "no dead letters\n")
    broken: Any = scene.settlement.ledger
    await scene.stores.trading.settle(MARKET, HOME_WINS)
    broken.at.add(await newest(scene))
    async with at_work(scene.settlement):
        while not (letters := await scene.letters.waiting(10)):
            await asyncio.sleep(0)
        status, shown = await asyncio.to_thread(run, "list")
        assert status == 1
        assert MARKET in shown
        assert "[/bet]" in shown  # as it stands, and no markup
        assert (await asyncio.to_thread(run, "replay"))[0] == 2
        assert (await asyncio.to_thread(run, "replay", "999"))[0] == 1
        broken.at.clear()
        status, shown = await asyncio.to_thread(run, "replay", str(letters[0].letter_id))
        assert (status, shown) == (0, f"letter {letters[0].letter_id}: told of once more\n")
        await scene.until_worked()
        while await scene.letters.waiting(10):
            await asyncio.sleep(0)
    assert await asyncio.to_thread(run, "replay", "--all") == (0, "no dead letters\n")
