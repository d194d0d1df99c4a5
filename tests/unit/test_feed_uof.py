"""A Unified Odds Feed's XML: every kind of message, documents in every packing, and what is refused."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from tests.shared import shared_path
from touchline.adapters.feeds import uof_documents
from touchline.adapters.feeds.recordings import Recording
from touchline.adapters.feeds.uof import UofFeed
from touchline.core.bet import BetResult
from touchline.core.event import EventStatus
from touchline.core.feed import (
    Alive,
    AnyMessage,
    BetCancel,
    BetSettlement,
    BetStop,
    FixtureChange,
    OddsChange,
    RollbackBetCancel,
    RollbackBetSettlement,
)
from touchline.core.market import MarketStatus, SelectionStatus
from touchline.core.settlement import VOIDED, Outcome
from touchline.wire.feed_v1 import decode_messages, encode_message

AT = 'timestamp="1653576646190"'
TIME = datetime(2022, 5, 26, 14, 50, 46, 190_000, tzinfo=UTC)
EVENT = f'event_id="sr:match:42" product="1" {AT}'
WON, LOST = Outcome(BetResult.WON), Outcome(BetResult.LOST)


def read(path: Path) -> tuple[UofFeed, list[AnyMessage]]:
    """What a recording says, each message checked to go over the wire unchanged."""
    feed = UofFeed()
    with Recording(path) as recording:
        messages = list(feed.replay(recording))
    for message in messages:
        assert decode_messages(encode_message(message)) == [message]
    assert len({message.message_id for message in messages}) == len(messages) == feed.stats.messages
    return feed, messages


@pytest.fixture
def said(tmp_path: Path):
    """Read a recording from its text."""

    def read_text(text: str | bytes) -> tuple[UofFeed, list[AnyMessage]]:
        path = tmp_path / "recording"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path)

    return read_text


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("uof_efcasado/alive", [Alive]),
        ("uof_efcasado/bet_settlement", [BetSettlement]),
        ("uof_efcasado/bet_stop", [BetStop]),
        ("uof_efcasado/fixture_change", [FixtureChange]),
        ("uof_efcasado/odds_change", [FixtureChange, OddsChange]),
        ("uof_efcasado/snapshot_complete", []),
        ("uof_minus5/bet_cancel", [BetCancel]),
        ("uof_minus5/bet_settlement", [BetSettlement] * 5),
        ("uof_minus5/fixture-0", [FixtureChange]),
        ("uof_minus5/fixture-1", [FixtureChange]),
        ("uof_minus5/markets-0", []),
        ("uof_minus5/odds_change-0", [FixtureChange] + [OddsChange] * 9),
        ("uof_minus5/rollback_bet_cancel", [RollbackBetCancel]),
    ],
)
def test_every_shared_message_is_read(file: str, kinds: list[type]) -> None:
    feed, messages = read(shared_path(f"{file}.xml"))
    assert [type(message) for message in messages] == kinds
    assert (feed.stats.documents, feed.stats.malformed.count) == (1, 0)
    assert read(shared_path(f"{file}.xml"))[1] == messages


def test_odds_and_statuses_of_a_shared_message() -> None:
    _, messages = read(shared_path("uof_minus5/odds_change-0.xml"))
    fixture, *changes = messages
    assert isinstance(fixture, FixtureChange)
    assert (fixture.status, fixture.score, fixture.clock) == (EventStatus.LIVE, "2-2", "75:02")
    markets = {str(change.market_id): change for change in changes if isinstance(change, OddsChange)}
    assert {key.removeprefix("sr:match:123:"): change.status for key, change in markets.items()} == {
        "47:score=41.5": MarketStatus.ACTIVE,
        "48:score=42.5": MarketStatus.ACTIVE,
        "49": MarketStatus.SUSPENDED,
        "123:game=3|point=1|set=2": MarketStatus.SUSPENDED,
        "188": MarketStatus.ACTIVE,
        "899": MarketStatus.ACTIVE,
        "145:variant=sr:point_range:76+": MarketStatus.CLOSED,
        "888:player=sr:player:361790": MarketStatus.ACTIVE,
        "891:goalnr=1|player=sr:player:122702": MarketStatus.ACTIVE,
    }
    players = {str(each.selection_id): each for each in markets["sr:match:123:188"].selections}
    assert players["sr:player:1234"].odds_milli == 1400
    assert players["sr:player:4322"].odds_milli is None
    assert players["sr:player:4322"].status is SelectionStatus.SUSPENDED


def test_results_of_a_shared_message() -> None:
    _, messages = read(shared_path("uof_minus5/bet_settlement.xml"))
    results = {
        m.market_id.removeprefix("sr:match:16807109:"): m.results for m in messages if isinstance(m, BetSettlement)
    }
    assert results["204:setnr=1|total=9.5"] == {"12": LOST, "13": WON}
    assert results["201"] == {
        "861": Outcome(BetResult.WON, void_factor=Fraction(1, 2)),
        "862": LOST,
        "863": VOIDED,
        "864": Outcome(BetResult.LOST, void_factor=Fraction(1, 2)),
    }
    tied = Outcome(BetResult.WON, dead_heat_factor=Fraction(1, 2))
    assert [outcome for outcome in results["535:variant=pre:markettext:52751"].values() if outcome != LOST] == [
        tied,
        tied,
    ]


def test_a_cancellation_has_its_window() -> None:
    _, (cancel,) = read(shared_path("uof_minus5/bet_cancel.xml"))
    assert isinstance(cancel, BetCancel)
    assert cancel.market_id == "sr:match:18941600:62:goalnr=1"
    assert cancel.placed_from is not None
    assert cancel.placed_until is not None
    assert cancel.placed_until - cancel.placed_from == timedelta(seconds=675)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("", MarketStatus.ACTIVE),
        ('status="1"', MarketStatus.ACTIVE),
        ('status="0"', MarketStatus.SUSPENDED),
        ('status="-1"', MarketStatus.SUSPENDED),
        ('status="-3"', MarketStatus.CLOSED),
        ('status="-4"', MarketStatus.CLOSED),
        ('status="-2"', None),  # handed over: the other producer tells
    ],
)
def test_a_markets_status(said, status: str, expected: MarketStatus | None) -> None:
    _, messages = said(f'<odds_change {EVENT}><odds><market id="1" {status}/></odds></odds_change>')
    assert [message.status for message in messages] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("outcome", "odds"),
    [
        ('odds="2.25"', 2250),
        ('odds="2.2569"', 2256),
        ('odds="1"', None),
        ('odds="10001"', None),
        ('odds="NaN"', None),
        ('odds="1e999999999"', None),
        ('odds="x"', None),
        ("", None),
        ('odds="2.25" active="0"', None),
    ],
)
def test_an_outcomes_odds(said, outcome: str, odds: int | None) -> None:
    _, (change,) = said(
        f'<odds_change {EVENT}><odds><market id="1"><outcome id="9" {outcome}/></market></odds></odds_change>'
    )
    status = SelectionStatus.SUSPENDED if odds is None else SelectionStatus.ACTIVE
    assert [(each.odds_milli, each.status) for each in change.selections] == [(odds, status)]


@pytest.mark.parametrize("order", ["set=2|game=3", "game=3|set=2"])
def test_the_order_of_specifiers_says_nothing(said, order: str) -> None:
    _, (rollback,) = said(
        f'<rollback_bet_settlement {EVENT}><market id="5" specifiers="{order}"/></rollback_bet_settlement>'
    )
    assert isinstance(rollback, RollbackBetSettlement)
    assert rollback.market_id == "sr:match:42:5:game=3|set=2"


@pytest.mark.parametrize(("tag", "prefix"), [('xmlns="urn:x"', ""), ('xmlns:u="urn:x"', "u:")])
def test_a_namespace_says_nothing(said, tag: str, prefix: str) -> None:
    text = (
        f'<odds_change {EVENT}><sport_event_status status="1" home_score="1" away_score="0">'
        '<clock match_time="3:00"/></sport_event_status><odds><market id="1"><outcome id="9" odds="2.5"/></market>'
        "</odds></odds_change>"
    )
    named = text.replace("</", "\0").replace("<", f"<{prefix}").replace("\0", f"</{prefix}")
    _, bare = said(text)
    _, (fixture, change) = said(named.replace(EVENT, f"{EVENT} {tag}", 1))
    assert (fixture.score, fixture.clock, change.selections) == ("1-0", "3:00", bare[1].selections)


@pytest.mark.parametrize("factor", ["0.333333", "0.3333333333333333", "0.166666666666666657", "1.0", "1e-1"])
def test_factors_are_exact_as_written(said, factor: str) -> None:
    _, (settlement,) = said(
        f'<bet_settlement {EVENT}><outcomes><market id="1"><outcome id="1" result="1" void_factor="0.5" '
        f'dead_heat_factor="{factor}"/></market></outcomes></bet_settlement>'
    )
    assert settlement.results == {"1": Outcome(BetResult.WON, Fraction(1, 2), Fraction(factor))}


@pytest.mark.parametrize("name", ["player_profile", "producers", "fixture_changes", "void_reasons_descriptions"])
def test_an_answer_of_the_feeds_api_is_counted_by_name(said, name: str) -> None:
    feed, messages = said(f'<{name} xmlns="urn:x" generated_at="2019-08-20T12:35:11+00:00"><market/></{name}>')
    assert (messages, feed.stats.other_documents, feed.stats.malformed.count) == ([], {name: 1}, 0)


def test_ids_are_brought_into_the_platforms_alphabet(said) -> None:
    specifiers = ["name=a b", "name=a_b", "name=" + "x" * 300, "name=" + "x" * 301]
    markets = "".join(f'<market id="5" specifiers="{each}"/>' for each in specifiers)
    _, messages = said(f"<rollback_bet_cancel {EVENT}>{markets}</rollback_bet_cancel>")
    assert len({message.market_id for message in messages}) == 4


ALIVE = f'<alive product="1" {AT} subscribed="1"/>'
STOP = f'<bet_stop groups="all"\n  {EVENT}/>'
CANCEL = f'<bet_cancel {EVENT}>\n  <market id="1"/>\n</bet_cancel>'


@pytest.mark.parametrize(
    "text",
    [
        f"{ALIVE}\n{STOP}\n{CANCEL}",
        f"{ALIVE}\n{STOP}\n{CANCEL}\n\n",
        "\n".join(f'<?xml version="1.0" encoding="UTF-8"?>\n{each}' for each in (ALIVE, STOP, CANCEL)),
        "\n".join(f'<?xml version="1.0"?>{each}' for each in (ALIVE, STOP, CANCEL)),
        f"{ALIVE}\r\n{STOP}\r\n{CANCEL}".replace("\n ", "\r\n "),
        f"{ALIVE}\n{STOP}\n" + CANCEL.replace("\n", ""),
        f"\ufeff{ALIVE}\n{STOP}\n{CANCEL}",
        f"<!-- one\nover two lines -->\n{ALIVE}\n<!-- two -->\n{STOP}\n<?note x?>\n{CANCEL}\n<!-- the end -->\n",
        f'<!-- one -->\n<?xml version="1.0"?>\n<!-- two -->\n{ALIVE}\n<!-- three -->{STOP}\n{CANCEL}',
    ],
    ids=[
        "one after another",
        "blank lines",
        "declared",
        "declared on the line",
        "windows",
        "one a line",
        "byte order mark",
        "comments between",
        "comments around a declaration",
    ],
)
def test_documents_follow_one_another(said, text: str) -> None:
    feed, messages = said(text)
    assert [type(message) for message in messages] == [Alive, BetStop, BetCancel]
    assert feed.stats.malformed.count == 0
    assert {message.occurred_at for message in messages} == {TIME}


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "line 1: no XML document"),
        ("\x00\x01", "line 1: no XML document"),
        (b"\xff\xfe<\x00a\x00", "line 1: no XML document"),
        (f"<alive {AT}", "line 1: the document does not end"),
        (f"<bet_stop {EVENT}>", "line 1: the document does not end"),
        (f"<!-- <bet_stop {EVENT}>", "line 1: the document does not end"),
        (f"<alive {AT} {AT}/>", "line 1: no XML document: duplicate attribute"),
        (f"<bet_stop {EVENT}><x></bet_stop>", "line 1: no XML document: mismatched tag"),
        (f"{BOMB}{ALIVE}", "line 1: no XML document"),
        (f'<?xml version="1.0"?>{BOMB}{ALIVE}', "line 1: no XML document"),
        (f"<bet_stop {EVENT}>{BOMB}</bet_stop>", "line 1: a document type is not read"),
        (f"<bet_stop {EVENT}>&a;</bet_stop>", "line 1: no XML document: undefined entity"),
        ("<alive/>", "line 1: no timestamp"),
        ('<alive timestamp="x"/>', "line 1: timestamp 'x' is no time in milliseconds"),
        ('<alive timestamp="1e30"/>', "line 1: timestamp '1e30' is no time in milliseconds"),
        (f"<bet_stop {AT}/>", "line 1: event_id is missing"),
        (f"<surprise {EVENT}/>", "line 1: surprise is no message of the feed"),
        (f"<bet_cancel {EVENT}><market/></bet_cancel>", "line 1: market id is missing"),
        (f'<odds_change {EVENT}><odds><market id="1" status="7"/></odds></odds_change>', "status '7' is unknown"),
        (f'<bet_settlement {EVENT}><outcomes><market id="1"/></outcomes></bet_settlement>', "has no results"),
        (
            f'<bet_settlement {EVENT}><market id="1"><outcome id="1" result="-1"/></market></bet_settlement>',
            "result '-1' is neither won (1) nor lost (0)",
        ),
        (
            f'<bet_settlement {EVENT}><market id="1"><outcome id="1" result="1" '
            'void_factor="2"/></market></bet_settlement>',
            "void_factor '2' is no number from 0 to 1",
        ),
        (
            f'<bet_settlement {EVENT}><market id="1"><outcome id="1" result="1" '
            'dead_heat_factor="0"/></market></bet_settlement>',
            "dead_heat_factor is 0",
        ),
        (
            f'<bet_settlement {EVENT}><market id="1"><outcome id="1" result="1" '
            'dead_heat_factor="0.3333333333333333333"/></market></bet_settlement>',
            "of at most 18 places",
        ),
        ("<!-- \n" * 200, "line 1: the first tag does not end"),
        ("<alive\n" + "a=''\n" * 200, "line 1: the first tag does not end"),
    ],
)
def test_what_is_malformed_is_named_and_the_next_document_is_read(said, text: str | bytes, why: str) -> None:
    encoded = text if isinstance(text, bytes) else text.encode()
    feed, messages = said(encoded + f'\n<?xml version="1.0"?>{ALIVE}'.encode())
    assert [type(message) for message in messages] == [Alive]
    assert feed.stats.malformed.count >= 1
    assert why in feed.stats.malformed.named[0]


def test_one_bad_market_spoils_no_other(said) -> None:
    feed, messages = said(
        f'<odds_change {EVENT}><odds><market id="1" status="7"/><market id="2"/></odds></odds_change>'
    )
    assert [message.market_id for message in messages] == ["sr:match:42:2"]
    assert feed.stats.malformed.count == 1


def test_a_document_is_bounded(said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uof_documents, "DOCUMENT_BYTES_MAX", 1000)
    feed, messages = said(f"<bet_stop {EVENT}>\n" + "x" * 2000 + f"\n</bet_stop>\n{ALIVE}")
    assert [type(message) for message in messages] == [Alive]
    assert "a document of more than 1000 bytes" in feed.stats.malformed.named[0]
