"""A pod's HTTP port in this process, over stores in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import uvicorn

from tests import scene
from touchline.architectures.settings import Settings
from touchline.architectures.wiring import OPERATIONS, Stores, Surroundings, platform_over
from touchline.edge.http.app import HttpApp
from touchline.edge.http.platform import Platform
from touchline.edge.http.service import Readiness, service_operations
from touchline.edge.serving import server_of
from touchline.flows.place_bet import BetPlacing
from touchline.flows.serve_odds import OddsServing

SETTINGS = msgspec.structs.replace(Settings(), token_secret="s" * 40)


def memory_platform(memory: scene.Stores, around: Surroundings, odds: OddsServing | None = None) -> Platform:
    """A pod's flows over `memory`; polls read it too, unless `odds` answers them."""
    sessions, most = scene.memory_sessions(), SETTINGS.bets_per_minute_max
    stores = Stores(
        markets=memory.markets,
        settlements=memory.settlements,
        bets=memory.bets,
        accounts=memory.accounts,
        sessions=sessions,
        placing=BetPlacing(memory.bets, memory.accounts, sessions, around.clock, most),
        odds=odds or OddsServing(memory.markets),
    )
    return platform_over(SETTINGS, stores, around, keys_required=True)


@asynccontextmanager
async def listening(platform: Platform, pages: Any) -> AsyncIterator[uvicorn.Server]:
    """Yield the server of a pod of `platform`; `pages` have what the table of operations has not."""
    operations = (*OPERATIONS, *service_operations(Readiness(), OPERATIONS))
    server = server_of(HttpApp(platform, operations, pages), 0)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # uvicorn offers nothing to await
        await asyncio.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        await serving


def port_of(server: uvicorn.Server) -> int:
    """Where it listens."""
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port
