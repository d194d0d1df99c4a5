"""The stream of a whole platform: through the balancer, from a feed's message and a bet to whoever listens."""

import asyncio
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from tests.callers import change_odds, log_in, new_market, new_player
from tests.gateways import PATIENCE_S, connected, versions
from tests.platforms import OwnPlatform
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.fact_log import PostgresFactLog
from touchline.core.facts import MARKETS_SHARD
from touchline.edge.http.sse import PATH

LATER_THAN_ANY_HEARTBEAT_MS = 60_000


@pytest.fixture
def http(stream_platform: OwnPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stream_platform.address, timeout=30) as client:
        yield client


async def test_a_price_a_suspension_and_an_own_bet_are_pushed(
    stream_platform: OwnPlatform, http: httpx.Client
) -> None:
    feed, player = log_in(http, "feed"), new_player(http)
    market_id = new_market(feed)
    async with connected(stream_platform.port) as client:
        client.subscribe(
            markets=[market_id], bets=True, token=player.token, heartbeat_ms=LATER_THAN_ANY_HEARTBEAT_MS
        )
        image = await client.hears("image")
        while not image["markets"]:  # the gateway may hear of it a moment later
            image = await client.message()
        await asyncio.to_thread(change_odds, feed, market_id, home="2.50")
        assert versions(await client.hears("change")) == {market_id: 2}
        placed = await asyncio.to_thread(player.place, market_id, odds="2.50", odds_version=2)
        assert placed.status_code == 201, placed.text
        told = await client.hears("bet")
        assert {name: told[name] for name in placed.json()} == placed.json()
        trader = log_in(http, "trader")
        assert trader.post(f"/trading/markets/{market_id}/suspend").status_code == 200
        (stopped,) = (await client.hears("change"))["markets"]
        assert (stopped["status"], stopped["odds_version"]) == ("suspended", 3)


async def test_settlement_reads_decisions_and_no_bets(stream_platform: OwnPlatform, http: httpx.Client) -> None:
    feed, trader, player = log_in(http, "feed"), log_in(http, "trader"), new_player(http)
    market_id = new_market(feed)
    assert player.place(market_id).status_code == 201
    trader.post(f"/trading/markets/{market_id}/void")
    database = await Database.connect(stream_platform.instance.postgres)
    while await PostgresFactLog(database, [MARKETS_SHARD]).unread("settlement"):
        await asyncio.sleep(0.01)
    read = await database.fetch("SELECT DISTINCT shard FROM consumers WHERE consumer = 'settlement'")
    assert [row["shard"] for row in read] == [MARKETS_SHARD]
    await database.close()


async def test_the_cursor_of_a_poll_resumes_the_stream_and_back(
    stream_platform: OwnPlatform, http: httpx.Client
) -> None:
    feed = log_in(http, "feed")
    market_id = new_market(feed)
    polled = feed.get("/odds", params={"since": ""}).json()
    assert market_id in [market["market_id"] for market in polled["markets"]]
    change_odds(feed, market_id, home="2.50")
    async with connected(stream_platform.port) as client:
        client.subscribe(
            markets=[market_id], resume=polled["cursor"], heartbeat_ms=LATER_THAN_ANY_HEARTBEAT_MS
        )
        missed = await client.hears("change")
        assert missed["resumed"] is True
        while not missed["markets"]:
            missed = await client.message()
        assert versions(missed) == {market_id: 2}
    since = f"{polled['cursor'].partition('-')[0]}-{missed['cursor']}"
    change_odds(feed, market_id, home="2.60")
    assert versions(feed.get("/odds", params={"since": since}).json()) == {market_id: 3}


async def test_server_sent_events_come_through_the_balancer(
    stream_platform: OwnPlatform, http: httpx.Client
) -> None:
    feed = log_in(http, "feed")
    market_id = new_market(feed)
    url = f"{stream_platform.address}{PATH}"
    async with (
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
        client.stream("GET", url, params={"markets": market_id}) as response,
    ):
        assert response.status_code == 200
        lines = response.aiter_lines()

        async def told() -> dict[str, int]:
            async for line in lines:
                if line.startswith("data: "):
                    return versions(msgspec.json.decode(line[6:]))
            raise AssertionError("the answer ended")

        while await told() != {market_id: 1}:
            pass
        await asyncio.to_thread(change_odds, feed, market_id, home="2.50")
        assert await told() == {market_id: 2}
