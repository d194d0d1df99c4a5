"""The lab's report in a real browser: complete, readable at any width and in both schemes, and silent."""

from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.browser.scene import Watched
from tests.browser.test_access import STUMBLES
from tests.lab import synthetic_runs as runs
from touchline.lab.records import Checks, RuleCheck
from touchline.lab.report import write

pytestmark = pytest.mark.asyncio(loop_scope="session")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LONG_NAMES = Checks(rules=[RuleCheck("payouts", 7, ["bet-" + "x" * 300])], ok=False)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of each scenario, and one of a run that was cut off and is wrong."""
    root = tmp_path_factory.mktemp("reports")
    found = {
        "knee": runs.knee_run(root / "knee"),
        "volatility": runs.volatility_run(root / "volatility"),
        "settlement": runs.settlement_run(root / "settlement"),
        "ladder": runs.ladder_run(root / "ladder"),
        "faults": runs.faults_run(root / "faults"),
        "soak": runs.soak_run(root / "soak", length_s=900),
        "cut": runs.faults_run(root / "cut", complete=False, checks=LONG_NAMES, findings={"x" * 200: "y" * 400}),
    }
    return {name: write(run_dir) for name, run_dir in found.items()}


async def opened(browser: Browser, report: Path, **options: object) -> tuple[Page, Watched, list[str]]:
    """Return the report's page, what goes wrong on it, and what it asks for."""
    context = await browser.new_context(**{"viewport": WIDE, **options})
    page = await context.new_page()
    watched, asked = Watched(page), []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(report.as_uri())
    return page, watched, asked


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("viewport", [PHONE, WIDE], ids=["phone", "wide"])
async def test_a_report_is_in_nobodys_way(
    browser: Browser, reports: dict[str, Path], viewport: dict[str, int], scheme: str
) -> None:
    for report in reports.values():
        page, watched, asked = await opened(browser, report, viewport=viewport, color_scheme=scheme)
        await page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        assert await page.evaluate(STUMBLES) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert watched.wrong == []
        assert asked == [report.as_uri()]
        await page.context.close()


async def test_the_numbers_under_the_pointer_are_those_of_the_table(
    browser: Browser, reports: dict[str, Path]
) -> None:
    page, watched, _ = await opened(browser, reports["knee"])
    plot = page.locator("figure", has_text="How long a poll takes").locator(".plot")
    box = await plot.bounding_box()
    assert box is not None
    await plot.hover(position={"x": box["width"] * 0.66, "y": 60})
    tip = (await page.locator(".tip").inner_text()).replace("\u00a0", " ")
    assert tip.splitlines()[0] == "users: 1,000"
    assert "p99: 90.9 ms" in tip
    await page.mouse.move(0, 0)
    assert await page.locator(".tip").count() == 0
    assert watched.wrong == []
    await page.context.close()


async def test_a_report_reads_without_its_script_and_prints_in_light_colours(
    browser: Browser, reports: dict[str, Path]
) -> None:
    page, _, _ = await opened(browser, reports["knee"], java_script_enabled=False, color_scheme="dark")
    assert await page.locator("h1").inner_text()
    assert await page.locator(".plot path.line").first.is_visible()
    await page.context.close()
    page, _, _ = await opened(browser, reports["knee"], color_scheme="dark")
    await page.emulate_media(media="print", color_scheme="dark")
    colour = await page.evaluate("getComputedStyle(document.body).color")
    assert colour == "rgb(15, 33, 23)"
    await page.context.close()
