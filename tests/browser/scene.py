"""What a browser test plays with: a player of its own, a match of its own, and the page it looks at."""

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.async_api import ConsoleMessage, Locator, LocatorAssertions, Page, expect

BOTH = pytest.mark.parametrize("architecture", ["poll", "stream"], indirect=True)
STREAM = pytest.mark.parametrize("architecture", ["stream"], indirect=True)

PASSWORD = "correct horse battery"
DEMO_PASSWORD = "demo"
POLL_TIMEOUT_MS = 15_000  # some polls of three seconds, on a busy machine
LIVE = "Pushed live"  # what a page says of where its prices come from
RECONNECTING = "Reconnecting, polling"
POLLED = "Polled every 3 s"
LOGGED_BY_CHROMIUM = ("Failed to load resource", "WebSocket connection to ")


async def token_of(client: httpx.AsyncClient, username: str, password: str = DEMO_PASSWORD) -> str:
    """Return a fresh session's token."""
    answer = await client.post("/auth/login", json={"username": username, "password": password})
    return str(answer.raise_for_status().json()["token"])


@dataclass
class Player:
    """A player with money, whom no other test knows."""

    client: httpx.AsyncClient
    username: str
    token: str
    password: str = PASSWORD

    @classmethod
    async def with_balance(cls, client: httpx.AsyncClient, amount: str) -> "Player":
        """Open an account and pay `amount` in."""
        username = f"p{uuid.uuid4().hex[:12]}"
        answer = await client.post("/auth/register", json={"username": username, "password": PASSWORD})
        player = cls(client, username, answer.raise_for_status().json()["token"])
        body = {"amount": amount, "idempotency_key": uuid.uuid4().hex}
        (await client.post("/account/deposits", json=body, headers=player.headers)).raise_for_status()
        return player

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def bets(self) -> list[dict[str, object]]:
        """Return this player's bets, newest first."""
        answer = await self.client.get("/bets", headers=self.headers)
        return list(answer.raise_for_status().json()["bets"])

    async def balance(self) -> str:
        """Return this player's balance as the platform tells it."""
        answer = await self.client.get("/account/balance", headers=self.headers)
        return str(answer.raise_for_status().json()["balance"])


@dataclass
class Match:
    """A live match with one market of three selections, fed by this test."""

    client: httpx.AsyncClient
    feed_token: str
    event_id: str = field(default_factory=lambda: f"browser-{uuid.uuid4().hex[:10]}")

    @property
    def name(self) -> str:
        return f"Harbour City v North Athletic {self.event_id[-4:]}"

    @property
    def market_id(self) -> str:
        return f"{self.event_id}-result"

    async def send(self, kind: str, **fields: object) -> None:
        """Send one feed message about this match."""
        message = {
            "kind": kind,
            "message_id": uuid.uuid4().hex,
            "occurred_at": datetime.now(UTC).isoformat(),
            "event_id": self.event_id,
            **fields,
        }
        headers = {"Authorization": f"Bearer {self.feed_token}"}
        answer = await self.client.post("/feed/messages", json=[message], headers=headers)
        assert answer.raise_for_status().json()["applied"] == 1, answer.text

    async def kick_off(self) -> None:
        """Start the match and price its market."""
        await self.send(
            "fixture_change",
            name=self.name,
            sport="soccer",
            competition="Browser League",
            status="live",
            score="1-0",
            clock="34:10",
        )
        await self.price(home="2.00", draw="3.40", away="4.20")

    async def price(self, **odds: str) -> None:
        """Send new odds for some selections."""
        names = {"home": "Harbour City", "draw": "Draw", "away": "North Athletic"}
        await self.send(
            "odds_change",
            market_id=self.market_id,
            name="Match result",
            market_type="1X2",
            bet_delay_ms=5000,
            selections=[{"selection_id": key, "name": names[key], "odds": value} for key, value in odds.items()],
        )

    async def end(self) -> None:
        """Take the match off the live board."""
        await self.send("fixture_change", status="ended")


@dataclass
class Watched:
    """A page, and what went wrong on it that nobody meant to."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        # Chromium logs each refusal and all that a test cuts off; what the page makes of it is tested.
        if message.type in ("error", "warning") and not message.text.startswith(LOGGED_BY_CHROMIUM):
            self.wrong.append(f"{message.type}: {message.text}")


async def sign_in(page: Page, username: str, password: str = PASSWORD, path: str = "/") -> None:
    """Sign in on the page, as a person does."""
    await page.goto(path)
    await page.get_by_label("Username").fill(username)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.locator("#sign-out")).to_be_visible()


async def sign_in_between_polls(page: Page, username: str) -> None:
    """Sign in and see the first round of polls through; no other starts until the test moves the page's clock."""
    await page.clock.install()
    await page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    await sign_in(page, username)
    await expect(page.locator("#balance")).not_to_be_empty()  # what a first round asks for last


async def run_until_polled(page: Page, url: re.Pattern[str]) -> None:
    """Move the page's clock on, a round of polls at a time, until one of them asks for `url` and is answered.

    What has just come into view is asked for once the browser has told the page so, which may take a round.
    """
    async with page.expect_response(url) as answered:
        while not answered.is_done():
            await page.clock.run_for(3_000)


def source(page: Page) -> LocatorAssertions:
    """Return what can be expected of the page's word on where its prices come from."""
    return expect(page.locator("#source-mode"))


def price_button(page: Page, match: Match, selection_id: str) -> Locator:
    """Return the button of a selection on the board."""
    return page.locator(f'[data-market="{match.market_id}"] [data-selection="{selection_id}"]')


def desk_market(page: Page, match: Match) -> Locator:
    """Return the market's row on the desk."""
    return page.locator(f'.desk-market[data-market="{match.market_id}"]')


def stake_field(page: Page) -> Locator:
    """Return the slip's stake."""
    return page.get_by_role("textbox", name="Stake", exact=True)


async def fill_slip(page: Page, match: Match, selection_id: str, stake: str) -> None:
    """Pick a price and enter a stake."""
    await price_button(page, match, selection_id).click()
    await stake_field(page).fill(stake)


async def place_bet(page: Page, match: Match, selection_id: str, stake: str) -> None:
    """Place a bet and wait for its receipt."""
    await fill_slip(page, match, selection_id, stake)
    await page.locator("#slip-place").click()
    await expect(page.locator("#slip-receipt")).to_be_visible()
    await page.get_by_role("button", name="Done").click()
