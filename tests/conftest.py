"""Real servers for the tests: one PostgreSQL and one Valkey a session, a fresh database for a test that asks."""

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
import redis.asyncio as redis

from tests.kafka import KafkaServer, broker_jars
from tests.platforms import OwnPlatform
from touchline.adapters.postgres.migrations import migrate
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.valkey import ValkeyServer

TEMPLATE = "migrated"
# Tests kill processes, never the machine: what the kernel has taken is as good as on disk.
UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """A directory that an unprivileged server can reach, which pytest's own are not."""
    place = Path(tempfile.mkdtemp(prefix="touchline-tests-"))
    place.chmod(0o711)
    yield place
    shutil.rmtree(place)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(servers_dir: Path) -> AsyncIterator[PostgresServer]:
    """One PostgreSQL with a migrated template database."""
    server = PostgresServer(servers_dir, options=UNSAFE)
    child = await server.start()
    await _run(server, f"CREATE DATABASE {TEMPLATE}")
    await migrate(server.dsn_of(TEMPLATE))
    yield server
    await child.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey_server(servers_dir: Path) -> AsyncIterator[ValkeyServer]:
    """One Valkey."""
    server = ValkeyServer(servers_dir)
    child = await server.start()
    yield server
    await child.stop()


@pytest_asyncio.fixture
async def database_dsn(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The address of a fresh migrated database."""
    name = f"test_{uuid.uuid4().hex}"
    await _run(postgres_server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield postgres_server.dsn_of(name)
    await _run(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture
async def valkey_url(valkey_server: ValkeyServer) -> str:
    """The address of an empty Valkey."""
    client = redis.from_url(valkey_server.url)
    await client.flushall()
    await client.aclose()
    return valkey_server.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_address(servers_dir: Path) -> AsyncIterator[str]:
    """The address of one Kafka broker; a test takes a topic of its own."""
    server = KafkaServer(servers_dir / "kafka", broker_jars())
    await server.start()
    yield server.address
    await server.stop()


@pytest.fixture(scope="session")
def poll_platform(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A whole platform with two pods and no feed, at its `address`; shared, so leave it as it was."""
    own = OwnPlatform(servers_dir / "platform")
    own.up()
    yield own
    own.down()


@pytest.fixture(scope="session")
def platform(poll_platform: OwnPlatform) -> OwnPlatform:
    """The platform that a test is about, where it does not matter which."""
    return poll_platform


@pytest.fixture(scope="session")
def stream_platform(servers_dir: Path) -> Iterator[OwnPlatform]:
    """The same of the architecture `stream`."""
    own = OwnPlatform(servers_dir / "stream", settings={"architecture": "stream"})
    own.up()
    yield own
    own.down()


async def _run(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn_of("postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
