"""Limits, accounts and problems on the wire."""

from datetime import timedelta

import msgspec
import pytest

from tests.clock import NOON
from tests.samples import ALICE, SECOND, account, bet
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.ledger import HOUSE, STAKES, Cause, Posting, TransferKind, Wallet
from touchline.core.limits import RAISE_WAITS, Limit, LimitKind, Period
from touchline.wire.account_v1 import (
    LimitsRequestV1,
    LimitV1,
    account_to_wire,
    limits_from_wire,
    limits_to_wire,
    transaction_to_wire,
)
from touchline.wire.problems_v1 import STATUS_OF_CODE, problem, problem_of_outage, problem_of_rejection

DEPOSIT, STAKE, LOSS = LimitKind.DEPOSIT, LimitKind.STAKE, LimitKind.LOSS
DAY, WEEK = Period.DAY, Period.WEEK


def wanted(body: str) -> dict[tuple[LimitKind, Period], int | None]:
    return limits_from_wire(msgspec.json.decode(body, type=LimitsRequestV1), "EUR")


def test_a_limit_is_set_by_a_decimal_removed_by_null_and_left_alone_where_it_is_left_out() -> None:
    assert wanted("{}") == wanted('{"stake": null}') == wanted('{"stake": {}}') == {}
    assert wanted('{"deposit": {"day": "50.00", "week": 100.5}, "loss": {"day": null}}') == {
        (DEPOSIT, DAY): 5_000,
        (DEPOSIT, WEEK): 10_050,
        (LOSS, DAY): None,
    }


@pytest.mark.parametrize("raw", ['"0"', "-5", '"x"', "true", "[]", '"1.001"', '"NaN"', "1" * 40])
def test_a_limit_that_is_no_amount_is_refused_by_its_kind_and_period(raw: str) -> None:
    with pytest.raises(Rejection) as refused:
        wanted(f'{{"stake": {{"month": {raw}}}}}')
    assert (refused.value.code, refused.value.extra["field"]) == (Code.MALFORMED, "stake.month")


@pytest.mark.parametrize("body", ['{"stakes": {}}', '{"stake": {"year": "1"}}', '{"stake": "1"}', "[]"])
def test_limits_that_there_are_none_of_are_refused(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        wanted(body)


def test_limits_go_out_as_they_hold_with_what_waits_said_in_words() -> None:
    limits = {
        (STAKE, DAY): Limit(5_000),
        (STAKE, WEEK): Limit(10_000).changed(20_000, NOON),
        (LOSS, DAY): Limit(1_000).changed(None, NOON),
        (DEPOSIT, DAY): Limit(),
    }
    wire = limits_to_wire(limits, "EUR", NOON)
    assert wire.deposit == {}
    assert wire.stake == {DAY: LimitV1("50.00"), WEEK: LimitV1("100.00", "200.00", NOON + RAISE_WAITS)}
    assert wire.loss == {DAY: LimitV1("10.00", None, NOON + RAISE_WAITS)}
    assert wire.waiting == [
        "your loss limit of the day becomes none at 2026-03-02T12:00:00Z",
        "your stake limit of the week becomes 200.00 EUR at 2026-03-02T12:00:00Z",
    ]
    later = limits_to_wire(limits, "EUR", NOON + RAISE_WAITS)
    assert (later.stake[WEEK], later.loss, later.waiting) == (LimitV1("200.00"), {}, [])


def test_an_account_shows_its_debt_and_an_exclusion_only_while_it_holds() -> None:
    owing = account(wallet=Wallet(0, 250), excluded_until=NOON + SECOND)
    wire = account_to_wire(owing, "alice", NOON, None)
    assert (wire.balance, wire.debt, wire.excluded_until) == ("0.00", "2.50", NOON + SECOND)
    assert account_to_wire(owing, "alice", NOON + timedelta(days=1), None).excluded_until is None


def test_a_transfer_is_signed_from_the_players_side() -> None:
    posting = Posting(Cause("c", ALICE, "EUR", NOON, bet().bet_id), Wallet(100))
    posting.take(TransferKind.STAKE, STAKES, 30)
    posting.take(TransferKind.ROLLBACK, HOUSE, 100, may_owe=True)
    posting.give(TransferKind.PAYOUT, HOUSE, 50)
    shown = [transaction_to_wire(transfer, ALICE).amount for transfer in posting.transfers]
    assert shown == ["-0.30", "-0.70", "-0.30", "0.30", "0.20"]
    assert transaction_to_wire(posting.transfers[0], ALICE).bet_id == bet().bet_id


def test_every_code_has_a_status_and_a_problem_document() -> None:
    assert set(STATUS_OF_CODE) == set(Code)
    for code in Code:
        document = msgspec.json.decode(problem(code, "why"))
        assert document["status"] == STATUS_OF_CODE[code]
        assert (document["code"], document["detail"]) == (code.value, "why")
        assert document["type"].startswith("urn:touchline:problem:")
        assert document["title"]


def test_a_problem_carries_its_extras_and_never_lets_them_stand_for_a_member_of_its_own() -> None:
    refused = Rejection(Code.ODDS_CHANGED, "moved", current_odds="2.40", status="settled")
    document = msgspec.json.decode(problem_of_rejection(refused))
    assert (document["status"], document["current_odds"]) == (409, "2.40")


def test_an_outage_tells_when_to_come_again_and_not_what_is_away() -> None:
    document = msgspec.json.decode(problem_of_outage(Outage("PostgreSQL at 10.0.0.1", 3)))
    assert (document["code"], document["retry_after_s"]) == ("UNAVAILABLE", 3)
    assert "PostgreSQL" not in str(document)
