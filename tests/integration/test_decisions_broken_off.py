"""A request to decide a market that dies between any two of its steps, or meets others: one decision stands."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.settling import feed_says
from tests.samples import AWAY, DRAW, HOME, MARKET
from tests.scene import AWAY_WINS, HOME_WINS, Stores, balance_of, bet_on, open_player, place, superuser
from tests.settling_scene import Scene, at_work, settling_scene
from touchline.adapters.postgres.decisions import PostgresDecisions
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.feed import BetSettlement, RollbackBetSettlement
from touchline.core.ids import PlayerId
from touchline.core.market import MarketStatus, MarketStep
from touchline.core.standing import decided_as

pytestmark = pytest.mark.timeout(120)
ANN = PlayerId("ann")
STEPS = ("get", "change_market", "record_message")
CUT_WAITING = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"


class Dies(Exception):
    """The process is gone."""


class Mortal:
    """An authority at whose `at`-th step the process that asks it dies, before the step or after it."""

    def __init__(self, markets: Any, at: int, *, after: bool) -> None:
        self._markets = markets
        self._at = at
        self._after = after
        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        step = getattr(self._markets, name)
        if name not in STEPS:
            return step

        async def mortal(*arguments: Any, **named: Any) -> Any:
            self.steps += 1
            dies = self.steps == self._at
            if dies and not self._after:
                raise Dies
            answer = await step(*arguments, **named)
            if dies:
                raise Dies
            return answer

        return mortal


@pytest_asyncio.fixture
async def scene(database_dsn: str, valkey_url: str) -> AsyncIterator[Scene]:
    """Ann has 100000 less 1000 on each selection."""
    async with settling_scene(database_dsn, valkey_url) as made:
        await open_player(made.stores, ANN)
        await made.three_bets(ANN, MARKET)
        yield made


def mortal(scene: Scene, at: int, *, after: bool) -> tuple[Stores, Mortal]:
    """The platform, in a process that dies at a step of its authority."""
    authority: Any = Mortal(scene.stores.markets, at, after=after)
    decisions = PostgresDecisions(scene.database, authority, scene.stores.clock)
    return replace(scene.stores, settlements=decisions), authority


async def status(scene: Scene) -> MarketStatus:
    market = await scene.stores.markets.get(MARKET)
    assert market is not None
    return market.status


async def is_on_record(scene: Scene) -> bool:
    return bool(await scene.stores.settlements.of_market(MARKET))


@pytest.mark.parametrize("retried", [True, False], ids=["and comes again", "and never comes again"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 7))
async def test_a_result_that_dies_at_any_step(scene: Scene, at: int, after: bool, retried: bool) -> None:
    doomed, authority = mortal(scene, at, after=after)
    with pytest.raises(Dies):
        await feed_says(doomed, BetSettlement, "result", results=HOME_WINS)
    assert authority.steps == at
    recorded = await is_on_record(scene)
    assert recorded is (at > 2)  # the market is closed by then
    if retried:
        assert await feed_says(scene.stores, BetSettlement, "result", results=HOME_WINS) is not recorded
    async with at_work(scene.settlement):
        await scene.until_worked()
    if recorded or retried:
        assert await status(scene) is MarketStatus.SETTLED
        assert await balance_of(scene.stores, ANN) == 99_000
        assert len(await scene.decisions_told()) == 1
    else:
        assert await status(scene) is (MarketStatus.CLOSED if (at, after) == (2, True) else MarketStatus.ACTIVE)
        assert await balance_of(scene.stores, ANN) == 97_000
    assert await scene.discrepancies() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 6))
async def test_a_rollback_that_dies_at_any_step(scene: Scene, at: int, after: bool) -> None:
    assert await feed_says(scene.stores, BetSettlement, "result", results=HOME_WINS)
    doomed, _ = mortal(scene, at, after=after)
    with pytest.raises(Dies):
        await feed_says(doomed, RollbackBetSettlement, "back")
    await feed_says(scene.stores, RollbackBetSettlement, "back")
    async with at_work(scene.settlement):
        await scene.until_worked()
    assert await status(scene) is MarketStatus.SUSPENDED
    assert await balance_of(scene.stores, ANN) == 97_000
    assert len(await scene.decisions_told()) == 2
    assert await scene.discrepancies() == []


async def test_a_trader_who_asks_again_decides_nothing_twice(scene: Scene) -> None:
    """The market is on record as settled, and its authority does not know it yet: it shows it as closed."""
    doomed, _ = mortal(scene, 3, after=False)
    with pytest.raises(Dies):
        await doomed.trading.settle(MARKET, HOME_WINS)
    assert await status(scene) is MarketStatus.CLOSED
    await scene.stores.trading.settle(MARKET, HOME_WINS)
    assert await status(scene) is MarketStatus.SETTLED
    with pytest.raises(Rejection) as refused:
        await scene.stores.trading.settle(MARKET, AWAY_WINS)
    assert refused.value.code is Code.MARKET_CLOSED
    assert len(await scene.stores.settlements.of_market(MARKET)) == 1


async def test_bets_on_a_market_that_was_opened_again_in_between_are_settled_too(scene: Scene) -> None:
    doomed, _ = mortal(scene, 3, after=False)
    with pytest.raises(Dies):
        await doomed.trading.settle(MARKET, HOME_WINS)
    market = await scene.stores.trading.step(MARKET, MarketStep.RESUME)
    answer = await place(scene.stores, bet_on(scene.stores, market, ANN, key="late"))
    assert not isinstance(answer, Rejection)
    async with at_work(scene.settlement):
        await scene.until_worked()
    assert await status(scene) is MarketStatus.SETTLED
    assert await balance_of(scene.stores, ANN) == 99_000 + 1_000
    assert await scene.discrepancies() == []


class ClosesLast:
    """An authority that is away once it has closed a market."""

    def __init__(self, markets: Any) -> None:
        self._markets = markets
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        async def step(*arguments: Any, **named: Any) -> Any:
            if self._closed:
                raise Outage("Valkey")
            self._closed = name == "change_market"
            return await getattr(self._markets, name)(*arguments, **named)

        return step


async def test_an_authority_that_is_away_after_the_record_delays_nobody(scene: Scene) -> None:
    authority: Any = ClosesLast(scene.stores.markets)
    decisions = PostgresDecisions(scene.database, authority, scene.stores.clock)
    assert await feed_says(
        replace(scene.stores, settlements=decisions), BetSettlement, "result", results=HOME_WINS
    )
    assert await status(scene) is MarketStatus.CLOSED
    async with at_work(scene.settlement):
        await scene.until_worked()
    assert await status(scene) is MarketStatus.SETTLED
    assert await balance_of(scene.stores, ANN) == 99_000


async def test_a_connection_cut_while_it_decides_is_an_outage(scene: Scene) -> None:
    async with superuser(scene.stores) as holder, superuser(scene.stores) as admin:
        await holder.execute("SELECT pg_advisory_lock(6231012, hashtext($1))", MARKET)
        deciding = asyncio.create_task(feed_says(scene.stores, BetSettlement, "result", results=HOME_WINS))
        while not await admin.fetch(CUT_WAITING):
            await asyncio.sleep(0)
        with pytest.raises(Outage):
            await deciding
    assert not await is_on_record(scene)
    assert await feed_says(scene.stores, BetSettlement, "result", results=HOME_WINS)
    async with at_work(scene.settlement):
        await scene.until_worked()
    assert await balance_of(scene.stores, ANN) == 99_000


@pytest.mark.parametrize("seed", range(4))
async def test_many_decisions_at_once_leave_one_that_stands(scene: Scene, seed: int) -> None:
    chance, trading = random.Random(seed), scene.stores.trading

    async def decide() -> None:
        steps = [
            trading.settle(MARKET, HOME_WINS),
            trading.settle(MARKET, AWAY_WINS),
            trading.void(MARKET),
            trading.roll_back(MARKET),
            trading.step(MARKET, MarketStep.RESUME),
        ]
        chosen = chance.choice(steps)
        for step in steps:
            if step is not chosen:
                step.close()
        try:
            await chosen
        except (Rejection, Outage) as refused:
            refusals.append(str(refused))

    refusals: list[str] = []
    async with at_work(scene.settlement):
        for _ in range(6):
            await asyncio.gather(*(decide() for _ in range(5)))
        await scene.until_worked()
    assert all("MARKET_CLOSED" in why or "at once" in why for why in refusals)
    found = await scene.stores.settlements.of_market(MARKET)
    undone = {settlement.undoes for settlement in found}
    standing = [s for s in found if s.undoes is None and s.settlement_id not in undone]
    decided = decided_as(standing)
    assert (await status(scene) in (MarketStatus.SETTLED, MarketStatus.VOID)) is (decided is not None)
    assert decided in (None, await status(scene))
    results = standing[0].results if decided is MarketStatus.SETTLED else None
    paid = {None: 0 if decided is None else 3_000, HOME: 2_000, DRAW: 3_000, AWAY: 4_500}
    winner = results and next(key for key, outcome in results.items() if outcome.result.value == "won")
    assert await balance_of(scene.stores, ANN) == 97_000 + paid[winner or None]
    assert await scene.discrepancies() == []
