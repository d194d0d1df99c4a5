"""The `AccountStore` contract, on memory and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.clock import NOON, HandClock
from tests.scene import Stores, bet_on, move, open_player, placed, postgres_stores, price, superuser
from touchline.core.account import Role
from touchline.core.errors import Code, Rejection
from touchline.core.ids import PlayerId
from touchline.core.ledger import Transfer, TransferKind
from touchline.core.limits import Limit, LimitKind, Period
from touchline.ports import Balance, Credentials, Revocation

HOUR = timedelta(hours=1)
STAKE_A_DAY = (LimitKind.STAKE, Period.DAY)
LOSS_A_WEEK = (LimitKind.LOSS, Period.WEEK)
NOBODY = PlayerId("nobody")


def credentials(name: str) -> Credentials:
    return Credentials(PlayerId(name), Role.TRADER, f"hash of {name}", None)


def revocation(n: int, good_for: timedelta = HOUR) -> Revocation:
    return Revocation(until=NOON + good_for, token_id=UUID(int=n))


async def told(revocations: AsyncIterator[Revocation]) -> Revocation:
    async with asyncio.timeout(20):
        return await anext(revocations)


async def test_an_account_opens_with_an_empty_wallet(stores: Stores) -> None:
    assert await stores.accounts.register(credentials("ann"), "Ann", "GBP", NOON)
    assert await stores.accounts.balance(PlayerId("ann")) == Balance(0, "GBP", 1)
    profile = await stores.accounts.profile(PlayerId("ann"))
    assert profile is not None
    assert (profile.username, profile.velocity_flagged_at) == ("Ann", None)
    account = profile.account
    assert (account.player_id, account.currency, account.limits) == ("ann", "GBP", {})
    assert (account.locked_until, account.excluded_until) == (None, None)
    assert (account.wallet.balance_minor, account.wallet.debt_minor) == (0, 0)


async def test_a_username_is_taken_once_in_any_case(stores: Stores) -> None:
    assert await stores.accounts.register(credentials("ann"), "Ann", "EUR", NOON)
    assert not await stores.accounts.register(credentials("other"), "aNN", "EUR", NOON)
    assert not await stores.accounts.register(credentials("ann"), "Anna", "EUR", NOON)
    assert await stores.accounts.profile(PlayerId("other")) is None
    assert await stores.accounts.credentials("ANN") == credentials("ann")
    assert await stores.accounts.credentials("Anna") is None


async def test_of_those_who_want_a_name_at_once_one_gets_it(stores: Stores) -> None:
    wanting = [stores.accounts.register(credentials(f"p{n}"), "ann", "EUR", NOON) for n in range(8)]
    assert sorted(await asyncio.gather(*wanting)) == [False] * 7 + [True]


async def test_nobody_has_nothing(stores: Stores) -> None:
    assert await stores.accounts.credentials("nobody") is None
    assert await stores.accounts.profile(NOBODY) is None
    assert await stores.accounts.balance(NOBODY) is None
    assert await stores.accounts.change_limits(NOBODY, {STAKE_A_DAY: 1}, NOON) is None
    assert await stores.accounts.transactions(NOBODY, None, 9) == []
    assert await stores.accounts.login_failed(NOBODY, 3, NOON) is None
    await stores.accounts.login_succeeded(NOBODY)
    for ask in (move(stores, NOBODY, 5, "k"), stores.accounts.exclude(NOBODY, NOON, revocation(1))):
        with pytest.raises(Rejection) as refused:
            await ask
        assert refused.value.code is Code.UNAUTHENTICATED


async def test_wrong_passwords_in_a_row_lock_the_account(stores: Stores) -> None:
    ann, until = await open_player(stores), NOON + HOUR
    fail = stores.accounts.login_failed
    assert [await fail(ann, 3, until) for _ in range(2)] == [None, None]
    await stores.accounts.login_succeeded(ann)
    assert [await fail(ann, 3, until) for _ in range(3)] == [None, None, until]
    found = await stores.accounts.credentials("ann")
    profile = await stores.accounts.profile(ann)
    assert found is not None
    assert profile is not None
    assert (found.locked_until, profile.account.locked_until) == (until, until)
    # The lock counts from none again, and stands until the next.
    assert [await fail(ann, 3, until + HOUR) for _ in range(3)] == [until, until, until + HOUR]


async def test_wrong_passwords_at_once_are_each_counted(stores: Stores) -> None:
    ann, until = await open_player(stores), NOON + HOUR
    answers = await asyncio.gather(*(stores.accounts.login_failed(ann, 10, until) for _ in range(10)))
    assert sorted(answers, key=str) == [until] + [None] * 9


async def test_money_comes_in_and_goes_out(stores: Stores) -> None:
    ann = await open_player(stores, deposited=0)
    first = await move(stores, ann, 900, "in")
    assert not isinstance(first, Rejection)
    moved, balance = first
    assert balance == Balance(900, "EUR", 2)
    assert (moved.kind, moved.amount_minor, moved.balance_minor) == (TransferKind.DEPOSIT, 900, 900)
    second = await move(stores, ann, 300, "out", TransferKind.WITHDRAWAL)
    assert not isinstance(second, Rejection)
    assert second[1] == Balance(600, "EUR", 3)
    assert await stores.accounts.balance(ann) == Balance(600, "EUR", 3)
    too_much = await move(stores, ann, 601, "more", TransferKind.WITHDRAWAL)
    assert isinstance(too_much, Rejection)
    assert too_much.code is Code.INSUFFICIENT_BALANCE
    assert await stores.accounts.balance(ann) == Balance(600, "EUR", 3)


async def test_money_moves_once_a_key(stores: Stores) -> None:
    ann, bob = await open_player(stores, "ann", 0), await open_player(stores, "bob", 0)
    first = await move(stores, ann, 900, "k")
    assert not isinstance(first, Rejection)
    assert await move(stores, ann, 900, "k") == (first[0], None)
    for amount, kind in ((901, TransferKind.DEPOSIT), (900, TransferKind.WITHDRAWAL)):
        conflict = await move(stores, ann, amount, "k", kind)
        assert isinstance(conflict, Rejection)
        assert conflict.code is Code.IDEMPOTENCY_CONFLICT
    assert not isinstance(await move(stores, bob, 5, "k"), Rejection)
    assert await stores.accounts.balance(ann) == Balance(900, "EUR", 2)


async def test_one_key_at_once_moves_once(stores: Stores) -> None:
    ann = await open_player(stores, deposited=0)
    answers = await asyncio.gather(*(move(stores, ann, 900, "k") for _ in range(20)))
    moved = {answer[0].move_id for answer in answers if not isinstance(answer, Rejection)}
    assert len(moved) == 1
    assert await stores.accounts.balance(ann) == Balance(900, "EUR", 2)


async def test_deposits_count_against_their_limit(stores: Stores) -> None:
    ann = await open_player(stores, deposited=700)
    await stores.accounts.change_limits(ann, {(LimitKind.DEPOSIT, Period.DAY): 1_000}, stores.clock.now())
    refused = await move(stores, ann, 301, "k")
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.extra["left"]) == (Code.LIMIT_EXCEEDED, "3.00")
    assert not isinstance(await move(stores, ann, 300, "k"), Rejection)


async def test_transactions_follow_one_another_newest_first(stores: Stores) -> None:
    ann, bob = await open_player(stores, "ann"), await open_player(stores, "bob")
    market = await price(stores)
    for n in range(4):
        await move(stores, ann, 10 + n, f"k{n}")  # of one instant: in the order of their ids
    await placed(stores, bet_on(stores, market, ann, stake=77))
    await placed(stores, bet_on(stores, market, bob))
    everything = await stores.accounts.transactions(ann, None, 100)
    assert sorted(t.amount_minor for t in everything) == [10, 11, 12, 13, 77, 100_000]
    order = [(t.recorded_at, t.transfer_id) for t in everything]
    assert order == sorted(order, reverse=True)
    pages: list[Transfer] = []
    while page := await stores.accounts.transactions(
        ann, (pages[-1].recorded_at, pages[-1].transfer_id) if pages else None, 2
    ):
        pages += page
    assert pages == everything


async def test_lowering_a_limit_holds_at_once_and_raising_waits(stores: Stores) -> None:
    ann, now = await open_player(stores), NOON
    change = stores.accounts.change_limits
    assert await change(ann, {STAKE_A_DAY: 500, LOSS_A_WEEK: 90}, now) == {
        STAKE_A_DAY: Limit(500),
        LOSS_A_WEEK: Limit(90),
    }
    lowered = await change(ann, {STAKE_A_DAY: 400}, now)
    assert lowered == {STAKE_A_DAY: Limit(400), LOSS_A_WEEK: Limit(90)}
    raised = await change(ann, {STAKE_A_DAY: 600, LOSS_A_WEEK: None}, now + HOUR)
    waits = now + HOUR + timedelta(hours=24)
    assert raised == {STAKE_A_DAY: Limit(400, 600, waits), LOSS_A_WEEK: Limit(90, None, waits)}
    profile = await stores.accounts.profile(ann)
    assert profile is not None
    assert profile.account.limits == raised
    assert await change(ann, {}, waits) == raised
    assert await change(ann, {STAKE_A_DAY: 550}, waits) == {**raised, STAKE_A_DAY: Limit(550)}


async def test_limits_changed_at_once_are_all_kept(stores: Stores) -> None:
    ann = await open_player(stores)
    keys = [(kind, period) for kind in LimitKind for period in Period]
    await asyncio.gather(*(stores.accounts.change_limits(ann, {key: 100}, NOON) for key in keys))
    assert await stores.accounts.change_limits(ann, {}, NOON) == dict.fromkeys(keys, Limit(100))


async def test_an_exclusion_only_gets_longer(stores: Stores) -> None:
    ann, exclude = await open_player(stores), stores.accounts.exclude
    assert await exclude(ann, NOON + 2 * HOUR, revocation(1)) == NOON + 2 * HOUR
    assert await exclude(ann, NOON + HOUR, revocation(2)) == NOON + 2 * HOUR
    assert await exclude(ann, NOON + 3 * HOUR, revocation(3)) == NOON + 3 * HOUR
    profile = await stores.accounts.profile(ann)
    assert profile is not None
    assert profile.account.excluded_until == NOON + 3 * HOUR
    async with aclosing(stores.accounts.revocations()) as heard:  # type: ignore[type-var]  # a generator it is
        assert [await told(heard) for _ in range(3)] == [revocation(n) for n in (1, 2, 3)]


async def test_an_account_is_flagged(stores: Stores) -> None:
    ann = await open_player(stores)
    await stores.accounts.flag_velocity(ann, NOON + HOUR)
    profile = await stores.accounts.profile(ann)
    assert profile is not None
    assert profile.velocity_flagged_at == NOON + HOUR


async def test_recent_balances_are_of_those_active_since_the_latest_first(stores: Stores) -> None:
    assert isinstance(stores.clock, HandClock)
    for name in ("ann", "bob", "eve"):
        await open_player(stores, name, deposited=0)
        stores.clock.move(HOUR)
    await move(stores, PlayerId("ann"), 5, "k")
    recent = await stores.accounts.recent_balances(NOON + HOUR, 10)
    assert recent == [("ann", Balance(5, "EUR", 2)), ("eve", Balance(0, "EUR", 1)), ("bob", Balance(0, "EUR", 1))]
    assert await stores.accounts.recent_balances(NOON, 1) == recent[:1]
    assert await stores.accounts.recent_balances(stores.clock.now() + HOUR, 9) == []


async def test_standing_revocations_are_told_then_each_new_one(stores: Stores) -> None:
    of_player = Revocation(until=NOON + HOUR, player_id=PlayerId("ann"), issued_until=NOON, spared=UUID(int=9))
    await stores.accounts.revoke(revocation(1))
    await stores.accounts.revoke(revocation(2, good_for=timedelta(0)))  # its token has expired anyway
    await stores.accounts.revoke(of_player)
    async with aclosing(stores.accounts.revocations()) as heard:  # type: ignore[type-var]  # a generator it is
        assert [await told(heard), await told(heard)] == [revocation(1), of_player]
        waiting = asyncio.create_task(told(heard))
        await stores.accounts.revoke(revocation(3))
        assert await waiting == revocation(3)
        for n in (4, 5):
            await stores.accounts.revoke(revocation(n))
        assert [await told(heard), await told(heard)] == [revocation(4), revocation(5)]


async def test_every_pod_is_told_of_a_revocation(on_postgres: Stores) -> None:
    assert on_postgres.dsn is not None
    async with postgres_stores(on_postgres.dsn) as other:
        hearing: Any = other.accounts.revocations()
        async with aclosing(hearing) as heard:
            waiting = asyncio.create_task(told(heard))
            await on_postgres.accounts.revoke(revocation(1))
            assert await waiting == revocation(1)


async def test_revocations_begin_anew_after_an_outage(on_postgres: Stores) -> None:
    stores = on_postgres
    await stores.accounts.revoke(revocation(1))
    hearing: Any = stores.accounts.revocations()
    async with aclosing(hearing) as heard, superuser(stores) as admin:
        assert await told(heard) == revocation(1)
        waiting = asyncio.create_task(told(heard))
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%listener'"
        assert await admin.fetch(ended)
        assert await waiting == revocation(1)
        await stores.accounts.revoke(revocation(2))
        assert await told(heard) == revocation(2)


async def test_revocations_begin_anew_where_the_connection_is_lost_in_mid_question(on_postgres: Stores) -> None:
    stores = on_postgres
    await stores.accounts.revoke(revocation(1))
    hearing: Any = stores.accounts.revocations()
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND application_name LIKE '%listener'"
    )
    async with aclosing(hearing) as heard, superuser(stores) as holder, superuser(stores) as admin:
        async with holder.transaction():
            await holder.execute("LOCK TABLE revocations IN ACCESS EXCLUSIVE MODE")
            waiting = asyncio.create_task(told(heard))
            while not await admin.fetch(cut):
                await asyncio.sleep(0)
        assert await waiting == revocation(1)
