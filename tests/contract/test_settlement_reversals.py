"""The `SettlementStore` contract where money goes back: windowed voids, rollbacks, corrections, debt."""

from datetime import datetime, timedelta

import pytest

from tests.contract.settling import (  # noqa: F401  # two of them are fixtures
    feed_says,
    next_of,
    settle,
    settling_kind,
    settling_stores,
    statuses,
    statuses_of_market,
    three_bets,
    work_some,
)
from tests.samples import AWAY, MARKET
from tests.scene import AWAY_WINS, HOME_WINS, Stores, balance_of, bet_on, move, placed, work_all
from touchline.core.feed import BetCancel, BetSettlement, RollbackBetCancel
from touchline.core.ledger import TransferKind
from touchline.core.market import MarketStatus, MarketStep
from touchline.core.settlement import SettlementKind
from touchline.ports import Worked

KINDS = SettlementKind


@pytest.mark.parametrize(
    ("first", "last", "voided"),
    [(1, 2, [1]), (1, None, [1, 2]), (None, 1, [0]), (3, 9, []), (0, 3, [0, 1, 2])],
)
async def test_a_windowed_void_touches_bets_of_its_half_open_window(
    stores: Stores, first: int | None, last: int | None, voided: list[int]
) -> None:
    ann, bets = await three_bets(stores)

    def instant(n: int | None) -> datetime | None:
        return None if n is None else bets[0].placed_at + timedelta(seconds=n)

    before = await stores.markets.get(MARKET)
    assert await feed_says(stores, BetCancel, "cancel", placed_from=instant(first), placed_until=instant(last))
    assert await stores.markets.get(MARKET) == before
    assert (await next_of(stores)).bets_total == len(voided)
    await work_all(stores)
    assert await statuses(stores, ann) == ["VOID void" if n in voided else "PLACED -" for n in range(3)]
    assert await balance_of(stores, ann) == 97_000 + 1_000 * len(voided)
    assert await feed_says(stores, RollbackBetCancel, "back")
    await work_all(stores)
    assert await statuses(stores, ann) == ["PLACED -"] * 3
    assert await balance_of(stores, ann) == 97_000
    assert await stores.books.discrepancies() == []


async def test_a_cancellation_taken_back_after_the_result_settles_its_bets_too(stores: Stores) -> None:
    ann, bets = await three_bets(stores)
    await feed_says(stores, BetCancel, "cancel", placed_until=bets[1].placed_at)
    assert await feed_says(stores, BetSettlement, "settle", results=HOME_WINS)
    await work_all(stores)
    assert await statuses(stores, ann) == ["VOID void", "SETTLED lost", "SETTLED lost"]
    assert await feed_says(stores, RollbackBetCancel, "back")
    await work_all(stores)
    assert await statuses(stores, ann) == ["SETTLED won", "SETTLED lost", "SETTLED lost"]
    assert await feed_says(stores, BetSettlement, "correct", results=AWAY_WINS)
    await work_all(stores)
    assert await statuses(stores, ann) == ["SETTLED lost", "SETTLED lost", "SETTLED won"]
    assert await balance_of(stores, ann) == 97_000 + 4_500
    assert await stores.books.discrepancies() == []


async def test_a_rollback_takes_money_back_and_bets_are_open_again(stores: Stores) -> None:
    ann, bets = await three_bets(stores)
    await settle(stores)
    await work_all(stores)
    await stores.trading.roll_back(MARKET)
    await work_all(stores)
    assert await balance_of(stores, ann) == 97_000
    assert [await stores.bets.get(ann, bet.bet_id) for bet in bets] == bets
    market = await stores.markets.get(MARKET)
    assert market is not None
    assert market.status is MarketStatus.SUSPENDED
    assert await statuses_of_market(stores) == ["active", "settled", "suspended"]
    assert await stores.books.discrepancies() == []


async def test_a_correction_keeps_the_markets_version(stores: Stores) -> None:
    ann, _ = await three_bets(stores)
    await feed_says(stores, BetSettlement, "a", results=HOME_WINS)
    await work_all(stores)
    before = await stores.markets.get(MARKET)
    assert await feed_says(stores, BetSettlement, "b", results=AWAY_WINS)
    assert await stores.markets.get(MARKET) == before
    await work_all(stores)
    assert await statuses(stores, ann) == ["SETTLED lost", "SETTLED lost", "SETTLED won"]
    assert await balance_of(stores, ann) == 97_000 + 4_500
    assert [s.kind for s in await stores.settlements.of_market(MARKET)] == [
        KINDS.SETTLE,
        KINDS.ROLLBACK_SETTLEMENT,
        KINDS.SETTLE,
    ]


async def test_a_settled_market_can_be_voided(stores: Stores) -> None:
    ann, _ = await three_bets(stores)
    await settle(stores)
    await work_all(stores)
    await stores.trading.void(MARKET)
    await work_all(stores)
    assert await statuses(stores, ann) == ["VOID void"] * 3
    assert await balance_of(stores, ann) == 100_000
    assert await statuses_of_market(stores) == ["active", "settled", "void"]


async def test_what_is_taken_back_and_gone_is_owed_and_repaid_first(stores: Stores) -> None:
    ann, _ = await three_bets(stores)
    await settle(stores)
    await work_all(stores)
    await move(stores, ann, 98_500, "out", TransferKind.WITHDRAWAL)
    await stores.trading.roll_back(MARKET)
    await work_all(stores)
    profile = await stores.accounts.profile(ann)
    assert profile is not None
    assert (profile.account.wallet.balance_minor, profile.account.wallet.debt_minor) == (0, 1_500)
    assert (await stores.books.sums())["debts"] == 1_500
    await move(stores, ann, 1_000, "in")
    await settle(stores)
    await work_all(stores)
    profile = await stores.accounts.profile(ann)
    assert profile is not None
    assert (profile.account.wallet.balance_minor, profile.account.wallet.debt_minor) == (1_500, 0)
    assert await stores.books.discrepancies() == []


async def test_a_settlement_taken_back_pays_nobody_further(stores: Stores) -> None:
    ann, _ = await three_bets(stores)
    await settle(stores, AWAY_WINS)
    stopped = await work_some(stores, bets=1)
    left = await stores.settlements.open_bets(stopped, 10)
    await stores.trading.roll_back(MARKET)
    await stores.trading.step(MARKET, MarketStep.RESUME)
    market = await stores.markets.get(MARKET)
    assert market is not None
    after = await placed(stores, bet_on(stores, market, ann, AWAY))
    assert await stores.settlements.open_bets(stopped, 10) == []
    at = stores.clock.now()
    assert await stores.settlements.carry_out(stopped, [*left, after.bet_id], at) == Worked(0, {})
    await work_all(stores)
    assert await statuses(stores, ann) == ["PLACED -"] * 4
    assert await balance_of(stores, ann) == 96_000
    assert await stores.books.discrepancies() == []
