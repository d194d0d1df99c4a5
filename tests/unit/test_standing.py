"""A market in line with its decisions: every status there is, before whatever can stand on it."""

from datetime import timedelta

import pytest

from tests.clock import NOON
from tests.samples import market, settlement
from touchline.core.market import MarketStatus
from touchline.core.settlement import SettlementKind
from touchline.core.standing import decided_as, in_line

STATUS = MarketStatus
SETTLED = [settlement(SettlementKind.SETTLE)]
VOIDED = [settlement(SettlementKind.VOID)]
IN_PART = [settlement(SettlementKind.VOID, placed_from=NOON)]
LATER = NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("standing", "status"),
    [
        ([], None),
        (IN_PART, None),
        (VOIDED, STATUS.VOID),
        (SETTLED, STATUS.SETTLED),
        (SETTLED + IN_PART, STATUS.SETTLED),
        (IN_PART + VOIDED, STATUS.VOID),
    ],
)
def test_what_stands_decides_the_market(standing: list, status: MarketStatus | None) -> None:
    assert decided_as(standing) is status


@pytest.mark.parametrize("before", STATUS)
@pytest.mark.parametrize(("standing", "status"), [(SETTLED, STATUS.SETTLED), (VOIDED, STATUS.VOID)])
def test_a_market_takes_the_status_that_its_decisions_give_it(
    before: MarketStatus, standing: list, status: MarketStatus
) -> None:
    found = market(status=before)
    after = in_line(found, standing, LATER)
    assert after.status is status
    assert after.odds_version == found.odds_version + (before is not status)
    assert after.updated_at == (NOON if before is status else LATER)
    assert in_line(after, standing, LATER) is after


@pytest.mark.parametrize("before", STATUS)
@pytest.mark.parametrize("standing", [[], IN_PART])
def test_a_market_that_nothing_decides_is_suspended_or_left_as_it_is(before: MarketStatus, standing: list) -> None:
    found = market(status=before)
    after = in_line(found, standing, LATER)
    if before in (STATUS.SETTLED, STATUS.VOID):
        assert (after.status, after.odds_version) == (STATUS.SUSPENDED, found.odds_version + 1)
    else:
        assert after is found
