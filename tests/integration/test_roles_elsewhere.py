"""Roles that another supervisor starts, each at an address of its own, as on several machines."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.callers import log_in
from touchline.runtime.addresses import LOCALHOST, free_port, is_free, is_own
from touchline.runtime.valkey import ValkeyServer

WRITER, POD = "127.0.0.2", "127.0.0.3"
PATIENCE_S = 60
ROLE = (sys.executable, "-m", "touchline.cli", "role")


@pytest.mark.skipif(not is_own(POD), reason=f"this machine has no {POD}")
async def test_a_pod_finds_a_writer_that_listens_elsewhere(servers_dir: Path, database_dsn: str) -> None:
    async with authority(servers_dir) as valkey:
        environ = environment(database_dsn, valkey)
        await asyncio.to_thread(subprocess.run, [*ROLE, "prepare"], env=environ, check=True, timeout=PATIENCE_S)
        port = free_port()
        async with role("writer", WRITER, free_port(), environ), role("pod", POD, port, environ):
            assert is_free(port, LOCALHOST)
            assert [address.partition(":")[0] for address in await writers(database_dsn)] == [WRITER]
            with httpx.Client(base_url=f"http://{POD}:{port}") as http:  # a demo account is opened by the writer
                answer = await asyncio.to_thread(lambda: log_in(http, "alice").get("/account/balance"))
                assert answer.json()["balance"] == "1000.00"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "localhost", ""])
def test_what_others_could_not_find_it_at_is_refused(host: str) -> None:
    ended = subprocess.run([*ROLE, "pod", "--host", host], capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 2
    assert "--host" in ended.stderr


async def writers(dsn: str) -> list[str]:
    """Return where the writers of shards are found."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT address FROM shards WHERE address IS NOT NULL")
    finally:
        await connection.close()
    return [row["address"] for row in rows]


@asynccontextmanager
async def authority(servers_dir: Path) -> AsyncIterator[str]:
    server = ValkeyServer.authority(servers_dir / "elsewhere")
    child = await server.start()
    try:
        yield server.url
    finally:
        await child.stop()
        await server.forget()


def environment(dsn: str, valkey: str) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    ours = {"ARCHITECTURE": "stream", "POSTGRES": dsn, "VALKEY": valkey, "ODDS_VALKEY": valkey}
    ours |= {"TOKEN_SECRET": "s" * 32, "SHARDS": "1", "SHARD": "1"}
    return others | {f"TOUCHLINE_{name}": value for name, value in ours.items()}


@asynccontextmanager
async def role(name: str, host: str, port: int, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Run a role at an address, ready."""
    child = await asyncio.create_subprocess_exec(*ROLE, name, f"--port={port}", f"--host={host}", env=environ)
    try:
        async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(base_url=f"http://{host}:{port}") as http:
            while not await is_ready(http):
                await asyncio.sleep(0.1)
        yield
    finally:
        child.terminate()
        await child.wait()


async def is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/health/ready")).is_success
    except httpx.TransportError:
        return False
