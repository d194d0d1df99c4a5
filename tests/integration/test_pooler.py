"""PgBouncer between the platform and PostgreSQL: whose connection it is changes with each transaction."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from tests.clock import HandClock
from tests.pgbouncer import needs_pgbouncer
from tests.samples import MARKET
from tests.scene import RULES, Stores, balance_of, bet_on, open_player, place, postgres_stores, price
from touchline import cli
from touchline.adapters.postgres.accounts import PostgresAccounts
from touchline.adapters.postgres.bets import PostgresBets
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.core.errors import Code, Outage, Rejection
from touchline.ports import Placed
from touchline.runtime import pgbouncer
from touchline.runtime.ladder import NO_POOLER
from touchline.runtime.pgbouncer import PgBouncer
from touchline.runtime.process import Child

SIZE = 3
AT_ONCE = 40


@pytest_asyncio.fixture
async def pooler(database_dsn: str, servers_dir: Path) -> AsyncIterator[tuple[PgBouncer, Child]]:
    """A pooler with few connections before a fresh database."""
    folder = servers_dir / "pooled"
    folder.mkdir(exist_ok=True)
    made = PgBouncer(folder, database_dsn, SIZE, wait_s=5)
    child = await made.start()
    yield made, child
    await child.stop()


@pytest_asyncio.fixture
async def database(database_dsn: str, pooler: tuple[PgBouncer, Child]) -> AsyncIterator[Database]:
    database = await Database.connect(database_dsn, pool_size=AT_ONCE, pooler_dsn=pooler[0].dsn, name="pooled")
    yield database
    await database.close()


@pytest_asyncio.fixture
async def stores(database_dsn: str, database: Database) -> AsyncIterator[Stores]:
    """Stores whose markets, bets and accounts are reached through the pooler."""
    clock = HandClock()
    async with postgres_stores(database_dsn, clock) as plain:
        yield replace(
            plain,
            markets=PostgresMarkets(database, clock),
            bets=PostgresBets(database, clock, RULES),
            accounts=PostgresAccounts(database, clock),
        )


@needs_pgbouncer
async def test_whoever_asks_at_the_same_time_gets_his_own_answer(database: Database) -> None:
    chance = random.Random(1)

    async def ask(number: int) -> None:
        for _ in range(20):
            kind = chance.randrange(3)
            if kind == 0:
                assert await database.value("SELECT $1::integer + 1", number) == number + 1
            elif kind == 1:
                assert await database.value("SELECT $1::text || '!'", str(number)) == f"{number}!"
            else:
                rows = await database.fetch("SELECT n, now() AS at FROM generate_series(1, $1::integer) n", number)
                assert [row["n"] for row in rows] == list(range(1, number + 1))

    await asyncio.gather(*(ask(number) for number in range(AT_ONCE)))
    counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooled'"
    assert 1 <= await database.value(counted) <= SIZE
    assert database.connections > SIZE


@needs_pgbouncer
async def test_its_connections_have_what_a_pod_asks_of_its_own(database: Database) -> None:
    assert await database.value("SHOW lock_timeout") == "5s"
    assert await database.value("SHOW jit") == "off"
    assert await database.value("SHOW application_name") == "pooled"


@needs_pgbouncer
async def test_bets_placed_at_once_through_it_are_placed_once_and_leave_the_wallet_right(stores: Stores) -> None:
    player = await open_player(stores, deposited=1_000)
    await price(stores)
    market = await stores.markets.get(MARKET)
    assert market is not None
    asked = [bet_on(stores, market, player, stake=100, key=f"k{number % 15}") for number in range(30)]
    answers = await asyncio.gather(*(place(stores, request) for request in asked))
    placed = {answer.bet.bet_id for answer in answers if isinstance(answer, Placed)}
    refused = [answer.code for answer in answers if isinstance(answer, Rejection)]
    assert len(placed) == 10
    assert set(refused) == {Code.INSUFFICIENT_BALANCE}
    assert await balance_of(stores, player) == 0
    assert await stores.books.discrepancies() == []


@needs_pgbouncer
async def test_what_is_undone_within_a_loan_leaves_nothing(database: Database) -> None:
    with pytest.raises(Rejection):
        await write_and_refuse(database)
    assert await database.value("SELECT count(*) FROM feed_messages") == 0


async def write_and_refuse(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO feed_messages (message_id, recorded_at) VALUES ('m', now())")
        raise Rejection(Code.MALFORMED, "no")


@needs_pgbouncer
async def test_what_needs_a_session_goes_past_it(stores: Stores, database: Database) -> None:
    revocations = stores.accounts.revocations()
    hearing = asyncio.ensure_future(anext(revocations))
    lists = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'revocations listener'"
    async with asyncio.timeout(60):
        while not await database.value(lists):
            await asyncio.sleep(0.01)
    hearing.cancel()
    await asyncio.wait({hearing})


@needs_pgbouncer
async def test_it_is_an_outage_while_it_is_away_and_then_goes_on(
    database: Database, pooler: tuple[PgBouncer, Child]
) -> None:
    made, child = pooler
    assert await database.value("SELECT 1") == 1
    child.signal(signal.SIGKILL)
    await child.wait()
    with pytest.raises(Outage):
        await database.value("SELECT 1")
    again = await made.start()
    assert await database.value("SELECT 2") == 2
    await again.stop()


def test_where_there_is_none_up_says_so_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgbouncer, "PLACES", ())
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TOUCHLINE_POOLER", "pgbouncer")
    ended = CliRunner().invoke(cli.app, ["up", "--port", "0", "--data-dir", str(tmp_path / "books")])
    assert ended.exit_code == 2
    [line] = ended.output.strip().splitlines()
    assert line.endswith(NO_POOLER)
