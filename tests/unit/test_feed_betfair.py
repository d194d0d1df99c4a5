"""Betfair's stream by hand-made lines: ladders, images, statuses, results."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

from tests.betfair import PT, definition, mcm
from touchline.adapters.feeds import betfair, recordings
from touchline.adapters.feeds.betfair import BetfairFeed
from touchline.adapters.feeds.betfair_lines import selection_id
from touchline.core.bet import BetResult
from touchline.core.event import EventStatus
from touchline.core.feed import AnyMessage, BetSettlement, FixtureChange, OddsChange, RollbackBetSettlement
from touchline.core.market import MarketStatus, SelectionStatus
from touchline.core.settlement import VOIDED, Outcome, Results, settled_payout_minor
from touchline.wire.feed_v1 import decode_messages, encode_message


def read(feed: BetfairFeed, *lines: bytes) -> list[AnyMessage]:
    """All messages of `lines`, each checked to go over the wire unchanged."""
    messages = [m for number, line in enumerate(lines, start=1) for m in feed.read_line(number, line)]
    for message in messages:
        assert decode_messages(encode_message(message)) == [message]
    return messages


def opened(**other: Any) -> BetfairFeed:
    """A feed that knows market 1.5, open, without prices."""
    feed = BetfairFeed()
    read(feed, mcm({"marketDefinition": definition(**other)}))
    return feed


def odds(messages: Sequence[AnyMessage]) -> dict[str, int | None]:
    """The odds of the last odds change."""
    changes = [message for message in messages if isinstance(message, OddsChange)]
    return {each.selection_id: each.odds_milli for each in changes[-1].selections}


@pytest.mark.parametrize(
    ("runner", "expected"),
    [
        ({"atb": [[2.5, 10], [2.52, 1], [2.4, 99]]}, 2520),
        ({"batb": [[0, 3.1, 4], [1, 3.05, 8]]}, 3100),
        ({"bdatb": [[0, 4, 4]]}, 4000),
        ({"atb": [[2, 1]], "batb": [[0, 3, 1]], "ltp": 9}, 2000),
        ({"ltp": 1.01}, 1010),
        ({"atb": [[1000, 2]]}, 1_000_000),
        ({"atb": [[10_000, 2]]}, 10_000_000),
        ({"atb": [["2.5", "3"]]}, 2500),
        ({"atb": [[2.5678, 3]]}, 2567),
        ({"atb": [[2.5, 10]], "spn": "Infinity", "spf": "NaN", "spb": [[1.01, 3]], "trd": [[9, 9]]}, 2500),
    ],
)
def test_the_best_back_price_or_else_the_last_traded_is_the_odds(runner: dict[str, Any], expected: int) -> None:
    messages = read(opened(), mcm({"rc": [runner | {"id": 1}]}))
    assert odds(messages) == {"1": expected}


@pytest.mark.parametrize(
    "runner",
    [
        {"ltp": 0},
        {"ltp": 1.0},
        {"ltp": 10_001},
        {"ltp": "NaN"},
        {"ltp": "1e999999999"},
        {"atb": [[2.5, 0]]},
        {"atb": [["Infinity", 3]]},
        {"atb": [[2.5, "NaN"]]},
        {"batb": [[0, 0, 0]]},
    ],
)
def test_what_is_no_price_changes_nothing(runner: dict[str, Any]) -> None:
    feed = opened()
    assert read(feed, mcm({"rc": [runner | {"id": 1}]})) == []
    assert feed.stats.malformed.count == 0


def test_a_line_with_bare_nan_is_read() -> None:
    messages = read(opened(), b'{"op":"mcm","pt":1,"mc":[{"id":"1.5","rc":[{"id":2,"spn":NaN,"atb":[[3.5,2]]}]}]}')
    assert odds(messages) == {"2": 3500}


def test_deltas_add_and_remove_levels_and_a_runner_without_a_price_is_suspended() -> None:
    feed = opened()
    assert odds(read(feed, mcm({"rc": [{"id": 1, "atb": [[2.5, 10], [2.4, 5]]}]}))) == {"1": 2500}
    assert odds(read(feed, mcm({"rc": [{"id": 1, "atb": [[2.5, 0]]}]}))) == {"1": 2400}
    assert read(feed, mcm({"rc": [{"id": 1, "atb": [[2.4, 4]]}], "tv": 12.5})) == []  # only the size changed
    (change,) = read(feed, mcm({"rc": [{"id": 1, "atb": [[2.4, 0]]}]}))
    assert isinstance(change, OddsChange)
    assert [(s.odds_milli, s.status) for s in change.selections] == [(None, SelectionStatus.SUSPENDED)]


def test_an_image_replaces_the_ladders_and_a_delta_does_not() -> None:
    feed = opened()
    read(feed, mcm({"rc": [{"id": 1, "atb": [[5, 10]]}, {"id": 2, "ltp": 1.5}]}))
    image = {"img": True, "marketDefinition": definition(), "rc": [{"id": 1, "atb": [[4, 10]]}]}
    assert odds(read(feed, mcm(image))) == {"1": 4000, "2": None}


def test_levels_are_replaced_by_their_place() -> None:
    feed = opened()
    read(feed, mcm({"rc": [{"id": 1, "batb": [[0, 3, 1], [1, 2.9, 1]]}]}))
    assert odds(read(feed, mcm({"rc": [{"id": 1, "batb": [[0, 2.9, 2], [1, 2.8, 1]]}]}))) == {"1": 2900}
    assert odds(read(feed, mcm({"rc": [{"id": 1, "batb": [[0, 2.8, 1], [1, 0, 0]]}]}))) == {"1": 2800}


def test_a_line_market_has_no_odds() -> None:
    feed = opened(bettingType="LINE")
    assert read(feed, mcm({"rc": [{"id": 1, "atb": [[152.5, 10]], "ltp": 152.5}]})) == []


def test_a_change_before_its_definition_is_kept_until_it_comes() -> None:
    feed = BetfairFeed()
    assert read(feed, mcm({"rc": [{"id": 1, "atb": [[2.5, 10]]}]}, ct="RESUB_DELTA")) == []
    assert feed.stats.unplaced == 1
    assert odds(read(feed, mcm({"marketDefinition": definition()}))) == {"1": 2500, "2": None}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("OPEN", MarketStatus.ACTIVE),
        ("SUSPENDED", MarketStatus.SUSPENDED),
        ("INACTIVE", MarketStatus.SUSPENDED),
        ("CLOSED", MarketStatus.CLOSED),
    ],
)
def test_a_markets_status_and_bet_delay(status: str, expected: MarketStatus) -> None:
    messages = read(
        BetfairFeed(), mcm({"marketDefinition": definition(status, betDelay=5, name="A", marketType="B")})
    )
    change = next(message for message in messages if isinstance(message, OddsChange))
    assert (change.status, change.bet_delay_ms, change.name, change.market_type) == (expected, 5000, "A", "B")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("REMOVED", SelectionStatus.REMOVED),
        ("REMOVED_VACANT", SelectionStatus.REMOVED),
        ("HIDDEN", SelectionStatus.SUSPENDED),
        ("WINNER", SelectionStatus.SUSPENDED),
        ("LOSER", SelectionStatus.SUSPENDED),
        ("ACTIVE", SelectionStatus.ACTIVE),
    ],
)
def test_a_runners_status_in_an_open_market(status: str, expected: SelectionStatus) -> None:
    feed = BetfairFeed()
    change = {"marketDefinition": definition(runners=(status, "ACTIVE")), "rc": [{"id": 1, "ltp": 3}]}
    odds_change = next(message for message in read(feed, mcm(change)) if isinstance(message, OddsChange))
    assert odds_change.selections[0].status is expected


def test_an_event_is_scheduled_then_live_then_ended_when_its_last_market_closes() -> None:
    feed = BetfairFeed()
    told = []
    steps = [
        ("1.5", definition("OPEN", eventName="A v B", eventTypeId="1", openDate="2020-01-01T15:00:00.000Z")),
        ("1.6", definition("OPEN")),
        ("1.5", definition("OPEN", inPlay=True)),
        ("1.5", definition("CLOSED", runners=("WINNER", "LOSER"), inPlay=True)),
        ("1.6", definition("CLOSED", runners=("LOSER", "WINNER"), inPlay=True)),
    ]
    for step, (market, wanted) in enumerate(steps):
        messages = read(feed, mcm({"id": market, "marketDefinition": wanted}, pt=PT + step))
        told += [message.status for message in messages if isinstance(message, FixtureChange)]
    assert [status for place, status in enumerate(told) if told[:place][-1:] != [status]] == [
        EventStatus.SCHEDULED,
        EventStatus.LIVE,
        EventStatus.ENDED,
    ]
    assert isinstance(messages[-1], FixtureChange)


def settled(runners: Sequence[Any], **other: Any) -> Results:
    """The results that closing a market with `runners` gives."""
    messages = read(opened(), mcm({"marketDefinition": definition("CLOSED", runners, **other)}))
    (settlement,) = [message for message in messages if isinstance(message, BetSettlement)]
    return settlement.results


WON, LOST = Outcome(BetResult.WON), Outcome(BetResult.LOST)
TIED = Outcome(BetResult.WON, dead_heat_factor=Fraction(1, 2))


@pytest.mark.parametrize(
    ("runners", "winners", "expected"),
    [
        (("WINNER", "LOSER"), 1, [WON, LOST]),
        (("WINNER", "LOSER", "REMOVED"), 1, [WON, LOST, VOIDED]),
        (("WINNER", "WINNER"), 1, [TIED, TIED]),
        (
            ("WINNER", "WINNER", "WINNER", "LOSER"),
            2,
            [Outcome(BetResult.WON, Fraction(0), Fraction(2, 3))] * 3 + [LOST],
        ),
        (("WINNER", "WINNER"), 2, [WON, WON]),
        (("WINNER", "WINNER"), 0, [WON, WON]),  # as many as there are: anytime scorers
        (("PLACED", "LOSER"), 1, [WON, LOST]),
        (("REMOVED", "REMOVED"), 1, [VOIDED, VOIDED]),
        (("WINNER", "HIDDEN"), 1, [WON, VOIDED]),
        (("WINNER", "REMOVED_VACANT"), 1, [WON, VOIDED]),
    ],
)
def test_a_closed_market_is_settled(runners: Sequence[str], winners: int, expected: Sequence[Outcome]) -> None:
    results = settled(runners, numberOfWinners=winners)
    assert [results[selection_id(place, None)] for place in range(1, len(expected) + 1)] == expected


def test_every_line_of_a_handicap_market_has_winners_of_its_own() -> None:
    runners = [{"id": 9, "hc": hc, "status": "WINNER"} for hc in (-1.0, -0.5, 0, 1)]
    results = settled(runners, numberOfWinners=1, bettingType="ASIAN_HANDICAP_DOUBLE_LINE")
    assert {key: results[key] for key in results if key.startswith("9")} == {
        "9:-1": WON,
        "9:-0.5": WON,
        "9": WON,
        "9:1": WON,
    }


@pytest.mark.parametrize(("status", "paid"), [("WINNER", 500 * 9 + 500 * 3), ("PLACED", 500 * 3), ("LOSER", 0)])
def test_an_each_way_bet_is_half_on_the_place_at_a_part_of_the_odds(status: str, paid: int) -> None:
    results = settled((status, "LOSER"), bettingType="EACH_WAY", eachWayDivisor=4.0, numberOfWinners=3)
    assert settled_payout_minor(1000, 9000, results[selection_id(1, None)]) == paid


def test_sides_that_tie_for_the_win_share_the_win_part_of_an_each_way_bet() -> None:
    results = settled(("WINNER", "WINNER", "LOSER"), bettingType="EACH_WAY", eachWayDivisor=4.0, numberOfWinners=2)
    assert settled_payout_minor(1000, 9000, results[selection_id(1, None)]) == 500 * 9 // 2 + 500 * 3


def test_a_closed_market_without_results_waits_for_them() -> None:
    feed = opened()
    messages = read(feed, mcm({"marketDefinition": definition("CLOSED", ("ACTIVE", "LOSER"))}))
    assert not any(isinstance(message, BetSettlement) for message in messages)
    messages = read(feed, mcm({"marketDefinition": definition("CLOSED", ("WINNER", "LOSER"))}, pt=PT + 1))
    assert any(isinstance(message, BetSettlement) for message in messages)


def test_a_selection_that_left_the_definition_is_void() -> None:
    assert settled(("WINNER",)) == {"1": WON, "2": VOIDED}


def test_a_correction_settles_again_and_a_reopened_market_is_rolled_back_first() -> None:
    feed = opened()
    closed = mcm({"marketDefinition": definition("CLOSED", ("WINNER", "LOSER"))})
    assert any(isinstance(message, BetSettlement) for message in read(feed, closed))
    assert read(feed, closed) == []
    (again,) = read(feed, mcm({"marketDefinition": definition("CLOSED", ("LOSER", "WINNER"))}, pt=PT + 1))
    assert isinstance(again, BetSettlement)
    assert again.results == {"1": LOST, "2": WON}
    messages = read(feed, mcm({"marketDefinition": definition("OPEN"), "rc": [{"id": 1, "ltp": 2}]}, pt=PT + 2))
    assert [type(message) for message in messages] == [FixtureChange, RollbackBetSettlement, OddsChange]


def test_what_changes_while_a_market_is_settled_is_told_once_it_is_rolled_back() -> None:
    feed = opened()
    read(feed, mcm({"rc": [{"id": 1, "ltp": 3}]}))
    for runners in (("WINNER", "LOSER"), ("REMOVED", "WINNER")):  # the second corrects the first
        (*_, settlement) = read(feed, mcm({"marketDefinition": definition("CLOSED", runners)}))
        assert not isinstance(settlement, OddsChange)
    _, rollback, change = read(feed, mcm({"marketDefinition": definition("OPEN", ("REMOVED", "ACTIVE"))}))
    assert isinstance(rollback, RollbackBetSettlement)
    assert isinstance(change, OddsChange)
    assert [each.status for each in change.selections] == [SelectionStatus.REMOVED]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"not json",
        b"[]",
        b"17",
        b"null",
        b"\xff\xfe",
        mcm({"marketDefinition": definition(name="\ud800")}),
        b'{"mc":[]}',
        b'{"op":"bogus"}',
        b'{"op":7}',
        mcm({"rc": []}, pt=-1),
        mcm({"rc": []}, pt=10**15),
        mcm({"rc": {"id": 1}}),
        mcm({"rc": [{"id": "x"}]}),
        mcm({"rc": [{"id": -4}]}),
        mcm({"rc": [{"id": 1, "atb": [[1]]}]}),
        mcm({"rc": [{"id": 1, "batb": [[-1, 2, 3]]}]}),
        mcm({"rc": [{"id": 1, "hc": "NaN"}]}),
        mcm({"rc": [{"id": 1, "hc": 1e300}]}),
        mcm({"rc": [{"id": 1, "hc": 1e-300}]}),
        mcm({"id": "no id at all"}),
        mcm({"id": "1" * 65}),
        mcm({"marketDefinition": {}}),
        mcm({"marketDefinition": definition("LATER")}),
        mcm({"marketDefinition": definition(runners=("FIRST",))}),
        mcm({"marketDefinition": definition(betDelay=-1)}),
        mcm({"marketDefinition": definition(eachWayDivisor=0)}),
        mcm({"marketDefinition": definition(runners=("ACTIVE",) * 1001)}),
        b'{"op":"mcm","pt":1,"mc":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"op":"mcm","pt":' + b"9" * 5000 + b"}",
    ],
    ids=lambda line: line[:60].decode(errors="replace"),
)
def test_a_malformed_line_is_counted_and_named_and_the_next_one_is_read(line: bytes) -> None:
    feed = opened()
    assert read(feed, line) == []
    assert feed.stats.malformed.count == 1
    assert feed.stats.malformed.named[0].startswith("line 1")
    assert odds(read(feed, mcm({"rc": [{"id": 1, "ltp": 3}]}))) == {"1": 3000}


def test_one_bad_market_change_spoils_no_other_of_its_line() -> None:
    feed = opened()
    assert odds(read(feed, mcm({"id": 7}, {"rc": [{"id": 1, "ltp": 3}]}))) == {"1": 3000}
    assert feed.stats.malformed.named == ["line 1, market change 1: Expected `str`, got `int` - at `$.id`"]


def test_a_recordings_markets_and_their_runners_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(betfair, "MARKETS_MAX", 2)
    monkeypatch.setattr(betfair, "RUNNERS_MAX", 3)
    feed = opened()
    others = [{"id": number, "status": "ACTIVE"} for number in (8, 9)]
    read(feed, mcm({"marketDefinition": definition(runners=others)}))
    read(feed, mcm({"id": "1.6", "rc": [{"id": number, "ltp": 2} for number in range(5)]}))
    read(feed, mcm({"id": "1.7", "marketDefinition": definition()}))
    assert feed.stats.malformed.named == [
        "line 1, market change 1: market 1.5 has had more than 3 runners",
        "line 1, market change 1: more than 2 markets in one recording",
    ]
    assert set(odds(read(feed, mcm({"id": "1.6", "marketDefinition": definition(runners=("ACTIVE",) * 3)})))) == {
        "1",
        "2",
        "3",
    }


def test_a_market_stays_with_its_event() -> None:
    feed = opened()
    moved = definition("CLOSED", ("WINNER", "LOSER")) | {"eventId": "78"}
    messages = read(feed, mcm({"marketDefinition": moved}))
    assert [type(message) for message in messages] == [OddsChange, BetSettlement, FixtureChange]
    assert {getattr(message, "event_id", None) for message in messages} == {"77"}
    assert feed.stats.malformed.count == 0


def test_a_clock_that_goes_back_makes_no_news_old() -> None:
    feed = opened()
    (before,) = read(feed, mcm({"rc": [{"id": 1, "ltp": 3}]}, pt=PT + 9))
    after = read(feed, mcm({"marketDefinition": definition("CLOSED", ("WINNER", "LOSER"))}, pt=PT + 5))
    assert {message.occurred_at for message in after} == {before.occurred_at}


def test_an_events_id_may_be_a_number() -> None:
    fixture, _ = read(BetfairFeed(), mcm({"marketDefinition": definition() | {"eventId": 77, "eventTypeId": 2}}))
    assert isinstance(fixture, FixtureChange)
    assert (fixture.event_id, fixture.sport) == ("77", "tennis")


def test_names_are_made_fit_to_store() -> None:
    named = definition(name="x" * 500, eventName="\u0000 A\nB ")
    fixture, change = read(BetfairFeed(), mcm({"marketDefinition": named}))
    assert isinstance(fixture, FixtureChange)
    assert fixture.name == "AB"
    assert isinstance(change, OddsChange)
    assert change.name == "x" * 200


def test_the_list_of_malformed_lines_is_bounded() -> None:
    feed = BetfairFeed()
    read(feed, *[b"{"] * 1000)
    assert feed.stats.malformed.count == 1000
    assert len(feed.stats.malformed.named) == recordings.MALFORMED_NAMED_MAX
