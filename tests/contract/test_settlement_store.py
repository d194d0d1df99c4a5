"""The `SettlementStore` contract, on memory and on PostgreSQL."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

from tests.clock import HandClock
from tests.contract.settling import (  # noqa: F401  # two of them are fixtures
    feed_says,
    next_of,
    settle,
    settling_kind,
    settling_stores,
    statuses,
    statuses_of_market,
    three_bets,
    work_some,
)
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
    work_all,
)
from touchline.core.bet import BetResult, BetStatus
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.feed import BetCancel, BetSettlement, RollbackBetCancel, RollbackBetSettlement
from touchline.core.ids import MarketId, MessageId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.core.market import Market, MarketStatus
from touchline.core.settlement import Outcome, Plan, Settlement, SettlementKind, plan_settle, plan_void
from touchline.ports import Balance, Placed, Worked

MESSAGE = MessageId("message-1")
KINDS = SettlementKind


async def test_a_request_records_market_and_settlement_in_one_step(stores: Stores) -> None:
    await price(stores)
    at = stores.clock.now()
    answer = await stores.settlements.request(
        MARKET, lambda market, standing: plan_settle(market, standing, HOME_WINS, at, corrects=False), MESSAGE
    )
    assert isinstance(answer, Plan)
    market = await stores.markets.get(MARKET)
    assert market == answer.market
    assert answer.market.status is MarketStatus.SETTLED
    assert await statuses_of_market(stores) == ["active", "settled"]
    [settlement] = answer.settlements
    assert settlement.settlement_id > 0
    assert await stores.settlements.of_market(MARKET) == [settlement]
    assert await stores.markets.is_applied(MESSAGE)


async def test_results_read_back_exactly(stores: Stores) -> None:
    await price(stores)
    results = {
        HOME: Outcome(BetResult.WON, Fraction(1, 2), Fraction(1, 3)),
        DRAW: Outcome(BetResult.VOID, Fraction(1)),
        AWAY: Outcome(BetResult.LOST, Fraction(1, 4)),
    }
    settlement = await settle(stores, results)
    assert settlement.results == results


async def test_a_message_decides_once(stores: Stores) -> None:
    await three_bets(stores)
    results = {"results": HOME_WINS}
    assert await feed_says(stores, BetSettlement, "a", **results)
    assert not await feed_says(stores, BetSettlement, "a", **results)
    assert not await feed_says(stores, BetSettlement, "b", **results)  # the same results again change nothing
    assert len(await stores.settlements.of_market(MARKET)) == 1
    assert await stores.markets.is_applied(MessageId("b"))


async def test_a_feeds_result_of_a_selection_never_offered_is_passed_over(stores: Stores) -> None:
    ann, _ = await three_bets(stores)
    never = {SelectionId("never"): Outcome(BetResult.WON)}
    assert await feed_says(stores, BetSettlement, "a", results=HOME_WINS | never)
    assert not await feed_says(stores, BetSettlement, "b", results=HOME_WINS)
    await work_all(stores)
    assert [settlement.results for settlement in await stores.settlements.of_market(MARKET)] == [HOME_WINS]
    assert {status.split()[0] for status in await statuses(stores, ann)} == {"SETTLED"}
    with pytest.raises(Rejection, match="lack selection"):
        await feed_says(stores, BetSettlement, "c", results=never)


async def test_of_a_message_sent_many_times_at_once_one_decides(stores: Stores) -> None:
    await three_bets(stores)
    answers = await asyncio.gather(*(feed_says(stores, BetSettlement, "a", results=HOME_WINS) for _ in range(10)))
    assert sorted(answers) == [False] * 9 + [True]
    assert len(await stores.settlements.of_market(MARKET)) == 1


async def test_a_plan_that_is_refused_changes_nothing(stores: Stores) -> None:
    before = await price(stores)

    def refuse(_market: Market, _standing: Sequence[Settlement]) -> Rejection:
        return Rejection(Code.FORBIDDEN, "no")

    def fail(_market: Market, _standing: Sequence[Settlement]) -> Rejection:
        raise Rejection(Code.FORBIDDEN, "no")

    assert isinstance(await stores.settlements.request(MARKET, refuse), Rejection)
    with pytest.raises(Rejection):
        await stores.settlements.request(MARKET, fail, MESSAGE)
    assert await stores.settlements.request(MARKET, lambda _market, _standing: None) is None
    assert not await stores.markets.is_applied(MESSAGE)
    assert await stores.markets.get(MARKET) == before
    assert await stores.settlements.of_market(MARKET) == []


async def test_a_market_that_is_not_there_can_not_be_decided(stores: Stores) -> None:
    with pytest.raises(Rejection) as refused:
        await stores.trading.void(MarketId("none"))
    assert refused.value.code is Code.MARKET_NOT_FOUND
    assert await stores.settlements.of_market(MarketId("none")) == []
    assert await stores.settlements.next_unfinished() is None


async def test_a_plan_sees_what_stands_newest_first(stores: Stores) -> None:
    await price(stores)
    seen: list[list[SettlementKind]] = []

    def look(_market: Market, standing: Sequence[Settlement]) -> None:
        seen.append([settlement.kind for settlement in standing])

    messages: list[tuple[type, dict[str, object]]] = [
        (BetCancel, {"placed_from": stores.clock.now()}),
        (BetSettlement, {"results": HOME_WINS}),
        (RollbackBetSettlement, {}),
        (RollbackBetCancel, {}),
    ]
    for n, (kind, more) in enumerate(messages):
        await stores.settlements.request(MARKET, look)
        assert await feed_says(stores, kind, str(n), **more)
    await stores.settlements.request(MARKET, look)
    assert seen == [[], [KINDS.VOID], [KINDS.SETTLE, KINDS.VOID], [KINDS.VOID], []]
    found = await stores.settlements.of_market(MARKET)
    assert [s.settlement_id for s in found] == sorted((s.settlement_id for s in found), reverse=True)
    assert [s.undoes for s in found] == [found[3].settlement_id, found[2].settlement_id, None, None]


async def test_bets_are_worked_one_by_one_and_counted(stores: Stores) -> None:
    ann, bets = await three_bets(stores)
    settlement = await settle(stores)
    started = await next_of(stores)
    assert (started.settlement_id, started.bets_total, started.bets_done) == (settlement.settlement_id, 3, 0)
    assert sorted(await stores.settlements.open_bets(started, 100)) == sorted(bet.bet_id for bet in bets)
    assert len(await stores.settlements.open_bets(started, 2)) == 2
    at = stores.clock.now()
    before = await stores.accounts.balance(ann)
    worked = await stores.settlements.carry_out(started, [bets[0].bet_id], at)
    assert before is not None
    assert worked == Worked(1, {ann: Balance(99_000, "EUR", before.version + 1)})
    assert await stores.accounts.balance(ann) == worked.balances[ann]
    won = await stores.bets.get(ann, bets[0].bet_id)
    assert won == replace(
        bets[0],
        status=BetStatus.SETTLED,
        result=BetResult.WON,
        payout_minor=2_000,
        settled_at=at,
        settlement_id=settlement.settlement_id,
    )
    assert (await next_of(stores)).bets_done == 1
    assert bets[0].bet_id not in await stores.settlements.open_bets(started, 100)
    await work_all(stores)
    assert await statuses(stores, ann) == ["SETTLED won", "SETTLED lost", "SETTLED lost"]
    assert await balance_of(stores, ann) == 99_000


async def test_a_bet_is_worked_once(stores: Stores) -> None:
    ann, bets = await three_bets(stores)
    await settle(stores)
    settlement = await next_of(stores)
    at = stores.clock.now()
    answers = await asyncio.gather(
        *(stores.settlements.carry_out(settlement, [bet.bet_id], at) for bet in bets for _ in range(4)),
        *(stores.settlements.carry_out(settlement, [bet.bet_id for bet in bets], at) for _ in range(4)),
    )
    assert sum(answer.bets for answer in answers) == 3
    assert await balance_of(stores, ann) == 99_000
    assert (await next_of(stores)).bets_done == 3
    assert await stores.books.discrepancies() == []


async def test_a_set_of_bets_of_many_players_is_worked_in_one_step(stores: Stores) -> None:
    """One owes, one wins and loses, one loses only; bets that another settlement has worked are passed over."""
    market = await price(stores)
    ann, bob, cyd = [await open_player(stores, name) for name in ("ann", "bob", "cyd")]
    asked = [(ann, HOME, 1_000), (bob, HOME, 500), (bob, HOME, 700), (bob, AWAY, 300), (cyd, DRAW, 900)]
    bets = [await placed(stores, bet_on(stores, market, who, what, stake)) for who, what, stake in asked]
    await settle(stores, AWAY_WINS)
    await work_all(stores)
    await move(stores, bob, 98_650 + 1_200, "out", TransferKind.WITHDRAWAL)
    await stores.trading.roll_back(MARKET)
    taken_back = await next_of(stores)
    worked = await stores.settlements.carry_out(taken_back, [bet.bet_id for bet in bets], stores.clock.now())
    assert worked.bets == 5
    assert {who: balance.balance_minor for who, balance in worked.balances.items()} == {bob: 0}
    assert (await stores.books.sums())["debts"] == 1_350
    await settle(stores)
    assert await stores.books.discrepancies() == []
    await stores.settlements.finish(taken_back, stores.clock.now())
    again = await next_of(stores)
    first = await stores.settlements.carry_out(again, [bets[0].bet_id], stores.clock.now())
    worked = await stores.settlements.carry_out(again, [bet.bet_id for bet in bets], stores.clock.now())
    assert (first.bets, worked.bets) == (1, 4)
    balances = {**first.balances, **worked.balances}  # of which bet it was first is the store's to say
    assert {who: balance.balance_minor for who, balance in balances.items()} == {ann: 101_000, bob: 2_400 - 1_350}
    assert [await balance_of(stores, who) for who in (ann, bob, cyd)] == [101_000, 1_050, 99_100]
    assert (await stores.books.sums())["debts"] == 0
    assert await stores.books.discrepancies() == []


async def test_a_set_of_more_bets_than_one_statement_takes_is_still_one_step(stores: Stores) -> None:
    market = await price(stores)
    players = [await open_player(stores, name) for name in ("ann", "bob")]
    bets = [await placed(stores, bet_on(stores, market, players[n % 2], HOME, 100)) for n in range(230)]
    settlement = await settle(stores)
    await next_of(stores)
    worked = await stores.settlements.carry_out(settlement, [bet.bet_id for bet in bets], stores.clock.now())
    assert worked.bets == 230
    for player in players:
        assert await balance_of(stores, player) == 100_000 + 115 * 100
        assert await stores.accounts.balance(player) == worked.balances[player]
    assert (await next_of(stores)).bets_done == 230
    assert await stores.books.discrepancies() == []


async def test_a_set_with_a_bet_that_can_not_be_decided_leaves_no_trace(stores: Stores) -> None:
    market = await price(stores)
    ann = await open_player(stores)
    bets = [await placed(stores, bet_on(stores, market, ann, HOME, 100)) for _ in range(150)]
    bets.append(await placed(stores, bet_on(stores, market, ann, AWAY, 100)))
    settlement = await settle(stores)
    lacking = replace(settlement, results={HOME: settlement.results[HOME]})
    await next_of(stores)
    with pytest.raises(Fault):
        await stores.settlements.carry_out(lacking, [bet.bet_id for bet in bets], stores.clock.now())
    if stores.dsn is not None:  # in memory nobody is left to see what a fault left half done
        assert await balance_of(stores, ann) == 100_000 - 151 * 100
        assert await stores.books.discrepancies() == []


async def test_a_settlement_finishes_once(stores: Stores) -> None:
    await price(stores)
    settlement = await settle(stores)
    first = stores.clock.now()
    await stores.settlements.finish(settlement, first)
    await stores.settlements.finish(settlement, first + timedelta(hours=1))
    [finished] = await stores.settlements.of_market(MARKET)
    assert finished.finished_at == first
    assert await stores.settlements.next_unfinished() is None


async def test_the_oldest_settlement_comes_first(stores: Stores) -> None:
    for name in ("b", "a", "c"):
        await price(stores, market_id=MarketId(name))
        await stores.trading.void(MarketId(name))
    order = []
    while (settlement := await stores.settlements.next_unfinished()) is not None:
        order.append(settlement.market_id)
        await stores.settlements.finish(settlement, stores.clock.now())
    assert order == ["b", "a", "c"]


async def test_a_worker_goes_on_where_another_stopped(stores: Stores) -> None:
    ann, _ = await three_bets(stores)
    await settle(stores)
    stopped = await work_some(stores, bets=2)
    again = await next_of(stores)
    assert (again.settlement_id, again.bets_total, again.bets_done) == (stopped.settlement_id, 3, 2)
    await work_all(stores)
    assert await balance_of(stores, ann) == 99_000
    [done] = await stores.settlements.of_market(MARKET)
    assert (done.bets_total, done.bets_done, done.finished_at) == (3, 3, stores.clock.now())


async def test_a_void_gives_every_stake_back(stores: Stores) -> None:
    ann, bets = await three_bets(stores)
    await stores.trading.void(MARKET)
    await work_all(stores)
    assert await statuses(stores, ann) == ["VOID void"] * 3
    assert await balance_of(stores, ann) == 100_000
    voided = await stores.bets.get(ann, bets[0].bet_id)
    assert voided is not None
    assert voided.payout_minor == 1_000
    market = await stores.markets.get(MARKET)
    assert market is not None
    assert market.status is MarketStatus.VOID
    assert await statuses_of_market(stores) == ["active", "void"]


async def test_no_bet_is_taken_on_a_market_that_is_decided(stores: Stores) -> None:
    ann = await open_player(stores)
    market = await price(stores)
    await settle(stores)
    answer = await place(stores, bet_on(stores, market, ann))
    assert isinstance(answer, Rejection)
    assert answer.code is Code.MARKET_CLOSED
    assert await balance_of(stores, ann) == 100_000


async def test_a_worker_is_told_at_once_and_at_each_request(stores: Stores) -> None:
    await price(stores)
    told: Any = stores.settlements.requests()
    async with aclosing(told), asyncio.timeout(20):
        await anext(told)
        waiting = asyncio.create_task(anext(told))
        await settle(stores)
        await waiting
        assert await stores.settlements.next_unfinished() is not None


async def test_of_two_workers_one_works_until_it_ends(on_postgres: Stores) -> None:
    assert on_postgres.dsn is not None
    ann, _ = await three_bets(on_postgres)
    async with postgres_stores(on_postgres.dsn) as other, asyncio.timeout(30):
        first: Any = on_postgres.settlements.requests()
        second: Any = other.settlements.requests()
        await anext(first)
        waiting = asyncio.create_task(anext(second))
        await settle(on_postgres)
        await anext(first)
        assert not waiting.done()
        await first.aclose()
        await waiting  # it looks again by itself
        await second.aclose()
        await work_all(other)
    assert await balance_of(on_postgres, ann) == 99_000


async def test_windows_need_no_bets(stores: Stores) -> None:
    await price(stores)
    at = stores.clock.now()
    answer = await stores.settlements.request(
        MARKET, lambda market, standing: plan_void(market, standing, at, (at, None))
    )
    assert isinstance(answer, Plan)
    await work_all(stores)
    [done] = await stores.settlements.of_market(MARKET)
    assert (done.windowed, done.placed_from, done.placed_until, done.bets_total) == (True, at, None, 0)
    assert done.finished_at is not None


async def test_work_while_bets_are_placed_elsewhere_touches_its_own_market_only(stores: Stores) -> None:
    ann, _ = await three_bets(stores)
    other = await price(stores, market_id=MarketId("other"))
    await settle(stores)
    assert isinstance(stores.clock, HandClock)
    placing = [place(stores, bet_on(stores, other, ann)) for _ in range(5)]
    answers = await asyncio.gather(work_all(stores), *placing)
    assert all(isinstance(answer, Placed) for answer in answers[1:])
    assert await balance_of(stores, ann) == 99_000 - 5_000
    assert (await statuses(stores, ann)).count("PLACED -") == 5
