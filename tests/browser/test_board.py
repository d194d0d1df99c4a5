"""The live board: prices as they move, suspensions, ages, and what happens when polls do not get through."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.scene import (
    BOTH,
    LIVE,
    POLL_TIMEOUT_MS,
    POLLED,
    Match,
    Player,
    price_button,
    run_until_polled,
    sign_in,
    sign_in_between_polls,
    source,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


@BOTH
async def test_a_price_that_moved_is_marked_by_colour_glyph_and_word(
    page: Page, architecture: str, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await source(page).to_have_text(LIVE if architecture == "stream" else POLLED)
    home, away = price_button(page, match, "home"), price_button(page, match, "away")
    await expect(home).to_have_accessible_name("Harbour City, 2.00")
    market = page.locator(f'[data-market="{match.market_id}"]')
    before = await market.bounding_box()
    colour = await home.locator(".odds").evaluate("element => getComputedStyle(element).color")

    await match.price(home="2.10", away="4.00")

    await expect(home).to_have_accessible_name("Harbour City, 2.10, up from 2.00", timeout=POLL_TIMEOUT_MS)
    await expect(home).to_contain_text("▲")
    await expect(away).to_have_accessible_name("North Athletic, 4.00, down from 4.20")
    await expect(away).to_contain_text("▼")
    colours = [
        await button.locator(".odds").evaluate("element => getComputedStyle(element).color")
        for button in (home, away)
    ]
    assert len({colour, *colours}) == 3
    assert await market.bounding_box() == before
    await expect(market).to_contain_text(re.compile(r"v2 · updated \d+ s ago"))
    await expect(market).to_contain_text("5 s bet delay")


async def test_only_markets_that_can_be_seen_are_polled(page: Page, player: Player, match: Match) -> None:
    await match.send(
        "odds_change",
        market_id=f"{match.event_id}-hidden",
        name="Total goals",
        market_type="OVER_UNDER",
        selections=[{"selection_id": "over", "name": "Over", "odds": "1.90"}],
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await sign_in_between_polls(page, player.username)
    card = page.locator(f'[data-event="{match.event_id}"]')
    if await card.get_by_role("button", name="Fewer markets").count():
        await card.get_by_role("button", name="Fewer markets").click()
    await card.scroll_into_view_if_needed()
    for _ in range(2):  # what the first asks for may still be from before the list was closed
        asked.clear()
        await run_until_polled(page, re.compile(rf"/odds/{match.market_id}"))
    assert not any("hidden" in url for url in asked)

    await card.get_by_role("button", name="All 2 markets").click()
    await price_button(page, match, "home").scroll_into_view_if_needed()
    await card.get_by_role("group", name="Total goals").scroll_into_view_if_needed()
    await run_until_polled(page, re.compile(r"/odds/.*-hidden"))


async def test_when_polls_fail_the_page_says_so_and_comes_back_by_itself(
    page: Page, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await expect(price_button(page, match, "home")).to_be_visible()
    await page.route("**/events?*", lambda route: route.abort())
    banner = page.locator("#connection")
    await expect(banner).to_contain_text("Connection lost", timeout=POLL_TIMEOUT_MS)
    await page.unroute("**/events?*")
    await match.price(home="2.30")
    await page.get_by_role("button", name="Retry now").click()
    await expect(banner).to_be_hidden()
    await expect(price_button(page, match, "home")).to_contain_text("2.30", timeout=POLL_TIMEOUT_MS)


async def test_the_delay_of_pictures_is_told(page: Page, player: Player) -> None:
    await sign_in(page, player.username)
    await expect(page.locator("#delay-note")).to_contain_text("several seconds behind")


async def test_a_price_never_goes_back_to_an_older_version(page: Page) -> None:
    await page.goto("/")
    kept = await page.evaluate(
        """async () => {
            const { Prices } = await import("/static/prices.js");
            const prices = new Prices();
            const market = (odds_version, odds) => ({
                market_id: "m", odds_version, selections: [{ selection_id: "s", odds }],
            });
            prices.take(market(7, "2.00"));
            prices.take(market(9, "2.20"));
            prices.take(market(8, "2.10"));
            return [prices.market("m").odds_version, prices.move("m", "s").direction, prices.move("m", "s").from];
        }"""
    )
    assert kept == [9, "up", "2.00"]
