"""Each contract suite runs on memory, PostgreSQL and a ledger in shards; over HTTP, on each architecture."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.ledger_scene import stores_over
from tests.platforms import OwnPlatform
from tests.scene import Stores, postgres_stores


@pytest.fixture(params=["memory", "postgres", "stream"])
def kind(request: pytest.FixtureRequest) -> str:
    """What a platform's stores are made over."""
    return str(request.param)


@pytest.fixture
def dsn(kind: str, request: pytest.FixtureRequest) -> str | None:
    """The address of a fresh database, None for memory."""
    return None if kind == "memory" else str(request.getfixturevalue("database_dsn"))


@pytest_asyncio.fixture
async def stores(kind: str, dsn: str | None) -> AsyncIterator[Stores]:
    """A platform's stores, empty."""
    async with stores_over(kind, dsn) as made:
        yield made


@pytest.fixture(scope="session", params=["poll", "stream"])
def platform(request: pytest.FixtureRequest) -> OwnPlatform:
    """A running platform of each architecture: they answer one contract."""
    own: OwnPlatform = request.getfixturevalue(f"{request.param}_platform")
    return own


@pytest_asyncio.fixture
async def on_postgres(database_dsn: str) -> AsyncIterator[Stores]:
    """A platform's stores in PostgreSQL, for what only a database can be asked."""
    async with postgres_stores(database_dsn) as made:
        yield made
