"""What several tests of the lab begin with."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.lab.betting_day import Clients, betting_day
from tests.scene import postgres_stores
from touchline.adapters.system import SystemClock


@pytest_asyncio.fixture
async def clients(database_dsn: str) -> AsyncIterator[Clients]:
    """A day of betting, all of it right."""
    async with postgres_stores(database_dsn, SystemClock()) as stores:
        yield await betting_day(stores)
