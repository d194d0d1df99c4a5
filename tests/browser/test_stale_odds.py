"""The live board while PostgreSQL is away: what stands on it is marked as old, and heals by itself."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.scene import POLL_TIMEOUT_MS, Match, Player, sign_in, token_of
from tests.outliving import Outliving, outliving

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def scene(servers_dir: Path) -> AsyncIterator[Outliving]:
    async with outliving(servers_dir, "stale") as made:
        yield made


async def test_odds_of_a_database_that_is_away_are_marked_as_old_until_it_is_back(
    browser: Browser, scene: Outliving
) -> None:
    async with httpx.AsyncClient(base_url=scene.own.address, timeout=20) as client:
        player = await Player.with_balance(client, "100.00")
        match = Match(client, await token_of(client, "feed"))
        await match.kick_off()
        page = await browser.new_page(base_url=scene.own.address)
        await sign_in(page, player.username)
        market = page.locator(f'[data-market="{match.market_id}"]')
        await expect(market).to_contain_text(re.compile(r"v1 · updated \d+ s ago"))
        await scene.kill()
        await expect(market).to_contain_text(re.compile(r"v1 · not refreshed for \d+ s"), timeout=POLL_TIMEOUT_MS)
        await expect(market).to_have_attribute("data-stale", "")
        await scene.start()
        await expect(market).to_contain_text(re.compile(r"v1 · updated \d+ s ago"), timeout=4 * POLL_TIMEOUT_MS)
        await page.close()
