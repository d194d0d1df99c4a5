"""The pool's connections: lent again as they are, never broken ones, and shared fairly with those who wait."""

import asyncio

import asyncpg
import pytest

from touchline.adapters.postgres import lending
from touchline.adapters.postgres.database import Database
from touchline.core.errors import Fault, Outage

PID = "SELECT pg_backend_pid()"


async def test_a_connection_is_lent_again_past_the_pool_for_so_long(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "LENT_ON_MAX", 5)
    database = await Database.connect(database_dsn, pool_size=2)
    assert len({await database.value(PID) for _ in range(12)}) == 1
    assert (database.connections, database.in_use) == (1, 0)
    await database.close()


async def test_a_connection_that_broke_while_nobody_had_it_is_not_lent(database_dsn: str) -> None:
    database = await Database.connect(database_dsn, pool_size=1)
    first = await database.value(PID)
    killer = await asyncpg.connect(database_dsn)
    await killer.execute("SELECT pg_terminate_backend($1)", first)
    await killer.close()
    while True:  # until the end has been heard of; a statement that meets it first is an outage
        try:
            assert await database.value(PID) != first
            break
        except Outage:
            continue
    await database.close()


async def test_a_borrower_that_fails_leaves_nothing_behind(database_dsn: str) -> None:
    database = await Database.connect(database_dsn, pool_size=1)

    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute("CREATE TABLE scratch (n int)")
            await connection.execute("SELECT no_such_column")

    with pytest.raises(Fault):
        await fail()
    async with database.connection() as connection:
        await connection.execute("BEGIN")  # and forgets it
    assert await database.value("SELECT to_regclass('scratch')") is None
    assert await database.value("SELECT pg_current_xact_id_if_assigned()::text") is None
    async with database.connection() as connection:
        assert not connection.is_in_transaction()
    await database.close()


async def test_a_borrower_that_is_cancelled_gives_back_what_others_can_use(database_dsn: str) -> None:
    database = await Database.connect(database_dsn, pool_size=1)
    slow = asyncio.create_task(database.value("SELECT pg_sleep(30)"))
    while not database.in_use:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert await database.value("SELECT 1") == 1
    assert database.in_use == 0
    await database.close()


async def test_those_who_wait_get_what_is_given_back(database_dsn: str) -> None:
    database = await Database.connect(database_dsn, pool_size=3, wait_s=20)
    answers = await asyncio.gather(*(database.value("SELECT $1::int", number) for number in range(200)))
    assert answers == list(range(200))
    assert (database.connections, database.in_use, database.waiting) == (3, 0, 0)
    await database.close()


async def test_those_who_stop_waiting_or_wait_too_long_leave_their_place_to_others(database_dsn: str) -> None:
    database = await Database.connect(database_dsn, pool_size=1, waiters_max=3, wait_s=0.3)
    async with database.connection():
        waiting = [asyncio.create_task(database.value("SELECT 1")) for _ in range(3)]
        while database.waiting < 3:
            await asyncio.sleep(0)
        with pytest.raises(Outage, match="every connection is taken"):
            await database.value("SELECT 1")
        waiting[0].cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [asyncio.CancelledError, Outage, Outage]
        last = asyncio.create_task(database.value("SELECT 2"))
        while not database.waiting:
            await asyncio.sleep(0)
    assert await last == 2
    assert (database.in_use, database.waiting) == (0, 0)
    await database.close()


async def test_one_who_goes_as_he_is_handed_a_connection_passes_it_on(database_dsn: str) -> None:
    database = await Database.connect(database_dsn, pool_size=1, wait_s=20)
    for _ in range(20):
        async with database.connection():
            waiting = [asyncio.create_task(database.value("SELECT 1")) for _ in range(3)]
            while database.waiting < 3:
                await asyncio.sleep(0)
        waiting[0].cancel()  # in the turn in which it was handed to him
        assert (await asyncio.gather(*waiting, return_exceptions=True))[1:] == [1, 1]
        assert (database.connections, database.in_use) == (1, 0)
    await database.close()


async def test_those_who_wait_while_no_connection_can_be_made_hear_of_it(database_dsn: str) -> None:
    nowhere = await Database.connect("postgresql://nobody@127.0.0.1:9/none", pool_size=2, wait_s=5)
    answers = await asyncio.gather(*(nowhere.value("SELECT 1") for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Outage}
    assert (nowhere.connections, nowhere.in_use, nowhere.waiting) == (0, 0, 0)
    await nowhere.close()
