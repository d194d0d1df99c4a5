"""The trader's desk, and what a bettor sees of what is done there."""

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, expect

from tests.browser.scene import (
    BOTH,
    DEMO_PASSWORD,
    POLL_TIMEOUT_MS,
    Match,
    Player,
    desk_market,
    fill_slip,
    place_bet,
    price_button,
    sign_in,
    sign_in_between_polls,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
OpenPage = Callable[..., Awaitable[Page]]


async def open_desk(open_page: OpenPage, match: Match) -> Page:
    """Open the desk on one match."""
    desk = await open_page()
    await sign_in(desk, "trader", DEMO_PASSWORD, "/desk")
    await desk.get_by_label("Find an event or market").fill(match.name)
    await expect(desk_market(desk, match)).to_be_visible()
    return desk


@BOTH
async def test_a_suspension_reaches_the_bettor_at_the_next_poll(
    page: Page, open_page: OpenPage, player: Player, match: Match
) -> None:
    desk = await open_desk(open_page, match)
    await sign_in(page, player.username)
    await fill_slip(page, match, "home", "5")
    row = desk_market(desk, match)
    await row.get_by_role("button", name="Suspend").click()
    await expect(row.locator(".badge")).to_have_text("suspended", timeout=POLL_TIMEOUT_MS)

    market = page.locator(f'[data-market="{match.market_id}"]')
    await expect(market).to_contain_text("SUSPENDED", timeout=POLL_TIMEOUT_MS)
    await expect(price_button(page, match, "away")).to_be_disabled()
    await price_button(page, match, "away").click(force=True)
    await expect(page.locator("#slip-selection")).to_have_text("Harbour City")
    await expect(page.locator("#slip-place")).to_have_text("Suspended: waiting")
    await expect(page.locator("#slip-notice")).to_contain_text("waits here until prices are back")

    await row.get_by_role("button", name="Resume").click()
    await expect(page.locator("#slip-place")).to_contain_text("Place bet", timeout=POLL_TIMEOUT_MS)


async def test_a_bet_sent_to_a_market_just_suspended_waits_in_the_slip(
    page: Page, player: Player, match: Match
) -> None:
    await sign_in_between_polls(page, player.username)
    await fill_slip(page, match, "home", "5")
    await match.send("bet_stop", market_id=match.market_id)
    await page.locator("#slip-place").click()
    await expect(page.locator("#slip-says")).to_contain_text("Your bet was not placed; it waits here")
    await expect(page.locator("#slip-place")).to_have_text("Suspended: waiting")


@BOTH
async def test_settling_pays_the_bettor_and_rolling_back_takes_it_back(
    page: Page, open_page: OpenPage, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await place_bet(page, match, "home", "10")
    desk = await open_desk(open_page, match)
    liability = desk.locator(f'#liability table[data-market="{match.market_id}"]')
    await expect(liability).to_contain_text("Harbour City")
    await expect(liability).to_contain_text("€10.00")

    row = desk_market(desk, match)
    await row.get_by_role("button", name="Settle").click()
    dialog = desk.get_by_role("dialog")
    await dialog.get_by_role("button", name="Review").click()
    await expect(dialog).to_contain_text("3 selections have no result")
    await dialog.get_by_role("group", name="Harbour City").get_by_label("Won").check()
    await dialog.get_by_role("button", name="Review").click()
    await expect(dialog).to_contain_text("Won: Harbour City. Lost: Draw, North Athletic.")
    await dialog.get_by_role("button", name="Settle market").click()
    await expect(row).to_contain_text("Settled: 1 bet.", timeout=POLL_TIMEOUT_MS)
    await expect(row).to_contain_text("2.00won")

    await expect(page.locator("#toasts")).to_contain_text(
        "Bet won: Harbour City pays €20.00.", timeout=POLL_TIMEOUT_MS
    )
    await expect(page.locator("#balance")).to_have_text("€110.00")
    await page.get_by_role("link", name="My bets").click()
    await page.get_by_role("tab", name="Settled").click()
    await expect(page.locator("#bets")).to_contain_text("Won€20.00paid")

    await row.get_by_role("button", name="Roll back").click()
    await desk.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(row).to_contain_text("Rolled back: 1 bet.", timeout=POLL_TIMEOUT_MS)
    await expect(row.locator(".badge")).to_have_text("suspended")
    await page.get_by_role("tab", name="Open").click()
    await expect(page.locator("#bets")).to_contain_text("Open€20.00to return", timeout=POLL_TIMEOUT_MS)
    await expect(page.locator("#balance")).to_have_text("€90.00", timeout=POLL_TIMEOUT_MS)


@BOTH
async def test_voiding_gives_the_stake_back(page: Page, open_page: OpenPage, player: Player, match: Match) -> None:
    await sign_in(page, player.username)
    await place_bet(page, match, "draw", "10")
    desk = await open_desk(open_page, match)
    await desk_market(desk, match).get_by_role("button", name="Void").click()
    await desk.keyboard.press("Escape")
    await expect(desk_market(desk, match).locator(".badge")).to_have_text("active")
    await desk_market(desk, match).get_by_role("button", name="Void").click()
    await desk.get_by_role("button", name="Void market").click()
    await expect(page.locator("#toasts")).to_contain_text(
        "Bet void: Draw, €10.00 came back.", timeout=POLL_TIMEOUT_MS
    )
    await expect(page.locator("#balance")).to_have_text("€100.00")


@BOTH
async def test_all_markets_of_an_event_are_suspended_at_once(open_page: OpenPage, match: Match) -> None:
    await match.send(
        "odds_change",
        market_id=f"{match.event_id}-goals",
        name="Total goals",
        selections=[{"selection_id": "over", "name": "Over", "odds": "1.90"}],
    )
    desk = await open_desk(open_page, match)
    await desk.get_by_role("button", name="Suspend all markets").click()
    await expect(desk.locator(".desk-market .badge")).to_have_text(["suspended"] * 2, timeout=POLL_TIMEOUT_MS)
    await desk.get_by_role("button", name="Active").click()
    await expect(desk.locator("#no-events")).to_contain_text("No market like this")


async def test_the_desk_is_no_place_for_a_player(page: Page, player: Player) -> None:
    await page.goto("/desk")
    await page.get_by_label("Username").fill(player.username)
    await page.get_by_label("Password").fill(player.password)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator("#gate-says")).to_contain_text("no trader's")
    await expect(page.locator("#view-desk")).to_be_hidden()
