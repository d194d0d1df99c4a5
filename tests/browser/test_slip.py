"""The slip: what a bettor agreed to is what is sent, once, and each refusal says what to do next."""

import re
import uuid

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.scene import (
    BOTH,
    POLL_TIMEOUT_MS,
    Match,
    Player,
    fill_slip,
    place_bet,
    sign_in,
    sign_in_between_polls,
    stake_field,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
BETS = re.compile(r"/bets$")


@BOTH
async def test_a_bet_is_placed_at_the_price_that_was_picked(page: Page, player: Player, match: Match) -> None:
    await sign_in(page, player.username)
    await fill_slip(page, match, "draw", "7.25")
    await expect(page.locator("#slip-payout")).to_have_text("€24.65")
    await page.get_by_role("button", name="Place bet: €7.25 at 3.40").click()
    await expect(page.locator("#slip-receipt")).to_contain_text("Bet placed: €7.25 at 3.40")
    await expect(page.locator("#toasts")).to_contain_text("Bet placed: €7.25 at 3.40 on Draw")
    await expect(page.locator("#balance")).to_have_text("€92.75")
    bet = (await player.bets())[0]
    assert (bet["selection_id"], bet["stake"], bet["odds"], bet["odds_version"]) == ("draw", "7.25", "3.40", 1)

    await page.get_by_role("link", name="My bets").click()
    await expect(page.locator("#bets")).to_contain_text("Draw @ 3.40")
    await expect(page.locator("#bets")).to_contain_text(match.name)
    await expect(page.locator("#bets")).to_contain_text("€24.65")


async def test_a_bet_refused_for_changed_odds_is_offered_again_and_taken(
    page: Page, player: Player, match: Match
) -> None:
    await sign_in_between_polls(page, player.username)
    await fill_slip(page, match, "home", "10")
    await match.price(home="2.10")
    async with page.expect_response(BETS) as refused:
        await page.get_by_role("button", name="Place bet").click()
    assert (await (await refused.value).json())["code"] == "ODDS_CHANGED"

    slip = page.locator("#slip")
    await expect(slip).to_contain_text("Your bet was not placed.")
    await expect(slip).to_contain_text("The odds went up from 2.00 to 2.10.")
    await expect(page.locator("#slip-payout")).to_have_text("€21.00")
    assert await player.bets() == []
    await page.clock.run_for(1_000)  # a press meant for the old price does not take the new one
    await page.get_by_role("button", name="Take 2.10").click()
    await expect(page.locator("#slip-receipt")).to_contain_text("Bet placed: €10.00 at 2.10")
    assert [bet["odds"] for bet in await player.bets()] == ["2.10"]


async def test_a_price_that_stayed_is_taken_though_its_version_moved(
    page: Page, player: Player, match: Match
) -> None:
    await sign_in_between_polls(page, player.username)
    await fill_slip(page, match, "home", "10")
    await match.price(away="4.40")
    await page.get_by_role("button", name="Place bet").click()
    await expect(page.locator("#slip-receipt")).to_contain_text("Bet placed: €10.00 at 2.00")


@BOTH
async def test_a_price_that_got_worse_is_taken_only_where_the_bettor_takes_any(
    page: Page, player: Player, match: Match
) -> None:
    await sign_in(page, player.username)
    await fill_slip(page, match, "home", "10")
    await page.get_by_role("radio", name="Take better").check()
    await match.price(home="1.90")
    await expect(page.get_by_role("button", name="Take 1.90")).to_be_visible(timeout=POLL_TIMEOUT_MS)
    await page.get_by_role("radio", name="Take any").check()
    await expect(page.get_by_role("button", name="Place bet: €10.00 at 1.90")).to_be_visible()
    await expect(page.locator("#slip-notice")).to_contain_text("down from 2.00 to 1.90, as you allow")


@BOTH
async def test_a_bet_whose_answer_is_lost_is_placed_once(page: Page, player: Player, match: Match) -> None:
    lost: list[str] = []

    async def lose(route: Route) -> None:
        if route.request.method != "POST" or len(lost) >= 3:
            await route.fallback()
            return
        lost.append(str(route.request.post_data_json["idempotency_key"]))
        if len(lost) == 1:
            await route.fetch()  # it arrives, and is recorded; only the answer is lost
        await route.abort()

    await page.route(BETS, lose)
    await sign_in(page, player.username)
    await fill_slip(page, match, "home", "10")
    await page.get_by_role("button", name="Place bet").click()
    await expect(page.locator("#slip-notice")).to_contain_text("it can't be placed twice", timeout=POLL_TIMEOUT_MS)
    await expect(stake_field(page)).not_to_be_editable()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("#slip-receipt")).to_be_visible()
    bets = await player.bets()
    assert [bet["idempotency_key"] for bet in bets] == [lost[0]]
    assert len(set(lost)) == 1
    assert await player.balance() == "90.00"


@BOTH
async def test_two_bets_alike_have_keys_of_their_own(page: Page, player: Player, match: Match) -> None:
    await sign_in(page, player.username)
    await place_bet(page, match, "home", "5")
    await place_bet(page, match, "home", "5")
    bets = await player.bets()
    assert len({bet["idempotency_key"] for bet in bets}) == 2
    assert await player.balance() == "90.00"


@BOTH
@pytest.mark.parametrize(
    ("stake", "words"),
    [
        ("", "Enter a stake first"),
        ("1,000", "Enter a stake first"),
        ("0.05", "Stakes here go from €0.10 to €10,000.00. Change the stake."),
        ("100.01", "Your balance does not cover this. Lower the amount, or make a deposit."),
    ],
)
async def test_a_refused_stake_says_what_to_do(
    page: Page, player: Player, match: Match, stake: str, words: str
) -> None:
    await sign_in(page, player.username)
    await fill_slip(page, match, "home", stake)
    await page.get_by_role("button", name="Place bet").click()
    await expect(page.locator("#slip-says")).to_contain_text(words)
    assert await player.bets() == []


@BOTH
async def test_too_many_bets_in_a_minute_are_counted_down(
    page: Page, client: httpx.AsyncClient, player: Player, match: Match
) -> None:
    for _ in range(10):
        body = {
            "market_id": match.market_id,
            "selection_id": "home",
            "odds": "2.00",
            "odds_version": 1,
            "stake": "1.00",
            "idempotency_key": uuid.uuid4().hex,
        }
        (await client.post("/bets", json=body, headers=player.headers)).raise_for_status()
    await sign_in(page, player.username)
    await fill_slip(page, match, "home", "1")
    await page.get_by_role("button", name="Place bet").click()
    await expect(page.locator("#slip-says")).to_contain_text("too many bets in a minute")
    await expect(page.locator("#slip-place")).to_have_text(re.compile(r"Wait \d+ s"))
    await expect(page.locator("#slip-place")).to_be_disabled()
