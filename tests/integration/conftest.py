"""What suites of the gateway share: one that offers a market, and a client of it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.gateways import Client, Offered, Running, connected, running_gateway


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    """A gateway whose authority offers `m1`."""
    offered = Offered()
    offered.change("m1")
    async with running_gateway(offered) as one:
        yield one


@pytest_asyncio.fixture
async def client(running: Running) -> AsyncIterator[Client]:
    """A client of it."""
    async with connected(running.port) as one:
        yield one
