"""Many at once on one PostgreSQL: no price that was not current, no wallet below zero, no bet twice."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

import pytest
import pytest_asyncio

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
    place,
    placed,
    postgres_stores,
    price,
    superuser,
    work_all,
)
from touchline.adapters.ledger_stores import LedgerAccounts
from touchline.adapters.system import SystemClock
from touchline.core.bet import Accept, Bet, BetStatus
from touchline.core.errors import Code, Rejection
from touchline.core.ids import MarketId, PlayerId
from touchline.core.ledger import TransferKind
from touchline.core.limits import LimitKind, Period
from touchline.core.market import MarketStatus, MarketStep
from touchline.ports import Placed


@pytest_asyncio.fixture(params=[postgres_stores, ledger_stores], ids=["postgres", "stream"])
async def stores(database_dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """A platform by the machine's clock, so that what came first can be told."""
    async with request.param(database_dsn, SystemClock()) as made:
        yield made


@pytest_asyncio.fixture
async def other(stores: Stores, database_dsn: str) -> AsyncIterator[Stores]:
    """What another process has; where shards have one writer each, it asks the same."""
    if isinstance(stores.accounts, LedgerAccounts):
        yield stores
        return
    async with postgres_stores(database_dsn) as made:
        yield made


@pytest_asyncio.fixture
async def poll_stores(database_dsn: str) -> AsyncIterator[Stores]:
    """V0's, whose markets are locked while a bet on them is recorded."""
    async with postgres_stores(database_dsn, SystemClock()) as made:
        yield made


async def players(stores: Stores, count: int, deposited: int) -> list[PlayerId]:
    return [await open_player(stores, f"p{n}", deposited) for n in range(count)]


async def offered(stores: Stores) -> list[tuple[int, str, dict[str, int], datetime]]:
    """What the market offered: version, status, odds by selection, since when."""
    async with superuser(stores) as connection:
        rows = await connection.fetch(
            "SELECT odds_version, status, recorded_at, (SELECT json_object_agg(s ->> 'selection_id',"
            " ((s ->> 'odds')::numeric * 1000)::int) FROM jsonb_array_elements(selections) s) AS odds"
            " FROM odds_history WHERE market_id = $1 ORDER BY odds_version",
            MARKET,
        )
    return [(r["odds_version"], r["status"], json.loads(r["odds"]), r["recorded_at"]) for r in rows]


async def test_no_bet_is_taken_at_a_price_that_is_not_current(poll_stores: Stores) -> None:
    stores = poll_stores
    everyone = await players(stores, 20, 5_000)
    first = await price(stores)
    done = asyncio.Event()

    async def change_prices() -> None:
        steps = 0
        while not done.is_set():
            steps += 1
            status = MarketStatus.SUSPENDED if steps % 7 == 0 else MarketStatus.ACTIVE
            await price(stores, {HOME: 2_000 + steps, AWAY: 4_000 - steps}, status=status)

    async def bet(player_id: PlayerId, n: int) -> Placed | Rejection:
        seen = first if n % 4 == 0 else await stores.markets.get(MARKET)
        assert seen is not None
        accept = (Accept.NONE, Accept.BETTER, Accept.ANY)[n % 3]
        return await place(stores, bet_on(stores, seen, player_id, (HOME, AWAY)[n % 2], 1_000, f"k{n}", accept))

    changing = asyncio.create_task(change_prices())
    answers = await asyncio.gather(*(bet(player, n) for n in range(10) for player in everyone))
    done.set()
    await changing

    taken = [answer.bet for answer in answers if isinstance(answer, Placed)]
    refused = Counter(answer.code for answer in answers if isinstance(answer, Rejection))
    assert taken
    assert set(refused) <= {Code.ODDS_CHANGED, Code.MARKET_SUSPENDED, Code.INSUFFICIENT_BALANCE}
    history = await offered(stores)
    assert [version for version, *_ in history] == list(range(1, len(history) + 1))
    for one in taken:
        _, status, odds, since = history[one.odds_version - 1]
        assert (status, odds[one.selection_id]) == ("active", one.odds_milli)
        assert since <= one.placed_at
        if one.odds_version < len(history):
            assert one.placed_at <= history[one.odds_version][3]
    for player in everyone:
        mine = [one for one in taken if one.player_id == player]
        assert await balance_of(stores, player) == 5_000 - 1_000 * len(mine) >= 0
    assert await stores.books.discrepancies() == []


async def test_one_key_sent_fifty_times_at_once_is_one_bet_and_one_answer(stores: Stores) -> None:
    ann, market = await open_player(stores, deposited=1_000), await price(stores)
    requests = [bet_on(stores, market, ann, stake=1_000, key="k") for _ in range(50)]
    answers = await asyncio.gather(*(place(stores, request) for request in requests))
    bets: list[Bet] = [answer.bet for answer in answers if isinstance(answer, Placed)]
    assert bets == bets[:1] * 50
    assert sum(isinstance(answer, Placed) and answer.balance is not None for answer in answers) == 1
    assert await stores.bets.page(ann, None, None, 100) == bets[:1]
    assert await balance_of(stores, ann) == 0


async def test_one_key_on_two_markets_at_once_is_one_bet(stores: Stores) -> None:
    ann = await open_player(stores)
    markets = [await price(stores, market_id=MarketId(name)) for name in ("a", "b")]
    answers = await asyncio.gather(
        *(place(stores, bet_on(stores, market, ann, key="k")) for _ in range(10) for market in markets)
    )
    bets = {answer.bet.bet_id for answer in answers if isinstance(answer, Placed)}
    assert len(bets) == 1
    conflicts = [answer.code for answer in answers if isinstance(answer, Rejection)]
    assert conflicts == [Code.IDEMPOTENCY_CONFLICT] * 10
    assert await balance_of(stores, ann) == 99_000


async def test_bets_and_withdrawals_at_once_never_overdraw(stores: Stores) -> None:
    ann, market = await open_player(stores, deposited=10_000), await price(stores)
    bets = [place(stores, bet_on(stores, market, ann, stake=700)) for _ in range(20)]
    moves = [move(stores, ann, 900, f"w{n}", TransferKind.WITHDRAWAL) for n in range(20)]
    mixed = [asyncio.ensure_future(one) for pair in zip(bets, moves, strict=True) for one in pair]
    answers = await asyncio.gather(*mixed)
    staked = 700 * sum(isinstance(answer, Placed) for answer in answers)
    withdrawn = 900 * sum(isinstance(answer, tuple) for answer in answers)
    assert await balance_of(stores, ann) == 10_000 - staked - withdrawn
    assert 0 <= await balance_of(stores, ann) < 700
    refused = {answer.code for answer in answers if isinstance(answer, Rejection)}
    assert refused == {Code.INSUFFICIENT_BALANCE}
    assert await stores.books.discrepancies() == []


async def test_no_bet_is_placed_once_the_market_is_decided_and_each_is_paid_once(stores: Stores) -> None:
    everyone = await players(stores, 10, 100_000)
    market = await price(stores)
    racing = [place(stores, bet_on(stores, market, everyone[n % 10], key=f"k{n}")) for n in range(100)]
    betting = [asyncio.create_task(one) for one in racing]
    await asyncio.wait(betting, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(stores.trading.settle(MARKET, HOME_WINS), work_all(stores), work_all(stores))
    answers = await asyncio.gather(*betting)
    await work_all(stores)
    taken = [answer.bet for answer in answers if isinstance(answer, Placed)]
    assert {answer.code for answer in answers if isinstance(answer, Rejection)} <= {Code.MARKET_CLOSED}
    decided_at = (await offered(stores))[-1][3]
    assert taken
    assert all(bet.placed_at <= decided_at for bet in taken)
    [settlement] = await stores.settlements.of_market(MARKET)
    assert (settlement.bets_total, settlement.bets_done) == (len(taken), len(taken))
    for player in everyone:
        mine = await stores.bets.page(player, None, None, 100)
        assert {bet.status for bet in mine} <= {BetStatus.SETTLED}
        assert await balance_of(stores, player) == 100_000 + 1_000 * len(mine)
    assert await stores.books.discrepancies() == []


async def test_two_workers_at_once_pay_each_bet_once(stores: Stores, other: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    for _ in range(40):
        await placed(stores, bet_on(stores, market, ann, AWAY))
    for results in (HOME_WINS, AWAY_WINS):
        await stores.trading.settle(MARKET, results)
        await asyncio.gather(work_all(stores), work_all(other))
        await stores.trading.roll_back(MARKET)
        await asyncio.gather(work_all(other), work_all(stores))
        assert await balance_of(stores, ann) == 60_000
    await stores.trading.settle(MARKET, AWAY_WINS)
    await asyncio.gather(work_all(stores), work_all(other))
    assert await balance_of(stores, ann) == 60_000 + 40 * 4_500
    assert {s.bets_done for s in await stores.settlements.of_market(MARKET)} == {40}
    assert await stores.books.discrepancies() == []


async def test_everything_at_once_ends_in_no_deadlock(stores: Stores, other: Stores) -> None:
    everyone = await players(stores, 4, 50_000)
    markets = [await price(stores, market_id=MarketId(name)) for name in ("a", "b", "c")]
    chance = random.Random(5)

    async def bet(n: int) -> None:
        market = await stores.markets.get(markets[n % 3].market_id)
        assert market is not None
        selection = chance.choice((HOME, DRAW, AWAY))
        await place(
            stores, bet_on(stores, market, chance.choice(everyone), selection, key=f"b{n}", accept=Accept.ANY)
        )

    async def decide(n: int) -> None:
        market_id = markets[n % 3].market_id
        for step in (
            stores.trading.settle(market_id, HOME_WINS if n % 2 else AWAY_WINS),
            stores.trading.roll_back(market_id),
            stores.trading.step(market_id, MarketStep.RESUME),
            price(stores, {HOME: 2_000 + n}, market_id=market_id),
        ):
            try:
                await step
            except Rejection as refused:  # what another had done already
                assert refused.code is Code.MARKET_CLOSED  # noqa: PT017  # one of many steps, each may be refused

    async def fund(n: int) -> None:
        kind = TransferKind.DEPOSIT if n % 2 else TransferKind.WITHDRAWAL
        await move(stores, chance.choice(everyone), 100, f"f{n}", kind)

    works = [work_all(stores), work_all(other)]
    steps = [step(n) for n in range(60) for step in (bet, bet, fund)] + [decide(n) for n in range(12)]
    chance.shuffle(steps)
    await asyncio.gather(*steps, *works)  # a deadlock would be an Outage
    await asyncio.gather(work_all(stores), work_all(other))
    assert await stores.books.discrepancies() == []
    sums = await stores.books.sums()
    assert sums["wallets"] - sums["debts"] + sums["stakes"] + sums["house"] + sums["cashier"] == 0


async def test_a_limit_holds_against_bets_at_once(stores: Stores) -> None:
    ann = await open_player(stores)
    markets = [await price(stores, market_id=MarketId(f"m{n}")) for n in range(10)]
    await stores.accounts.change_limits(ann, {(LimitKind.STAKE, Period.DAY): 3_500}, stores.clock.now())
    answers = await asyncio.gather(*(place(stores, bet_on(stores, market, ann)) for market in markets))
    assert sum(isinstance(answer, Placed) for answer in answers) == 3
    assert {a.code for a in answers if isinstance(a, Rejection)} == {Code.LIMIT_EXCEEDED}


async def test_the_books_bound_holds_against_bets_at_once(stores: Stores) -> None:
    """A selection's liability is kept under the market's lock, so that bets at once can't pass the bound."""
    everyone = await players(stores, 12, 10**9)
    market = await price(stores, {HOME: 20_000})
    requests = [replace(bet_on(stores, market, player), stake_minor=1_000_000) for player in everyone]
    answers = await asyncio.gather(*(place(stores, request) for request in requests))
    assert sum(isinstance(answer, Placed) for answer in answers) == 5  # 19 million each of 100 million
    assert {a.code for a in answers if isinstance(a, Rejection)} == {Code.EXPOSURE_EXCEEDED}
