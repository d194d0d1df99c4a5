"""Each contract suite runs on memory and on PostgreSQL."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.scene import Stores, memory_stores, postgres_stores


@pytest.fixture(params=["memory", "postgres"])
def dsn(request: pytest.FixtureRequest) -> str | None:
    """The address of a fresh database, None for memory."""
    if request.param == "memory":
        return None
    address: str = request.getfixturevalue("database_dsn")
    return address


@pytest_asyncio.fixture
async def stores(dsn: str | None) -> AsyncIterator[Stores]:
    """A platform's stores, empty."""
    if dsn is None:
        yield memory_stores()
        return
    async with postgres_stores(dsn) as made:
        yield made


@pytest_asyncio.fixture
async def on_postgres(database_dsn: str) -> AsyncIterator[Stores]:
    """A platform's stores in PostgreSQL, for what only a database can be asked."""
    async with postgres_stores(database_dsn) as made:
        yield made
