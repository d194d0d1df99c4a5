"""What the pages make of the stream's words, said one by one by a stream of the test's own; the rest is real."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, WebSocketRoute, expect

from tests.browser.scene import (
    DEMO_PASSWORD,
    LIVE,
    POLL_TIMEOUT_MS,
    POLLED,
    RECONNECTING,
    Match,
    Player,
    desk_market,
    fill_slip,
    price_button,
    sign_in,
    source,
    token_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
EPOCH = "e1"
ODDS = re.compile(r"/odds/")
OPEN_BETS = re.compile(r"/bets\?status=PLACED&limit=100")


@dataclass
class SpokenStream:
    """A stream that answers subscriptions from the platform, and else says what the test says."""

    client: httpx.AsyncClient
    headers: dict[str, str]
    cursor: int = 100
    reachable: bool = True
    beats: bool = True
    tries: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    line: WebSocketRoute | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def connected(self, line: WebSocketRoute) -> None:
        """Take a page's connection."""
        self.tries += 1
        if not self.reachable:
            await line.close()
            return
        self.line = line
        line.on_message(self._heard)
        line.on_close(lambda *_: self._closed(line))

    def say(self, op: str, **words: object) -> None:
        """Say one message."""
        assert self.line is not None
        self.line.send(json.dumps({"op": op, **words}))

    def change(self, *markets: dict[str, Any], **words: object) -> None:
        """Say that markets changed."""
        self.cursor += len(markets)
        self.say("change", cursor=self.cursor, markets=markets, **words)

    async def tried_again(self, page: Page) -> None:
        """Move the page's clock on until it has made another connection."""
        async with asyncio.timeout(POLL_TIMEOUT_MS / 1000):
            while self.tries == 1:
                await page.clock.run_for(1_000)

    async def keep_beating(self) -> None:
        """Say every second that nothing changed, unless the test does."""
        while True:
            await asyncio.sleep(1)
            if self.beats and self.line is not None:
                self.beat()

    def beat(self, **words: object) -> None:
        """Say that nothing changed."""
        self.say("heartbeat", cursor=self.cursor, at=datetime.now(UTC).isoformat(), **words)

    async def cut(self, *, back: bool) -> None:
        """End the connection; whether another can be made is `back`."""
        assert self.line is not None
        self.reachable = back
        line, self.line = self.line, None
        await line.close(code=1001)

    @property
    def subscriptions(self) -> list[dict[str, Any]]:
        """The subscriptions to events, the oldest first."""
        return [asked for asked in self.asked if asked["op"] == "subscribe" and "events" in asked]

    async def _heard(self, words: str | bytes) -> None:
        asked = json.loads(words)
        if asked["op"] == "subscribe" and "resume" in asked:
            self.say("change", id=asked["id"], epoch=EPOCH, cursor=self.cursor, markets=[], resumed=True)
        elif asked["op"] == "subscribe" and "events" in asked:
            events = (await self.client.get("/events", headers=self.headers)).raise_for_status().json()["events"]
            markets = [
                market for event in events if event["event_id"] in asked["events"] for market in event["markets"]
            ]
            self.say("image", id=asked["id"], epoch=EPOCH, cursor=self.cursor, markets=markets)
        self.asked.append(asked)
        self.news.set()

    def _closed(self, line: WebSocketRoute) -> None:
        if self.line is line:
            self.line = None

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for the page to say what makes `holds` true."""
        async with asyncio.timeout(POLL_TIMEOUT_MS / 1000):
            while not holds():
                self.news.clear()
                await self.news.wait()


@pytest_asyncio.fixture(loop_scope="session")
async def spoken(page: Page, client: httpx.AsyncClient) -> AsyncIterator[SpokenStream]:
    """The stream of this test's page."""
    spoken = SpokenStream(client, {"Authorization": f"Bearer {await token_of(client, 'trader')}"})
    await page.route_web_socket(re.compile(r"/stream$"), spoken.connected)
    beating = asyncio.create_task(spoken.keep_beating())
    yield spoken
    beating.cancel()


async def moved(client: httpx.AsyncClient, match: Match, version: int, home: str) -> dict[str, Any]:
    """Return the match's market as it would be at `version`, with other odds for `home`; it has not moved."""
    headers = {"Authorization": f"Bearer {match.feed_token}"}
    market = (await client.get(f"/odds/{match.market_id}", headers=headers)).raise_for_status().json()
    market["selections"][0]["odds"] = home
    return {**market, "odds_version": version, "updated_at": datetime.now(UTC).isoformat()}


async def bet_elsewhere(player: Player, match: Match, stake: str) -> dict[str, Any]:
    """Place a bet on `home` that the page does not know of, and return it."""
    body = {
        "market_id": match.market_id,
        "selection_id": "home",
        "odds": "2.00",
        "odds_version": 1,
        "stake": stake,
        "idempotency_key": uuid.uuid4().hex,
    }
    answer = await player.client.post("/bets", json=body, headers=player.headers)
    return dict(answer.raise_for_status().json())


async def voided(client: httpx.AsyncClient, player: Player, match: Match) -> list[dict[str, object]]:
    """Void the market, and return the player's bets once they are worked."""
    headers = {"Authorization": f"Bearer {await token_of(client, 'trader')}"}
    (await client.post(f"/trading/markets/{match.market_id}/void", json={}, headers=headers)).raise_for_status()
    while True:
        bets = await player.bets()
        if all(bet["result"] == "void" for bet in bets):
            return bets


async def test_what_is_pushed_is_shown_and_nothing_of_it_is_polled(
    page: Page, spoken: SpokenStream, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    polled: list[str] = []
    page.on("request", lambda request: polled.append(request.url) if ODDS.search(request.url) else None)
    for version, odds in [(7, "2.50"), (8, "2.60")]:
        spoken.change(await moved(client, match, version, odds))
        await expect(price_button(page, match, "home").locator(".odds")).to_have_text(odds)
    spoken.change(await moved(client, match, 6, "1.10"), await moved(client, match, 9, "2.70"))
    await expect(price_button(page, match, "home")).to_have_accessible_name("Harbour City, 2.70, up from 2.60")
    async with page.expect_response(re.compile(r"/events\?")):
        pass  # a round of polls, whose answer is of an older version
    await expect(price_button(page, match, "home").locator(".odds")).to_have_text("2.70")
    await expect(page.locator("#source-lag")).to_have_text(re.compile(r"^up to \d+ ms behind$"))
    assert polled == []


async def test_the_slip_follows_pushed_prices_and_a_press_meant_for_the_old_one_takes_none(
    page: Page, spoken: SpokenStream, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    await fill_slip(page, match, "home", "10")
    place = page.locator("#slip-place")
    await expect(place).to_have_text("Place bet: €10.00 at 2.00")
    spoken.change(await moved(client, match, 7, "2.50"))
    await expect(page.locator("#slip-notice")).to_have_text("The odds went up from 2.00 to 2.50.")
    await page.evaluate(
        """() => {
            const place = document.getElementById("slip-place");
            const anything = { childList: true, characterData: true, subtree: true };
            new MutationObserver(() => place.click()).observe(place, anything);
        }"""  # a finger that comes down just as the price changes under it
    )
    spoken.change(await moved(client, match, 8, "1.50"))
    await expect(place).to_have_text("Take 1.50")
    await expect(place).to_be_enabled()
    assert await player.bets() == []


async def test_a_cut_is_told_polled_over_and_resumed_where_it_was(
    page: Page, spoken: SpokenStream, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    place = await page.locator("#matches").bounding_box()
    spoken.change(await moved(client, match, 2, "2.50"))
    await expect(price_button(page, match, "home")).to_contain_text("2.50")
    async with page.expect_response(ODDS):
        await spoken.cut(back=False)
    await source(page).to_have_text(RECONNECTING)
    assert await page.locator("#matches").bounding_box() == place, "prices jump under the finger"
    spoken.reachable = True
    await source(page).to_have_text(LIVE, timeout=POLL_TIMEOUT_MS)
    assert spoken.subscriptions[-1]["resume"] == {"epoch": EPOCH, "cursor": spoken.cursor}
    spoken.change(await moved(client, match, 3, "2.55"))
    await expect(price_button(page, match, "home")).to_contain_text("2.55")


@pytest.mark.parametrize("words", ["{", "null"])
async def test_words_that_cannot_be_read_end_the_connection(
    page: Page, spoken: SpokenStream, player: Player, match: Match, words: str
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    first = spoken.line
    assert first is not None
    first.send(words)
    await source(page).to_have_text(RECONNECTING)
    await source(page).to_have_text(LIVE, timeout=POLL_TIMEOUT_MS)
    assert spoken.line is not first


async def test_a_stream_that_falls_silent_is_given_up_for_another(
    page: Page, spoken: SpokenStream, player: Player, match: Match
) -> None:
    spoken.beats = False
    await page.clock.install()
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    first = spoken.line
    for _ in range(5):  # heartbeats keep it
        spoken.beat()
        await page.clock.run_for(2_000)
    assert spoken.line is first
    await spoken.tried_again(page)
    await source(page).to_have_text(LIVE)
    assert spoken.line is not first


async def test_without_a_stream_the_page_polls_says_so_and_asks_again_seldom(
    page: Page, spoken: SpokenStream, player: Player, match: Match
) -> None:
    spoken.reachable = False
    await page.clock.install()
    await sign_in(page, player.username)
    await source(page).to_have_text(POLLED)
    async with page.expect_response(ODDS):
        await page.clock.run_for(3_000)
    spoken.reachable = True
    await page.clock.run_for(10_000)
    assert spoken.tries == 1
    await spoken.tried_again(page)
    await source(page).to_have_text(LIVE)


async def test_it_is_told_where_changes_are_left_out_and_where_the_platform_itself_hears_nothing(
    page: Page, spoken: SpokenStream, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    spoken.change(await moved(client, match, 7, "2.50"), conflated="slow_reader")
    await expect(page.locator("#source-lag")).to_contain_text("slow connection · up to")
    market = page.locator(f'[data-market="{match.market_id}"]')
    spoken.beats = False
    await page.route("**/events?*", lambda route: route.abort())
    spoken.beat(stale_since=(datetime.now(UTC) - timedelta(minutes=1)).isoformat())
    await expect(market).to_contain_text(re.compile(r"not refreshed for (60|1 min|6\d)"))
    spoken.beat()
    await expect(market).to_contain_text(re.compile(r"updated \d+ s ago"))


async def test_a_refused_subscription_is_polled_and_asked_for_again_from_the_beginning(
    page: Page, spoken: SpokenStream, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    first = spoken.line
    spoken.say("error", id=spoken.subscriptions[-1]["id"], code="UNAVAILABLE", detail="not now")
    await source(page).to_have_text(RECONNECTING)
    await source(page).to_have_text(LIVE, timeout=POLL_TIMEOUT_MS)
    assert spoken.line is not first
    assert "resume" not in spoken.subscriptions[-1]


async def test_another_list_of_events_is_followed_before_the_old_one_is_let_go(
    page: Page, spoken: SpokenStream, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    before = spoken.subscriptions[-1]["id"]
    another = Match(client, match.feed_token)
    await another.kick_off()
    await expect(price_button(page, another, "home")).to_be_visible(timeout=POLL_TIMEOUT_MS)
    await spoken.until(lambda: spoken.asked[-1] == {"op": "unsubscribe", "id": before})
    assert another.event_id in spoken.asked[-2]["events"]
    spoken.change(await moved(client, another, 7, "2.50"))
    await expect(price_button(page, another, "home")).to_contain_text("2.50")
    await another.end()


async def test_pushed_news_of_own_bets_is_counted_told_once_and_paid_for(
    page: Page, spoken: SpokenStream, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    await page.get_by_role("link", name="My bets").click()
    for bet in [await bet_elsewhere(player, match, "10.00") for _ in range(2)]:
        spoken.say("bet", **bet)
    await expect(page.locator("#open-count")).to_have_text("2")
    await expect(page.locator("#bets li")).to_have_count(2)
    await expect(page.locator("#balance")).to_have_text("€80.00")
    for bet in await voided(client, player, match):
        spoken.say("bet", **bet)
    await expect(page.locator("#toasts")).to_contain_text("Bet void: Harbour City, €10.00 came back.")
    await expect(page.locator("#open-count")).to_be_hidden()
    await expect(page.locator("#balance")).to_have_text("€100.00")
    await expect(page.locator("#no-bets")).to_be_visible()
    async with page.expect_response(OPEN_BETS):  # which tells nothing again
        await page.get_by_role("link", name="Live", exact=True).click()
    await expect(page.locator(".toast")).to_have_count(2)


async def test_an_answer_from_before_the_news_opens_no_bet_again(
    page: Page, spoken: SpokenStream, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await bet_elsewhere(player, match, "10.00")
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE)
    await expect(page.locator("#open-count")).to_have_text("1")
    answered, released = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        answered.set()
        await released.wait()
        await route.fulfill(response=answer)

    await page.route(OPEN_BETS, hold)
    await page.get_by_role("link", name="My bets").click()  # all is asked for where another view is shown
    await answered.wait()
    (bet,) = await voided(client, player, match)
    spoken.say("bet", **bet)
    await expect(page.locator("#open-count")).to_be_hidden()
    async with page.expect_response(OPEN_BETS):
        released.set()
    await page.unroute_all()
    async with page.expect_response(OPEN_BETS):
        await page.get_by_role("link", name="Live", exact=True).click()
    await expect(page.locator("#open-count")).to_be_hidden()
    await expect(page.locator(".toast")).to_have_text(["Bet void: Harbour City, €10.00 came back.×"])


async def test_the_desk_shows_what_is_pushed(
    page: Page, spoken: SpokenStream, client: httpx.AsyncClient, match: Match
) -> None:
    await sign_in(page, "trader", DEMO_PASSWORD, "/desk")
    await source(page).to_have_text(LIVE)
    spoken.change({**await moved(client, match, 7, "2.50"), "status": "suspended"})
    await expect(desk_market(page, match)).to_contain_text("2.50")
    await expect(desk_market(page, match).locator(".badge")).to_have_text("suspended")
    await expect(desk_market(page, match)).to_contain_text("v7")
