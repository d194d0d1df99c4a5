"""Signing in and out, money, limits and self-exclusion on the page."""

import uuid

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.browser.scene import (
    BOTH,
    DEMO_PASSWORD,
    PASSWORD,
    POLL_TIMEOUT_MS,
    Match,
    Player,
    fill_slip,
    sign_in,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_demo_player_signs_in_and_out(page: Page) -> None:
    await page.goto("/")
    await expect(page.locator("#gate-demo")).to_contain_text("alice")
    await sign_in(page, "alice", DEMO_PASSWORD)
    token = await page.evaluate("JSON.parse(sessionStorage.getItem('touchline.session')).token")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0
    answer = await page.request.get("/account", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 401


async def test_a_wrong_password_says_so(page: Page, player: Player) -> None:
    await page.goto("/")
    await page.get_by_label("Username").fill(player.username)
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("alert").first).to_contain_text("don't match")


@BOTH
async def test_a_newcomer_opens_an_account_and_deposits(page: Page) -> None:
    await page.goto("/")
    await page.get_by_role("button", name="Open an account").click()
    await page.get_by_label("Username").fill(f"p{uuid.uuid4().hex[:12]}")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Open account").click()
    await expect(page.locator("#balance")).to_have_text("€0.00")
    await page.get_by_role("link", name="Account", exact=True).click()
    await page.get_by_label("Amount").fill("1234.50")
    await page.get_by_role("button", name="Deposit").click()
    await expect(page.locator("#account-balance")).to_have_text("€1,234.50")
    await page.get_by_label("Amount").fill("34.50")
    await page.get_by_role("button", name="Withdraw").click()
    await expect(page.locator("#account-balance")).to_have_text("€1,200.00")
    await expect(page.locator("#transactions li")).to_contain_text(["Withdrawal", "Deposit"])
    await expect(page.locator("#account-source")).to_contain_text("read from the")
    await page.get_by_label("Amount").fill("5000")
    await page.get_by_role("button", name="Withdraw").click()
    await expect(page.locator("#funds-says")).to_contain_text("Your balance does not cover this")


@BOTH
async def test_a_session_that_ended_elsewhere_leads_back_to_the_sign_in(
    page: Page, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    token = await page.evaluate("JSON.parse(sessionStorage.getItem('touchline.session')).token")
    await client.post("/auth/logout", headers={"Authorization": f"Bearer {token}"})
    await expect(page.locator("#gate-says")).to_contain_text("session has ended", timeout=POLL_TIMEOUT_MS)


@BOTH
async def test_a_stake_limit_holds_at_once_and_its_raise_waits(page: Page, player: Player, match: Match) -> None:
    await sign_in(page, player.username)
    await page.get_by_role("link", name="Account", exact=True).click()
    await page.get_by_label("Stake limit, day").fill("10")
    await page.get_by_role("button", name="Save limits").click()
    await expect(page.locator("#limits-says")).to_contain_text("Your limits hold from now on")

    await page.get_by_role("link", name="Live", exact=True).click()
    await fill_slip(page, match, "home", "12")
    await page.get_by_role("button", name="Place bet").click()
    await expect(page.locator("#slip-says")).to_contain_text("your own stake limit of the day")
    await expect(page.locator("#slip-says")).to_contain_text("€10.00 is left")

    await page.get_by_role("link", name="Account", exact=True).click()
    await page.get_by_label("Stake limit, day").fill("50")
    await page.get_by_role("button", name="Save limits").click()
    await expect(page.locator("#waiting")).to_contain_text("Your stake limit of the day becomes 50.00 EUR at")
    await expect(page.get_by_label("Stake limit, day")).to_have_value("10.00")


@BOTH
async def test_self_exclusion_is_asked_about_and_stops_the_next_bet(
    page: Page, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await fill_slip(page, match, "home", "5")
    await page.get_by_role("link", name="Account", exact=True).click()
    await page.get_by_label("For how long").select_option("3 months")
    await page.get_by_role("button", name="Exclude me from betting").click()
    await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.locator("#exclusion")).to_be_hidden()

    await page.get_by_role("button", name="Exclude me from betting").click()
    await page.get_by_role("button", name="Exclude me for 3 months").click()
    await expect(page.locator("#exclusion")).to_contain_text("You have excluded yourself from betting until")
    await page.get_by_role("link", name="Live", exact=True).click()
    await page.get_by_role("button", name="Place bet").click()
    await expect(page.locator("#slip-says")).to_contain_text("You have excluded yourself from betting until")
    await page.get_by_role("link", name="My bets").click()
    await expect(page.locator("#no-bets")).to_contain_text("No open bets")
