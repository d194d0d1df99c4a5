"""The pages on a phone, by keyboard alone, and for a screen reader."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.scene import (
    BOTH,
    DEMO_PASSWORD,
    Match,
    Player,
    desk_market,
    fill_slip,
    place_bet,
    price_button,
    sign_in,
    stake_field,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
OpenPage = Callable[..., Awaitable[Page]]
STUMBLES = (Path(__file__).parent / "accessibility.js").read_text("utf-8")
PHONE = {"width": 360, "height": 740}


async def check(page: Page) -> None:
    """Nothing on the page is in a person's way, and nothing is wider than the screen."""
    await page.evaluate("document.getAnimations().forEach((animation) => animation.finish())")
    assert await page.evaluate(STUMBLES) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@BOTH
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "wide"])
async def test_no_view_of_the_bettor_is_in_anybodys_way(
    open_page: OpenPage, player: Player, match: Match, viewport: dict[str, int], scheme: str
) -> None:
    page = await open_page(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    await page.goto("/")
    await check(page)
    await sign_in(page, player.username)
    await place_bet(page, match, "home", "5")
    await fill_slip(page, match, "draw", "5")
    await expect(stake_field(page)).to_be_in_viewport()
    await expect(page.locator("#slip-place")).to_be_in_viewport()
    await check(page)
    await page.get_by_role("button", name="Remove the bet from the slip").click()
    await match.price(home="2.40", away="3.90")
    await expect(price_button(page, match, "away")).to_contain_text("▼", timeout=15_000)
    await check(page)
    await page.get_by_role("link", name="My bets").click()
    await expect(page.locator("#bets")).to_contain_text("Harbour City")
    await check(page)
    await page.get_by_role("link", name="Account", exact=True).click()
    await expect(page.locator("#transactions")).to_contain_text("Stake")
    await check(page)


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "wide"])
async def test_the_desk_is_in_nobodys_way(
    page: Page, open_page: OpenPage, player: Player, match: Match, viewport: dict[str, int], scheme: str
) -> None:
    await sign_in(page, player.username)
    await place_bet(page, match, "home", "5")
    desk = await open_page(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    await desk.goto("/desk")
    await check(desk)
    await sign_in(desk, "trader", DEMO_PASSWORD, "/desk")
    await expect(desk.locator(f'#liability table[data-market="{match.market_id}"]')).to_be_visible()
    await check(desk)
    await desk.get_by_label("Find an event or market").fill(match.name)
    await desk_market(desk, match).get_by_role("button", name="Settle").click()
    await desk.get_by_role("group", name="Draw").get_by_label("Won").check()
    await desk.get_by_role("button", name="Review").click()
    await check(desk)


@BOTH
async def test_a_bet_needs_no_mouse(page: Page, player: Player, match: Match) -> None:
    await page.goto("/")
    await expect(page.get_by_label("Username")).to_be_focused()
    await page.keyboard.type(player.username)
    await page.keyboard.press("Tab")
    await page.keyboard.type(player.password)
    await page.keyboard.press("Enter")
    wanted = price_button(page, match, "home")
    await expect(wanted).to_be_visible()
    for _ in range(200):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("element => element === document.activeElement"):
            break
    await expect(wanted).to_be_focused()
    outline = await wanted.evaluate("element => getComputedStyle(element).outlineWidth")
    assert outline == "3px"
    await page.keyboard.press("Enter")
    await expect(stake_field(page)).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#slip-form")).to_be_hidden()
    await expect(wanted).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.type("4.50")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Done")).to_be_focused()
    await expect(page.locator("#toasts")).to_contain_text(re.compile("Bet placed: €4.50"))
    await page.keyboard.press("Enter")
    await expect(wanted).to_be_focused()
    assert [bet["stake"] for bet in await player.bets()] == ["4.50"]
