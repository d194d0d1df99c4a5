"""No list of operations makes, loses or hides money; memory and PostgreSQL answer the same list alike."""

import asyncio
import itertools

from hypothesis import HealthCheck, given, settings

from tests.property.betting_day import Day, Operation, days
from tests.scene import memory_stores, postgres_stores

NUMBERS = itertools.count(1)  # each example has names of its own in the one database


async def assert_books_balance(day: Day) -> None:
    assert await day.stores.books.discrepancies() == []
    sums = await day.stores.books.sums()
    assert sums["wallets"] >= 0
    assert sums["wallets"] - sums["debts"] + sums["stakes"] + sums["house"] == -sums["cashier"]
    if day.stores.dsn is None:
        assert -sums["cashier"] == day.deposited - day.withdrawn


async def balanced_day(operations: list[Operation]) -> None:
    day = await Day.begin(memory_stores(), 1)
    for operation in operations:
        await day.do(operation)
        await assert_books_balance(day)
        for name in ("ann", "bob"):
            balance = await day.stores.accounts.balance(day.player(name))
            assert balance is not None
            assert balance.balance_minor >= 0
    await day.work_all()
    await assert_books_balance(day)


@settings(max_examples=500)
@given(days)
def test_money_is_neither_made_nor_lost(operations: list[Operation]) -> None:
    asyncio.run(balanced_day(operations))


async def same_day(operations: list[Operation], dsn: str) -> None:
    number = next(NUMBERS)
    async with postgres_stores(dsn, pool_size=2) as stores:
        pair = [await Day.begin(memory_stores(), number), await Day.begin(stores, number)]
        for operation in operations:
            in_memory, in_postgres = [await day.do(operation) for day in pair]
            assert in_postgres == in_memory, operation
        for day in pair:
            await day.work_all()
            await assert_books_balance(day)
        in_memory_state, in_postgres_state = [await day.state() for day in pair]
        assert in_postgres_state == in_memory_state


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], report_multiple_bugs=False)
@given(operations=days)
def test_memory_and_postgresql_answer_the_same_day_alike(database_dsn: str, operations: list[Operation]) -> None:
    asyncio.run(same_day(operations, database_dsn))
