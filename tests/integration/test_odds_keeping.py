"""An authority on odds that somebody else runs: what it may lose is told, and one that evicts is refused."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from touchline.adapters.valkey.keeping import read_keeping
from touchline.core.errors import Outage
from touchline.runtime.valkey import ValkeyServer

SAFE = ("maxmemory-policy noeviction", "appendonly yes", "appendfsync always")
TIMEOUT_MS = 5_000
ROOT = Path(__file__).parents[2]

# How it is set, and which words tell of it.
SET = [
    (SAFE, []),
    (("maxmemory-policy noeviction", "appendonly yes", "appendfsync everysec"), ["appendfsync everysec"]),
    (("maxmemory-policy noeviction", "appendonly no"), ["appendonly no"]),
    (("maxmemory-policy allkeys-lru", "appendonly no"), ["maxmemory-policy allkeys-lru", "appendonly no"]),
    ((*SAFE, 'rename-command CONFIG ""'), ["could not be checked"]),
]


@asynccontextmanager
async def server(servers_dir: Path, keeping: tuple[str, ...]) -> AsyncIterator[ValkeyServer]:
    made = ValkeyServer(servers_dir / "keeping", keeping=keeping)
    child = await made.start()
    try:
        yield made
    finally:
        await child.stop()
        await made.forget()


@pytest.mark.parametrize(("keeping", "told"), SET)
async def test_what_it_may_lose_is_told(servers_dir: Path, keeping: tuple[str, ...], told: list[str]) -> None:
    async with server(servers_dir, keeping) as other:
        found = await read_keeping(other.url, TIMEOUT_MS)
    assert len(found.doubts) == len(told)
    assert all(words in doubt for words, doubt in zip(told, found.doubts, strict=True))
    assert found.evicts is any("allkeys" in words for words in told)


async def test_one_that_is_away_is_an_outage() -> None:
    with pytest.raises(Outage):
        await read_keeping("redis://127.0.0.1:1", TIMEOUT_MS)


async def prepared(dsn: str, url: str) -> subprocess.CompletedProcess[str]:
    """Prepare `stream` over servers of somebody else's."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    ours = {"ARCHITECTURE": "stream", "POSTGRES": dsn, "VALKEY": url, "ODDS_VALKEY": url, "TOKEN_SECRET": "s" * 32}
    environ = others | {f"TOUCHLINE_{name}": value for name, value in ours.items()}
    command = [sys.executable, "-m", "touchline.cli", "role", "prepare"]
    return await asyncio.to_thread(
        subprocess.run, command, env=environ, capture_output=True, text=True, timeout=60, cwd=ROOT
    )


async def test_one_that_evicts_is_refused_and_one_that_may_lose_is_warned_of(
    servers_dir: Path, database_dsn: str
) -> None:
    async with server(servers_dir, ("maxmemory-policy allkeys-lru", "appendonly no")) as other:
        refused = await prepared(database_dsn, other.url)
    assert refused.returncode == 2
    assert "noeviction" in refused.stderr
    async with server(servers_dir, ("maxmemory-policy noeviction", "appendonly no")) as other:
        warned = await prepared(database_dsn, other.url)
    assert warned.returncode == 0, warned.stderr
    assert "appendonly no" in warned.stderr
    async with server(servers_dir, SAFE) as other:
        fine = await prepared(database_dsn, other.url)
    assert (fine.returncode, fine.stderr) == (0, "")
