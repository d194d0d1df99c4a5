"""V1 without PostgreSQL: who starts then serves and pushes odds all the same, and own bets once it is back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest_asyncio

from tests.callers import Caller, change_odds, log_in, new_market, new_player
from tests.gateways import Client, connected, versions
from tests.platforms import OwnPlatform
from touchline.adapters.system import SystemClock
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.architectures.parts import Process
from touchline.architectures.settings import Settings
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.roles import RolePart
from touchline.runtime.valkey import ValkeyServer

HEALED_WITHIN_S = 60
NO_HEARTBEATS = {"heartbeat_ms": 60_000}


async def test_a_gateway_is_ready_once_it_has_an_image_and_listens_and_needs_no_postgresql_for_that(
    servers_dir: Path,
) -> None:
    folder = servers_dir / "alone"
    odds = ValkeyServer.authority(folder)
    child = await odds.start()
    settings = Settings(
        architecture="stream",
        data_dir=folder,
        postgres="postgresql://nobody@127.0.0.1:1/nothing",
        valkey=odds.url,
        odds_valkey=odds.url,
        token_secret="s" * 32,
    )
    gateway = RolePart(Process("gateway", "gateway", streams=True), settings)
    markets = ValkeyMarkets(odds.url, 5_000, SystemClock())
    starting = asyncio.create_task(gateway.start())
    async with asyncio.timeout(HEALED_WITHIN_S), httpx.AsyncClient() as http:
        while not await says(http, gateway, "live", 200):
            await asyncio.sleep(0.02)
        assert await says(http, gateway, "ready", 503)
        await markets.begin()
        running = await starting
        assert await says(http, gateway, "ready", 200)
        async with connected(gateway.stream_port) as client:
            client.subscribe(markets=["m1"])
            assert (await client.hears("image"))["unknown"] == ["m1"]
            client.subscribe("bets", bets=True, token="forged")
            assert (await client.hears("error"))["code"] == "UNAUTHENTICATED"
    await markets.close()
    await running.stop()
    await child.stop()


async def says(http: httpx.AsyncClient, part: RolePart, what: str, status: int) -> bool:
    with suppress(httpx.TransportError):
        return (await http.get(f"http://127.0.0.1:{part.port}/health/{what}")).status_code == status
    return False


@pytest_asyncio.fixture
async def postgres(servers_dir: Path) -> AsyncIterator[PostgresServer]:
    """A PostgreSQL that no supervisor starts again."""
    server = PostgresServer(servers_dir / "away")
    yield server
    await server.forget()


async def test_what_is_started_while_postgresql_is_away_serves_odds_and_bets_once_it_is_back(
    servers_dir: Path, postgres: PostgresServer
) -> None:
    child = await postgres.start()
    own = OwnPlatform(servers_dir / "beside-away", settings={"postgres": postgres.dsn})
    await asyncio.to_thread(own.up, "--architecture", "stream", "--pods", "1")
    try:
        with httpx.Client(base_url=own.address, timeout=30) as http:
            feed, player = log_in(http, "feed"), new_player(http)
            market_id = new_market(feed)
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
            await started_again(own, "gateway-1", "pod-1")
            async with connected(own.port) as client:
                await odds_go_on(client, feed, player, market_id)
                child = await postgres.start()
                await bets_are_told_again(client, player, market_id)
    finally:
        await asyncio.to_thread(own.remove)
        await child.stop()


async def started_again(own: OwnPlatform, *parts: str) -> None:
    """Kill parts, and return once others stand in their places and answer."""
    before = {part: own.pid(part) for part in parts}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(HEALED_WITHIN_S), httpx.AsyncClient(base_url=own.address) as http:
        while any(part.pid == before.get(part.name) for part in own.instance.parts):
            await asyncio.sleep(0.05)
        while (await http.get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.05)


async def odds_go_on(client: Client, feed: Caller, player: Caller, market_id: str) -> None:
    """Odds are polled and pushed; whoever asks for his bets is told that they come late."""
    client.subscribe("odds", markets=[market_id], **NO_HEARTBEATS)
    assert versions(await client.hears("image")) == {market_id: 1}
    await asyncio.to_thread(change_odds, feed, market_id, home="2.50")
    assert versions(await client.hears("change")) == {market_id: 2}
    polled = await asyncio.to_thread(player.get, f"/odds/{market_id}")
    assert (polled.status_code, polled.json()["odds_version"]) == (200, 2)
    client.subscribe("bets", bets=True, token=player.token)
    assert (await client.hears("image"))["id"] == "bets"
    error = await client.hears("error")
    assert (error["code"], error["id"]) == ("UNAVAILABLE", "bets")


async def bets_are_told_again(client: Client, player: Caller, market_id: str) -> None:
    """The same connection is told that there may be bets it was not told of, then of the next."""
    error = await client.hears("error")
    assert (error["code"], error["id"]) == ("UNAVAILABLE", "bets")
    async with asyncio.timeout(HEALED_WITHIN_S):
        while True:
            placed = await asyncio.to_thread(
                player.place, market_id, odds="2.50", odds_version=2, idempotency_key="k"
            )
            if placed.status_code == 201:
                break
            assert placed.json()["code"] == "UNAVAILABLE", placed.text
    assert (await client.hears("bet"))["bet_id"] == placed.json()["bet_id"]
