"""How many bets of a settlement are worked at once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.clock import HandClock
from tests.contract.settling import settle
from tests.samples import HOME
from tests.scene import Stores, bet_on, memory_stores, open_player, placed, price
from touchline.core.ids import BetId
from touchline.core.settlement import Settlement
from touchline.flows.pace import BETS_FIRST, BETS_MIN, HELD_MAX, Pace
from touchline.ports import Worked


def test_what_is_held_long_is_halved_and_what_is_held_shortly_doubled() -> None:
    pace = Pace(500)
    seen = [pace.bets]
    for held_ms, bets in [(10, 100), (10, 200), (10, 400), (40, 500), (61, 500), (10, 90), (500, 250), (60, 125)]:
        pace.took(bets, timedelta(milliseconds=held_ms))
        seen.append(pace.bets)
    assert seen == [100, 200, 400, 500, 500, 250, 250, 125, 125]


@given(st.integers(1, 1_000), st.lists(st.tuples(st.integers(0, 1_000), st.integers(-1_000, 10_000))))
def test_the_number_stays_within_its_bounds(bets_max: int, took: list[tuple[int, int]]) -> None:
    pace = Pace(bets_max)
    for bets, held_ms in took:
        pace.took(bets, timedelta(milliseconds=held_ms))
        assert min(BETS_MIN, bets_max) <= pace.bets <= bets_max
    for _ in range(20):
        pace.took(pace.bets, 2 * HELD_MAX)
    assert pace.bets == min(BETS_MIN, bets_max)


class Slow:
    """A settlement store that takes so long a bet, by the clock's reckoning."""

    def __init__(self, stores: Stores, a_bet: timedelta) -> None:
        self.at_once: list[int] = []
        self._stores = stores
        self._a_bet = a_bet

    async def carry_out(self, settlement: Settlement, bet_ids: Sequence[BetId], at: datetime) -> Worked:
        assert isinstance(self._stores.clock, HandClock)
        self._stores.clock.move(self._a_bet * len(bet_ids))
        self.at_once.append(len(bet_ids))
        return await self._stores.settlements.carry_out(settlement, bet_ids, at)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stores.settlements, name)


async def test_a_worker_holds_fewer_bets_the_longer_they_take() -> None:
    stores = replace(memory_stores(), bets_at_once=500)
    market, ann = await price(stores), await open_player(stores)
    for _ in range(BETS_FIRST + 180):
        await placed(stores, bet_on(stores, market, ann, HOME, 100))
    await settle(stores)
    slow = Slow(stores, timedelta(milliseconds=1))
    assert await replace(stores.work, settlements=slow).work_next()
    assert slow.at_once == [100, 50, 50, 50, 30]
    assert await stores.settlements.next_unfinished() is None
