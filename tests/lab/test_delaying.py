"""The proxy that makes PostgreSQL slow: what it holds, and that everything comes through as it was."""

import asyncio
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from touchline.lab.clock import monotonic_s
from touchline.lab.delaying import Delays, Statements

READ_MS, WRITE_MS = 40.0, 200.0
DELAYS = Delays("127.0.0.1", 1, READ_MS, WRITE_MS)


@pytest.mark.parametrize(
    ("text", "held_ms"),
    [
        (b"SELECT * FROM odds WHERE market_id = $1", READ_MS),
        (b"-- a comment\n  with a AS (SELECT 1) SELECT * FROM a", READ_MS),
        (b"SELECT * FROM odds FOR UPDATE", READ_MS),
        (b"SELECT * FROM odds FOR NO KEY UPDATE OF odds", READ_MS),
        (b"INSERT INTO bets VALUES (1)", WRITE_MS),
        (b"WITH w AS (UPDATE wallets SET a = 1 RETURNING 1) SELECT * FROM w", WRITE_MS),
        (b"SELECT record_bet($1, $2)", WRITE_MS),
        (b"BEGIN ISOLATION LEVEL READ COMMITTED", 0.0),
        (b"COMMIT", 0.0),
    ],
)
def test_a_statement_is_held_by_what_it_does(text: bytes, held_ms: float) -> None:
    statements = Statements(DELAYS)
    assert statements.hold_s(b"Q", text + b"\0") == held_ms / 1000
    assert statements.hold_s(b"P", b"s1\0" + text + b"\0\0\0") == 0.0  # nothing is done yet
    assert statements.hold_s(b"B", b"\0s1\0rest") == held_ms / 1000
    assert statements.hold_s(b"B", b"\0unknown\0rest") == 0.0
    assert statements.hold_s(b"E", b"\0\0\0\0\0") == 0.0


@pytest_asyncio.fixture
async def slow_dsn(database_dsn: str) -> AsyncIterator[str]:
    """A database behind the proxy, in a process of its own."""
    parts = urlsplit(database_dsn)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "touchline.lab.delaying",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    delays = Delays(parts.hostname or "", parts.port or 0, READ_MS, WRITE_MS)
    child.stdin.write(msgspec.json.encode(delays) + b"\n")
    port = int(await child.stdout.readline())
    yield database_dsn.replace(f":{parts.port}/", f":{port}/")
    child.stdin.close()
    assert await child.wait() == 0


async def test_statements_take_longer_and_say_the_same(slow_dsn: str) -> None:
    connection = await asyncpg.connect(slow_dsn)
    try:
        await connection.execute("CREATE TEMPORARY TABLE held (number integer, words text)")
        for statement, least_ms in (
            ("SELECT $1::int", READ_MS),
            ("INSERT INTO held (number) VALUES ($1)", WRITE_MS),
        ):
            prepared = await connection.prepare(statement)
            began = monotonic_s()
            await prepared.fetchval(7)
            assert monotonic_s() - began >= least_ms / 1000
        words = "x" * 300_000
        await connection.copy_records_to_table("held", records=[(number, words) for number in range(20)])
        assert await connection.fetchval("SELECT sum(length(words)) FROM held") == 20 * len(words)
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("SELECT * FROM nowhere")
        assert await connection.fetchval("SELECT count(*) FROM held") == 21
    finally:
        await connection.close()


async def test_connections_do_not_hold_each_other_up(slow_dsn: str) -> None:
    held, quick = await asyncpg.connect(slow_dsn), await asyncpg.connect(slow_dsn)
    try:
        await held.execute("CREATE TEMPORARY TABLE held (number integer)")
        reading = await quick.prepare("SELECT 1")
        writing = asyncio.create_task(held.execute("INSERT INTO held VALUES (1)"))
        assert await reading.fetchval() == 1
        assert not writing.done()
        await writing
    finally:
        await asyncio.gather(held.close(), quick.close())
