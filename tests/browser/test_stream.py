"""The pages on a platform that pushes: prices, suspensions and own bets as they happen, and what a cut costs."""

import json
import os
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, WebSocket, WebSocketRoute, expect

from tests.browser.scene import (
    LIVE,
    POLL_TIMEOUT_MS,
    POLLED,
    RECONNECTING,
    STREAM,
    Match,
    Player,
    fill_slip,
    place_bet,
    price_button,
    sign_in,
    sign_in_between_polls,
    source,
    token_of,
)
from tests.platforms import OwnPlatform

pytestmark = [pytest.mark.asyncio(loop_scope="session"), STREAM]
OpenPage = Callable[..., Awaitable[Page]]
HEALED_TIMEOUT_MS = 60_000  # a gateway is started anew, on a busy machine
ODDS = re.compile(r"/odds/")


@dataclass
class Overheard:
    """What a page and its streams say to each other, a list a connection."""

    page: Page
    sent: list[list[dict[str, Any]]] = field(default_factory=list)
    received: list[list[dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("websocket", self._connected)

    def _connected(self, line: WebSocket) -> None:
        sent, received = list[dict[str, Any]](), list[dict[str, Any]]()
        self.sent.append(sent)
        self.received.append(received)
        line.on("framesent", lambda frame: sent.append(json.loads(frame)))
        line.on("framereceived", lambda frame: received.append(json.loads(frame)))


def requests_of(page: Page) -> list[str]:
    """Return a list of the addresses that the page asks for from now on."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    return asked


async def run_round(page: Page) -> None:
    """See a round of requests through: showing another view asks for all, for open bets after the prices."""
    await page.evaluate("location.hash = ''")
    async with page.expect_response(re.compile(r"/bets\?status=PLACED&limit=100")):
        await page.get_by_role("link", name="Live", exact=True).click()


async def test_the_board_moves_as_the_feed_moves_without_a_poll_of_a_price(
    page: Page, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    asked = requests_of(page)
    home = price_button(page, match, "home")
    await home.scroll_into_view_if_needed()
    for odds in ("2.10", "2.20", "2.15"):
        await match.price(home=odds)
        await expect(home.locator(".odds")).to_have_text(odds)
    await expect(home).to_have_accessible_name("Harbour City, 2.15, down from 2.20")
    await expect(page.locator("#source-lag")).to_have_text(re.compile(r"^up to [\d.]+ m?s behind$"))
    await run_round(page)
    assert not any(ODDS.search(url) for url in asked)


async def test_a_suspension_shows_at_once_on_the_board_and_in_the_slip(
    page: Page, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await sign_in_between_polls(page, player.username)
    await source(page).to_have_text(LIVE)
    await fill_slip(page, match, "home", "5")
    asked = requests_of(page)
    await match.send("bet_stop", market_id=match.market_id)
    await expect(page.locator(f'[data-market="{match.market_id}"]')).to_contain_text("SUSPENDED")
    await expect(price_button(page, match, "away")).to_be_disabled()
    await expect(page.locator("#slip-place")).to_have_text("Suspended: waiting")
    headers = {"Authorization": f"Bearer {await token_of(client, 'trader')}"}
    (await client.post(f"/trading/markets/{match.market_id}/resume", headers=headers)).raise_for_status()
    await expect(page.locator("#slip-place")).to_have_text("Place bet: €5.00 at 2.00")
    assert asked == []


async def test_the_slip_offers_a_pushed_price_before_it_is_pressed(
    page: Page, player: Player, match: Match
) -> None:
    await sign_in_between_polls(page, player.username)
    await source(page).to_have_text(LIVE)
    await fill_slip(page, match, "home", "10")
    await match.price(home="2.40")
    await expect(page.locator("#slip-notice")).to_have_text("The odds went up from 2.00 to 2.40.")
    take = page.get_by_role("button", name="Take 2.40")
    await expect(take).to_be_disabled()  # for a press that was meant for the old price
    await take.click(force=True)
    await page.clock.run_for(1_000)
    assert await player.bets() == []
    await take.click()
    await expect(page.locator("#slip-receipt")).to_contain_text("Bet placed: €10.00 at 2.40")
    assert [bet["odds"] for bet in await player.bets()] == ["2.40"]


async def test_an_own_bet_is_settled_on_the_page_without_asking(
    page: Page, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    overheard = Overheard(page)
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    await place_bet(page, match, "home", "10")
    await page.get_by_role("link", name="My bets").click()
    await expect(page.locator("#bets")).to_contain_text("Open€20.00to return")
    asked = requests_of(page)
    headers = {"Authorization": f"Bearer {await token_of(client, 'trader')}"}
    results = {"results": {"home": "won", "draw": "lost", "away": "lost"}}
    path = f"/trading/markets/{match.market_id}"
    (await client.post(f"{path}/settle", json=results, headers=headers)).raise_for_status()
    await expect(page.locator("#toasts")).to_contain_text("Bet won: Harbour City pays €20.00.")
    await expect(page.locator("#balance")).to_have_text("€110.00")
    await expect(page.locator("#no-bets")).to_be_visible()
    told = [(message["status"], message["result"]) for message in overheard.received[0] if message["op"] == "bet"]
    assert told[0] == ("PLACED", None)
    assert told[-1] == ("SETTLED", "won")
    assert not any("limit=100" in url for url in asked), "it was found by a poll"

    (await client.post(f"{path}/rollback", json={}, headers=headers)).raise_for_status()
    await expect(page.locator("#balance")).to_have_text("€90.00")
    await expect(page.locator("#bets")).to_contain_text("Open€20.00to return")


async def test_a_gateway_that_dies_costs_a_page_no_change(
    page: Page, stream_platform: OwnPlatform, player: Player, match: Match
) -> None:
    overheard = Overheard(page)
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    await match.price(home="2.10")
    await expect(price_button(page, match, "home")).to_contain_text("2.10")
    os.kill(stream_platform.pid("gateway-1"), signal.SIGKILL)
    await source(page).to_have_text(RECONNECTING)
    await match.price(home="2.20")
    await source(page).to_have_text(LIVE, timeout=HEALED_TIMEOUT_MS)
    await expect(price_button(page, match, "home")).to_contain_text("2.20")
    first = next(message for message in overheard.received[0] if message["op"] == "image" and message["markets"])
    resumed = next(message for message in overheard.sent[-1] if "resume" in message)
    assert resumed["resume"]["epoch"] == first["epoch"]
    assert resumed["resume"]["cursor"] > first["cursor"]
    assert [message["resumed"] for message in overheard.received[-1] if "resumed" in message] == [True]
    asked = requests_of(page)
    await match.price(home="2.30")
    await expect(price_button(page, match, "home")).to_contain_text("2.30")
    assert not any(ODDS.search(url) for url in asked)


async def test_without_a_gateway_the_page_polls_and_says_so(page: Page, player: Player, match: Match) -> None:
    async def refuse(line: WebSocketRoute) -> None:
        await line.close()

    await page.route_web_socket(re.compile(r"/stream$"), refuse)
    await sign_in(page, player.username)
    await source(page).to_have_text(POLLED)
    async with page.expect_response(re.compile(rf"/odds/{match.market_id}"), timeout=POLL_TIMEOUT_MS):
        await match.price(home="2.10")
    await expect(price_button(page, match, "home")).to_contain_text("2.10", timeout=POLL_TIMEOUT_MS)
    await match.send("bet_stop", market_id=match.market_id)
    market = page.locator(f'[data-market="{match.market_id}"]')
    await expect(market).to_contain_text("SUSPENDED", timeout=POLL_TIMEOUT_MS)


async def test_prices_go_on_while_the_rest_cannot_be_read(page: Page, player: Player, match: Match) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    await page.route(re.compile(r"/(bets|account)"), lambda route: route.abort())
    banner = page.locator("#connection")
    await expect(banner).to_contain_text("prices still come in", timeout=POLL_TIMEOUT_MS)
    await match.price(home="2.10")
    await expect(price_button(page, match, "home")).to_contain_text("2.10")
    await expect(page.locator("body")).not_to_have_attribute("data-lost", "")
    await page.unroute_all()
    await page.get_by_role("button", name="Retry now").click()
    await expect(banner).to_be_hidden()
