"""What the parts of a platform use, by its processes."""

import asyncio
import os
import sys

import asyncpg
import pytest

from touchline.lab import meters
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


async def test_a_database_that_is_late_is_looked_at_again_and_again(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meters, "_SQL", {"activity": "SELECT pg_sleep(1), 0 AS transactions"})
    monkeypatch.setattr(meters, "SQL_TIMEOUT_S", 0.2)
    database = Database(lambda: database_dsn)
    try:
        for _ in range(3):
            assert await database.look() is None
        monkeypatch.setattr(meters, "_SQL", {"activity": "SELECT 7 AS transactions"})
        assert await database.look() == {"xact_per_s": None}
    finally:
        await database.close()
    watching = await asyncpg.connect(database_dsn)
    others = "SELECT count(*) > 1 FROM pg_stat_activity WHERE datname = current_database()"
    async with asyncio.timeout(60):
        while await watching.fetchval(others):
            await asyncio.sleep(0.05)
    await watching.close()
