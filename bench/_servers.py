"""The real servers and pods that a benchmark measures, in a directory of their own, stopped at the end."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec

from touchline.adapters.postgres.migrations import migrate
from touchline.architectures.settings import Settings, to_environ
from touchline.runtime.addresses import free_port
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.valkey import ValkeyServer

READY_TIMEOUT_S = 30


def sql(name: str) -> str:
    """Return the text of a file of SQL beside this one."""
    return Path(__file__).with_name(f"{name}.sql").read_text("utf-8")


@asynccontextmanager
async def servers() -> AsyncIterator[Settings]:
    """Yield settings that name a migrated PostgreSQL and a Valkey with default durability."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)  # noqa: ASYNC240  # before anything else runs
        postgres, valkey = PostgresServer(folder), ValkeyServer(folder)
        children = [await postgres.start(), await valkey.start()]
        try:
            await migrate(postgres.dsn)
            yield msgspec.structs.replace(
                Settings(),
                data_dir=folder,
                postgres=postgres.dsn,
                valkey=valkey.url,
                token_secret="s" * 40,
                bets_per_minute_max=1_000_000,
                velocity_bets=10_000,  # bettors of a benchmark are no persons
                feed="none",
            )
        finally:
            for child in children:
                await child.stop()


@asynccontextmanager
async def process(*argv: str, port: int, settings: Settings | None = None) -> AsyncIterator[int]:
    """Run `argv` under this Python, yield `port` once it answers there, and end it."""
    environ = os.environ | ({} if settings is None else to_environ(settings))
    child = await asyncio.create_subprocess_exec(sys.executable, *argv, env=environ)
    try:
        async with asyncio.timeout(READY_TIMEOUT_S), httpx.AsyncClient() as client:
            while True:
                try:
                    await client.get(f"http://127.0.0.1:{port}/health/ready")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield port
    finally:
        child.terminate()
        await child.wait()


@asynccontextmanager
async def role(name: str, settings: Settings) -> AsyncIterator[int]:
    """Run one role of the platform and yield its port."""
    port = free_port()
    async with process("-m", "touchline.cli", "role", name, "--port", str(port), port=port, settings=settings):
        yield port
