"""What the parts of a platform use, by its processes."""

import asyncio
import os
import sys

from tests.lab.dying_server import dying_server
from touchline.lab.meters import Database, Processes

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"


async def test_a_part_under_another_part_counts_once() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert await child.stdout.readline() == b"1\n"
        alone = Processes().look({"pod-1": child.pid})["pod-1"]
        found = Processes().look({"supervisor": os.getpid(), "pod-1": child.pid})
        whole = Processes().look({"supervisor": os.getpid()})["supervisor"]
    finally:
        child.stdin.close()
        await child.wait()
    assert found["pod-1"]["threads"] == alone["threads"] == 2  # it, and its own child
    assert found["supervisor"]["threads"] == whole["threads"] - 2
    assert found["host"]["rss_mib"] > 0


async def test_a_database_that_goes_away_within_a_statement_is_away_and_looked_at_again(database_dsn: str) -> None:
    async with dying_server() as dying:
        address = dying
        database = Database(lambda: address)
        try:
            for _ in range(2):
                assert await database.look() is None
            address = database_dsn
            found = await database.look()
        finally:
            await database.close()
    assert found is not None
    assert found["connections"] == 0
