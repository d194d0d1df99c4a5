"""A real Chromium for the browser tests; whatever goes wrong on a page unasked fails its test."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.browser.scene import Match, Player, Watched, token_of
from tests.platforms import OwnPlatform

WIDE = {"width": 1280, "height": 900}


@pytest.fixture
def architecture(request: pytest.FixtureRequest) -> str:
    """The architecture of the platform that a test looks at; `poll` unless it is marked `BOTH` or `STREAM`."""
    return str(getattr(request, "param", "poll"))


@pytest.fixture
def site(request: pytest.FixtureRequest, architecture: str) -> OwnPlatform:
    """The platform that this test looks at."""
    found = request.getfixturevalue("stream_platform" if architecture == "stream" else "platform")
    assert isinstance(found, OwnPlatform)
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all browser tests."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here: install it to run the browser tests")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, site: OwnPlatform) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """Return what opens a page with a session of its own; nothing may go wrong on it unasked."""
    watched: list[Watched] = []

    async def opened(**options: object) -> Page:
        context = await browser.new_context(base_url=site.address, **{"viewport": WIDE, **options})
        page = await context.new_page()
        watched.append(Watched(page))
        return page

    yield opened
    for each in watched:
        await each.page.context.close()
    assert [wrong for each in watched for wrong in each.wrong] == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: Callable[..., Awaitable[Page]]) -> Page:
    """A page as wide as a desk's screen."""
    return await open_page()


@pytest_asyncio.fixture(loop_scope="session")
async def client(site: OwnPlatform) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the platform beside the browser."""
    async with httpx.AsyncClient(base_url=site.address, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def player(client: httpx.AsyncClient) -> Player:
    """A player with 100.00."""
    return await Player.with_balance(client, "100.00")


@pytest_asyncio.fixture(loop_scope="session")
async def match(client: httpx.AsyncClient) -> AsyncIterator[Match]:
    """A live match, over when the test is."""
    match = Match(client, await token_of(client, "feed"))
    await match.kick_off()
    yield match
    await match.end()
