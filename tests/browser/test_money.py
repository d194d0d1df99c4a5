"""The page reckons like the core: the same payout to the last cent, the same refusal of what is no amount."""

import random

import pytest
from playwright.async_api import Page

from touchline.core.money import format_minor, payout_minor
from touchline.core.price import format_odds

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAYOUTS = """async (cases) => {
    const { formatScaled, oddsMilli, parseTypedMinor, payoutMinor } = await import("/static/money.js");
    const payout = ([stake, odds]) => payoutMinor(parseTypedMinor(stake, "EUR"), oddsMilli(odds));
    return cases.map((asked) => formatScaled(payout(asked), 2));
}"""
TYPED = """async (cases) => {
    const { parseTypedMinor } = await import("/static/money.js");
    return cases.map((typed) => parseTypedMinor(typed, "EUR")?.toString() ?? null);
}"""


async def test_a_payout_on_the_slip_is_the_payout_of_the_core(page: Page) -> None:
    await page.goto("/")
    chance = random.Random(7)
    cases = [(chance.randint(1, 10**10), chance.randint(1_001, 10_000_000)) for _ in range(500)]
    cases += [(1, 1_500), (1, 1_499), (5, 2_100), (10**12, 10_000_000)]
    asked = [[format_minor(stake, "EUR"), format_odds(odds)] for stake, odds in cases]
    shown = await page.evaluate(PAYOUTS, asked)
    assert shown == [format_minor(payout_minor(stake, odds), "EUR") for stake, odds in cases]


async def test_what_is_typed_is_an_amount_or_refused_never_guessed(page: Page) -> None:
    await page.goto("/")
    amounts = await page.evaluate(TYPED, ["5", " 5.5 ", "5,50", "0.10", "1000.00"])
    assert amounts == ["500", "550", "550", "10", "100000"]
    wrong = ["1,000", "0", "0.00", "-1", "1e3", "5.001", "5.", "", "NaN", "٥"]
    assert await page.evaluate(TYPED, wrong) == [None] * len(wrong)
