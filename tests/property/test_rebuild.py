"""Whatever happens in a day, its facts come to just what the tables hold: from nothing, and from any snapshot."""

import asyncio
import itertools
import random

from hypothesis import HealthCheck, given, settings

from tests.ledger_scene import ledger_stores
from tests.property.betting_day import Day, Operation, days
from tests.property.test_flows_money import assert_books_balance
from touchline.adapters.postgres.archive import PostgresArchiveStore
from touchline.flows.rebuild_state import take_snapshot, verify

NUMBERS = itertools.count(1)  # each example has names of its own in the one database


async def day_of_facts(operations: list[Operation], dsn: str) -> None:
    number, archive = next(NUMBERS), PostgresArchiveStore(dsn)
    chance = random.Random(number)
    async with ledger_stores(dsn) as stores:
        day = await Day.begin(stores, number)
        for operation in operations:
            await day.do(operation)
            if chance.random() < 0.05:
                await take_snapshot(archive, chance.choice((1, 2)), stores.clock.now(), every=1)
        assert (await verify(archive)).differences == []
        assert (await verify(archive, from_snapshots=True)).differences == []
        await day.work_all()
        await assert_books_balance(day)
        assert (await verify(archive)).differences == []
        found = await verify(archive, from_snapshots=True)
        assert (found.differences, found.shards) == ([], 2)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], report_multiple_bugs=False)
@given(operations=days)
def test_a_days_facts_come_to_what_the_tables_hold(database_dsn: str, operations: list[Operation]) -> None:
    asyncio.run(day_of_facts(operations, database_dsn))
