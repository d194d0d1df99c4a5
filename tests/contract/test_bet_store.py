"""The `BetStore` contract, on memory and on PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.clock import NOON, HandClock
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
    placed,
    price,
    superuser,
    work_all,
)
from touchline.core.acceptance import Acceptance, Position
from touchline.core.bet import Accept, Bet, BetStatus
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.ids import BetId, MarketId, PlayerId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.core.limits import Limit, LimitKind, Period
from touchline.core.market import MarketStatus
from touchline.ports import Balance, Placed, SelectionExposure


async def test_a_bet_that_is_taken_is_on_record_and_paid_for(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    before = await stores.accounts.balance(ann)
    assert before is not None
    request = bet_on(stores, market, ann, stake=2_500, key="k")
    answer = await place(stores, request)
    assert isinstance(answer, Placed)
    assert answer.balance == Balance(97_500, "EUR", before.version + 1)
    assert await stores.accounts.balance(ann) == answer.balance
    bet = answer.bet
    assert (bet.bet_id, bet.status, bet.odds_milli, bet.odds_version) == (
        request.bet_id,
        BetStatus.PLACED,
        2_000,
        1,
    )
    assert await stores.bets.get(ann, bet.bet_id) == bet
    assert await stores.bets.by_key(ann, "k") == bet
    [stake] = [t for t in await stores.accounts.transactions(ann, None, 10) if t.kind is TransferKind.STAKE]
    assert (stake.amount_minor, stake.bet_id) == (2_500, bet.bet_id)


async def test_a_bet_that_is_refused_leaves_no_trace(stores: Stores) -> None:
    ann, market = await open_player(stores, deposited=500), await price(stores)
    before = await stores.accounts.balance(ann)
    answer = await place(stores, bet_on(stores, market, ann, stake=501, key="k"))
    assert isinstance(answer, Rejection)
    assert answer.code is Code.INSUFFICIENT_BALANCE
    assert await stores.accounts.balance(ann) == before
    assert await stores.bets.by_key(ann, "k") is None
    assert await stores.bets.page(ann, None, None, 10) == []
    assert await stores.bets.exposures() == []


async def test_a_decision_that_fails_leaves_no_trace(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)

    def fail(_: Position) -> Acceptance:
        raise Fault("broken")

    with pytest.raises(Fault):
        await stores.bets.place(bet_on(stores, market, ann, key="k"), fail)
    assert await balance_of(stores, ann) == 100_000
    assert await stores.bets.by_key(ann, "k") is None
    assert isinstance(await place(stores, bet_on(stores, market, ann, key="k")), Placed)


async def test_the_whole_wallet_can_be_staked(stores: Stores) -> None:
    ann, market = await open_player(stores, deposited=500), await price(stores)
    assert isinstance(await place(stores, bet_on(stores, market, ann, stake=500)), Placed)
    assert await balance_of(stores, ann) == 0


async def test_a_retry_is_answered_with_the_first_bet(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    first = await placed(stores, bet_on(stores, market, ann, key="k"))
    await price(stores, {HOME: 1_500})
    again = replace(bet_on(stores, market, ann, key="k"), odds_milli=2_000, odds_version=1)
    assert await place(stores, again) == Placed(first, None)
    assert await balance_of(stores, ann) == 99_000
    others: list[dict[str, Any]] = [
        {"stake_minor": 1_001},
        {"selection_id": DRAW},
        {"odds_milli": 1_999},
        {"odds_version": 2},
        {"accept": Accept.ANY},
        {"valid_until": NOON},
    ]
    for other in others:
        conflict = await place(stores, replace(again, **other))
        assert isinstance(conflict, Rejection)
        assert conflict.code is Code.IDEMPOTENCY_CONFLICT


async def test_a_key_is_its_players_own(stores: Stores) -> None:
    ann, bob = await open_player(stores, "ann"), await open_player(stores, "bob")
    market = await price(stores)
    of_ann = await placed(stores, bet_on(stores, market, ann, key="k"))
    of_bob = await placed(stores, bet_on(stores, market, bob, key="k"))
    assert of_ann.bet_id != of_bob.bet_id
    assert await stores.bets.by_key(bob, "k") == of_bob
    assert await stores.bets.by_key(ann, "other") is None


async def test_bets_without_a_key_are_each_their_own(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    bets = [await placed(stores, bet_on(stores, market, ann)) for _ in range(3)]
    assert len({bet.bet_id for bet in bets}) == 3


async def test_a_bet_id_is_used_once(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    first = bet_on(stores, market, ann, key="a")
    await placed(stores, first)
    with pytest.raises(Fault):
        await place(stores, replace(first, idempotency_key="b"))
    assert await balance_of(stores, ann) == 99_000
    assert await stores.bets.by_key(ann, "b") is None


async def test_nobody_bets_without_an_account(stores: Stores) -> None:
    request = bet_on(stores, await price(stores), PlayerId("nobody"))
    for ask in (stores.bets.position(request), place(stores, request)):
        with pytest.raises(Rejection) as refused:
            await ask
        assert refused.value.code is Code.UNAUTHENTICATED


async def test_a_market_that_is_not_there_is_the_decisions_to_refuse(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    elsewhere = replace(bet_on(stores, market, ann), market_id=MarketId("none"))
    assert (await stores.bets.position(elsewhere)).market is None
    answer = await place(stores, elsewhere)
    assert isinstance(answer, Rejection)
    assert answer.code is Code.MARKET_NOT_FOUND


async def test_a_position_holds_all_that_a_decision_needs(stores: Stores) -> None:
    ann, bob = await open_player(stores, "ann"), await open_player(stores, "bob")
    market = await price(stores)
    now = stores.clock.now()
    await stores.accounts.change_limits(ann, {(LimitKind.STAKE, Period.DAY): 50_000}, now)
    first = await placed(stores, bet_on(stores, market, ann, stake=2_000, key="k"))
    await placed(stores, bet_on(stores, market, bob, DRAW, stake=700))
    position = await stores.bets.position(bet_on(stores, market, ann, key="k"))
    assert position.market == market
    assert position.rules == RULES
    assert position.now == stores.clock.now()
    assert position.exposure_minor == 2_000
    assert position.earlier == first
    assert position.account.wallet.balance_minor == 98_000
    assert position.account.limits == {(LimitKind.STAKE, Period.DAY): Limit(50_000)}
    assert position.spent[LimitKind.STAKE, Period.DAY] == 2_000
    fresh = await stores.bets.position(bet_on(stores, market, bob, AWAY, key="k"))
    assert (fresh.earlier, fresh.exposure_minor, fresh.spent) == (None, 0, {})


async def test_what_is_decided_on_is_what_a_position_tells(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    await stores.accounts.change_limits(ann, {(LimitKind.LOSS, Period.WEEK): 9_000}, stores.clock.now())
    await placed(stores, bet_on(stores, market, ann, key="k"))
    request = bet_on(stores, market, ann, key="k")
    seen: list[Position] = []

    def look(position: Position) -> Rejection:
        seen.append(position)
        return Rejection(Code.FORBIDDEN, "only looking")

    await stores.bets.place(request, look)
    position = await stores.bets.position(request)
    assert seen
    assert seen == [position] * len(seen)


async def test_what_counts_against_limits_follows_the_bet(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    wanted = {(kind, period): 10**9 for kind in LimitKind for period in Period}
    await stores.accounts.change_limits(ann, dict(wanted), stores.clock.now())

    async def spent() -> tuple[int, int, int]:
        position = await stores.bets.position(bet_on(stores, market, ann))
        [day] = {tuple(position.spent[kind, period] for kind in LimitKind) for period in Period}
        return day[0], day[1], day[2]

    assert await spent() == (100_000, 0, 0)
    await placed(stores, bet_on(stores, market, ann, stake=3_000))
    assert await spent() == (100_000, 3_000, 3_000)
    await stores.trading.settle(MARKET, HOME_WINS)
    await work_all(stores)
    assert await spent() == (100_000, 3_000, -3_000)
    await stores.trading.roll_back(MARKET)
    await work_all(stores)
    assert await spent() == (100_000, 3_000, 3_000)
    await stores.trading.void(MARKET)
    await work_all(stores)
    assert await spent() == (100_000, 0, 0)
    await stores.trading.roll_back(MARKET)
    await work_all(stores)
    assert await spent() == (100_000, 3_000, 3_000)
    await move(stores, ann, 50, "out", TransferKind.WITHDRAWAL)
    assert await spent() == (100_000, 3_000, 3_000)


async def test_periods_of_limits_roll(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    await stores.accounts.change_limits(ann, {(LimitKind.STAKE, Period.DAY): 10**9}, stores.clock.now())
    await placed(stores, bet_on(stores, market, ann, stake=3_000))
    assert isinstance(stores.clock, HandClock)
    stores.clock.move(timedelta(days=1) - timedelta(seconds=1))
    seen = []
    for step in (timedelta(seconds=0), timedelta(microseconds=1), timedelta(days=6), timedelta(days=23)):
        stores.clock.move(step)
        spent = (await stores.bets.position(bet_on(stores, market, ann))).spent
        seen.append([spent[LimitKind.STAKE, period] for period in Period])
    assert seen == [[3_000] * 3, [0, 3_000, 3_000], [0, 0, 3_000], [0, 0, 0]]


async def test_a_bet_is_shown_to_its_player_only(stores: Stores) -> None:
    ann, bob = await open_player(stores, "ann"), await open_player(stores, "bob")
    bet = await placed(stores, bet_on(stores, await price(stores), ann, key="k"))
    assert await stores.bets.get(bob, bet.bet_id) is None
    assert await stores.bets.by_key(bob, "k") is None
    assert await stores.bets.page(bob, None, None, 10) == []
    assert await stores.bets.get(ann, BetId(UUID(int=7))) is None


async def test_pages_follow_one_another_newest_first(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    assert isinstance(stores.clock, HandClock)
    bets: list[Bet] = []
    for n in range(7):
        answer = await place(stores, bet_on(stores, market, ann))
        assert isinstance(answer, Placed)
        bets.append(answer.bet)
        if n % 3 == 2:  # three bets of one instant stand in the order of their ids
            stores.clock.move(timedelta(microseconds=1))
    newest_first = sorted(bets, key=lambda bet: (bet.placed_at, bet.bet_id), reverse=True)
    assert await stores.bets.page(ann, None, None, 100) == newest_first
    pages: list[Bet] = []
    while page := await stores.bets.page(ann, None, (pages[-1].placed_at, pages[-1].bet_id) if pages else None, 2):
        assert len(page) <= 2
        pages += page
    assert pages == newest_first


async def test_a_page_can_be_of_one_status(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    other = await price(stores, market_id=MarketId("other"))
    settled = await placed(stores, bet_on(stores, market, ann))
    opened = await placed(stores, bet_on(stores, other, ann))
    await stores.trading.settle(MARKET, HOME_WINS)
    await work_all(stores)
    assert [b.bet_id for b in await stores.bets.page(ann, BetStatus.PLACED, None, 9)] == [opened.bet_id]
    assert [b.bet_id for b in await stores.bets.page(ann, BetStatus.SETTLED, None, 9)] == [settled.bet_id]
    assert await stores.bets.page(ann, BetStatus.VOID, None, 9) == []


async def test_bets_are_counted_from_an_instant_on(stores: Stores) -> None:
    ann, bob = await open_player(stores, "ann"), await open_player(stores, "bob")
    market = await price(stores)
    for player in (ann, ann, bob, ann):
        await placed(stores, bet_on(stores, market, player))
    count = [await stores.bets.placed_since(ann, NOON + timedelta(seconds=s)) for s in range(5)]
    assert count == [3, 2, 1, 1, 0]


async def test_exposures_are_the_open_bets_by_selection(stores: Stores) -> None:
    ann, market = await open_player(stores), await price(stores)
    other = await price(stores, market_id=MarketId("a:other"))
    for selection, stake in ((HOME, 1_000), (HOME, 333), (AWAY, 101)):
        await placed(stores, bet_on(stores, market, ann, selection, stake))
    await placed(stores, bet_on(stores, other, ann, DRAW, 50))
    assert await stores.bets.exposures() == [
        SelectionExposure(MarketId("a:other"), DRAW, 1, 50, 100),
        SelectionExposure(MARKET, AWAY, 1, 101, 354),  # 101 × 4.5 is 454.5, paid 455
        SelectionExposure(MARKET, HOME, 2, 1_333, 1_333),
    ]
    await stores.trading.settle(MARKET, HOME_WINS)
    await work_all(stores)
    assert [e.market_id for e in await stores.bets.exposures()] == ["a:other"]
    await stores.trading.roll_back(MARKET)
    await work_all(stores)
    assert [(e.selection_id, e.bets) for e in await stores.bets.exposures()] == [(DRAW, 1), (AWAY, 1), (HOME, 2)]


async def test_the_price_may_have_more_places_than_two(stores: Stores) -> None:
    ann, selection = await open_player(stores), SelectionId("long.shot")
    market = await price(stores, {selection: 1_005})
    bet = await placed(stores, bet_on(stores, market, ann, selection, stake=1_000_000 // 10))
    assert bet.potential_payout_minor == 100_500
    assert await stores.books.discrepancies() == []


async def test_a_bet_waits_for_the_market_and_is_decided_on_what_it_finds(on_postgres: Stores) -> None:
    stores = on_postgres
    ann, market = await open_player(stores), await price(stores)
    async with superuser(stores) as holder, superuser(stores) as watcher:
        held = holder.transaction()
        await held.start()
        await holder.execute(
            "UPDATE odds SET status = 'suspended', odds_version = 2 WHERE market_id = $1", market.market_id
        )
        betting = asyncio.create_task(place(stores, bet_on(stores, market, ann)))
        while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0)
        assert not betting.done()
        await held.commit()
        answer = await betting
    assert isinstance(answer, Rejection)
    assert answer.code is Code.MARKET_SUSPENDED
    assert (await stores.bets.position(bet_on(stores, market, ann))).market == replace(
        market, status=MarketStatus.SUSPENDED, odds_version=2
    )


async def test_a_bet_that_waits_for_its_wallet_is_refused_by_what_was_decided_meanwhile(
    on_postgres: Stores,
) -> None:
    stores = on_postgres
    ann, market = await open_player(stores), await price(stores)
    async with superuser(stores) as holder, superuser(stores) as watcher:
        held = holder.transaction()
        await held.start()
        await holder.execute("SELECT 1 FROM wallets WHERE user_id = $1 FOR UPDATE", ann)
        until = stores.clock.now() + timedelta(days=1)
        await holder.execute("UPDATE players SET excluded_until = $2 WHERE user_id = $1", ann, until)
        betting = asyncio.create_task(place(stores, bet_on(stores, market, ann)))
        while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0)
        await held.commit()
        answer = await betting
    assert isinstance(answer, Rejection)
    assert answer.code is Code.SELF_EXCLUDED
    assert await balance_of(stores, ann) == 100_000
