"""The embedded servers: reached only with their passwords, back at the same address after kill -9."""

import signal
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio as redis

from touchline.adapters.postgres.migrations import migrate, steps
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.valkey import ValkeyServer


async def test_migrations_apply_once(database_dsn: str) -> None:
    connection = await asyncpg.connect(database_dsn)
    names = [row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations ORDER BY name")]
    await connection.close()
    assert names == sorted(name for phase in ("before", "after") for name, _ in steps(phase))
    assert await migrate(database_dsn) == []


async def test_each_test_has_a_database_of_its_own(database_dsn: str, postgres_server: PostgresServer) -> None:
    connection = await asyncpg.connect(database_dsn)
    assert await connection.fetchval("SELECT current_database()") != "migrated"
    assert await connection.fetchval("SHOW data_checksums") == "on"
    assert await connection.fetchval("SHOW server_encoding") == "UTF8"
    assert int(await connection.fetchval("SHOW server_version_num")) >= 180000
    await connection.close()


async def test_postgres_refuses_a_wrong_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host="127.0.0.1", port=postgres_server.port, user="touchline", password="x", database="postgres"
        )


async def test_valkey_forgets_the_least_used_and_refuses_strangers(valkey_url: str) -> None:
    client = redis.from_url(valkey_url, decode_responses=True)
    assert (await client.config_get("maxmemory-policy")) == {"maxmemory-policy": "allkeys-lru"}
    await client.aclose()
    stranger = redis.from_url("redis://" + valkey_url.split("@")[1])
    with pytest.raises(redis.AuthenticationError):
        await stranger.ping()
    await stranger.aclose()


async def test_postgres_comes_back_at_its_address_with_its_rows_after_kill_9(servers_dir: Path) -> None:
    server = PostgresServer(servers_dir / "killed")
    child = await server.start()
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    child.signal(signal.SIGKILL)
    await child.wait()
    child = await server.start()
    try:
        again = await asyncpg.connect(server.dsn)
        assert await again.fetchval("SELECT n FROM kept") == 7
        await again.close()
    finally:
        await child.stop()
    assert child.process.returncode == 0
    assert not server.cluster.joinpath("postmaster.pid").exists()


async def test_valkey_comes_back_at_its_address_after_kill_9(servers_dir: Path) -> None:
    server = ValkeyServer(servers_dir / "killed")
    child = await server.start()
    child.signal(signal.SIGKILL)
    await child.wait()
    child = await server.start()
    client = redis.from_url(server.url)
    assert await client.ping()
    await client.aclose()
    await child.stop()
