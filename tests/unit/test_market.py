"""A market's life: every pair of a status and a step, and the version that rises with the status alone."""

from itertools import product

import pytest

from tests.clock import NOON
from tests.samples import HOME, SECOND, market
from touchline.core.errors import Code, Rejection
from touchline.core.ids import SelectionId
from touchline.core.market import MARKET_LIFECYCLE, MarketStatus, MarketStep, step_market

# Status by status, what each step leads to; "-" is refused. Written out, so that the table has a second opinion.
STEPS = ["suspend", "resume", "close", "settle", "void", "rollback_settlement", "rollback_void"]
LIFE = {
    "active": "suspended active closed settled void - -",
    "suspended": "suspended active closed settled void - -",
    "closed": "- active closed settled void - -",
    "settled": "- - - - - suspended -",
    "void": "- - - - - - suspended",
}


def test_the_tables_of_this_test_are_whole() -> None:
    assert set(LIFE) == {status.value for status in MarketStatus}
    assert [step.value for step in MarketStep] == STEPS
    assert all(len(row.split()) == len(STEPS) for row in LIFE.values())
    legal = sum(word != "-" for row in LIFE.values() for word in row.split())
    assert legal == len(MARKET_LIFECYCLE)


@pytest.mark.parametrize(("status", "step"), list(product(MarketStatus, MarketStep)))
def test_every_step_from_every_status_leads_where_it_should_or_is_refused(
    status: MarketStatus, step: MarketStep
) -> None:
    before = market(status=status)
    expected = LIFE[status.value].split()[STEPS.index(step.value)]
    if expected == "-":
        with pytest.raises(Rejection) as refused:
            step_market(before, step, NOON + SECOND)
        assert refused.value.code is Code.MARKET_CLOSED
        assert refused.value.extra == {"status": status.value}
        return
    after = step_market(before, step, NOON + SECOND)
    assert after.status is MarketStatus(expected)
    if after.status is before.status:
        assert after == before
    else:
        assert after.odds_version == before.odds_version + 1
        assert after.updated_at == NOON + SECOND
        assert (after.selections, after.priced_at) == (before.selections, before.priced_at)


def test_a_selection_is_found_by_its_id() -> None:
    found = market().selection(HOME)
    assert found is not None
    assert found.odds_milli == 2_500
    assert market().selection(SelectionId("nobody")) is None
