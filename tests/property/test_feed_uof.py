"""A Unified Odds Feed, mutated: whatever a recording holds, it is read or named, and never raises."""

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from hypothesis import given, settings
from hypothesis import strategies as st

from touchline.adapters.feeds.recordings import Recording
from touchline.adapters.feeds.uof import UofFeed
from touchline.core.bet import BetResult
from touchline.core.feed import AnyMessage, BetSettlement, OddsChange
from touchline.wire.feed_v1 import decode_messages, encode_message

NAMES = st.sampled_from(
    ["alive", "odds_change", "bet_stop", "bet_settlement", "bet_cancel", "rollback_bet_cancel", "fixture_change"]
)
NUMBERS = st.sampled_from(
    ["0", "1", "-1", "-2", "0.5", "1.5", "2.25", "1e9", "NaN", "", "x", "1653576646190", "9" * 60]
)
WORDS = NUMBERS | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='<&"'), max_size=140)
ATTRIBUTES = st.fixed_dictionaries(
    {"timestamp": st.just("1653576646190") | NUMBERS, "event_id": st.just("sr:match:1") | WORDS},
    optional={"start_time": NUMBERS, "end_time": NUMBERS, "change_type": NUMBERS},
)
OUTCOMES = st.fixed_dictionaries(
    {"id": WORDS},
    optional=dict.fromkeys(("odds", "active", "result", "void_factor", "dead_heat_factor"), NUMBERS),
)
MARKETS = st.tuples(
    st.fixed_dictionaries({"id": WORDS}, optional={"status": NUMBERS, "specifiers": WORDS}),
    st.lists(OUTCOMES, max_size=3),
)
STATUSES = st.fixed_dictionaries({}, optional={"status": NUMBERS, "home_score": NUMBERS, "away_score": NUMBERS})


def tag(name: str, attributes: dict[str, str], inside: str = "") -> str:
    """An element."""
    return f"<{name} " + " ".join(f'{key}="{value}"' for key, value in attributes.items()) + f">{inside}</{name}>"


@st.composite
def recordings(draw: st.DrawFn) -> bytes:
    """A few documents, one a line."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        markets = "".join(
            tag("market", market, "".join(tag("outcome", outcome) for outcome in outcomes))
            for market, outcomes in draw(st.lists(MARKETS, max_size=3))
        )
        inside = tag("sport_event_status", draw(STATUSES)) + markets
        lines.append(tag(draw(NAMES), draw(ATTRIBUTES), inside))
    return "\n".join(lines).encode()


def read(content: bytes) -> tuple[UofFeed, list[AnyMessage]]:
    """What a recording says, each message sent over the wire."""
    feed, messages = UofFeed(), []
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        with Recording(Path(file.name)) as recording:
            for message in feed.replay(recording):
                assert decode_messages(encode_message(message)) == [message]
                messages.append(message)
    return feed, messages


@settings(max_examples=150, deadline=None)
@given(recordings())
def test_whatever_a_recording_says_its_messages_can_be_sent(content: bytes) -> None:
    read(content)


@settings(max_examples=150, deadline=None)
@given(recordings(), st.data())
def test_a_mutated_recording_is_read_or_named(content: bytes, data: st.DataObject) -> None:
    mutated = bytearray(content)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(mutated)))
        mutated[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    read(bytes(mutated))


STATUSES_OF = {"1": "active", "0": "suspended", "-1": "suspended", "-3": "closed", "-4": "closed"}
PRICED = st.fixed_dictionaries(
    {"id": st.integers(1, 99).map(str), "odds": st.integers(1_001, 10_000_000)},
    optional={"active": st.sampled_from(["0", "1"])},
)
DECIDED = st.fixed_dictionaries(
    {"id": st.integers(1, 99).map(str), "result": st.sampled_from(["0", "1"])},
    optional={
        "void_factor": st.sampled_from(["0", "0.0", "0.5", "1", "1.0"]),
        "dead_heat_factor": st.integers(1, 10**17).map(lambda part: f"{part / 10**17:.17f}"),
    },
)
VALUES = st.sampled_from(["1", "2.5", "0:1", "-1"])
SPECIFIERS = st.dictionaries(st.sampled_from(["total", "hcp", "goalnr"]), VALUES)


def markets_of(outcomes: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[Any]]:
    """Markets of one document, each with its id, specifiers, status and outcomes."""
    market = st.tuples(
        st.integers(1, 9),
        SPECIFIERS,
        st.sampled_from(sorted(STATUSES_OF)),
        st.lists(outcomes, min_size=1, max_size=4, unique_by=lambda outcome: outcome["id"]),
    )
    return st.lists(market, max_size=3)


class Written:
    """Writes elements as any writer may: order and quotes of attributes, namespace, spaces, comments."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.prefix = draw(st.sampled_from(["", "", "uof:"]))
        self.gap = draw(st.sampled_from(["", "\n  ", "\r\n\t", "<!-- x -->", "\n<!-- a\nb > -->\n"]))

    def element(self, name: str, attributes: dict[str, str], *inside: str) -> str:
        """An element and what is in it."""
        pairs = self.draw(st.permutations(sorted(attributes.items())))
        written = "".join(f" {key}={quoteattr(value)}" for key, value in pairs)
        content = self.gap.join(["", *inside, ""])
        return f"<{self.prefix}{name}{written}>{content}</{self.prefix}{name}>"

    def document(self, name: str, markets: list[Any], inside: str) -> bytes:
        """A document about event sr:match:1."""
        listed = []
        for number, specifiers, status, outcomes in markets:
            told = self.draw(st.permutations([f"{key}={value}" for key, value in specifiers.items()]))
            about = {"id": str(number), "status": status, "unknown": "<&>"}
            about |= {"specifiers": "|".join(told)} if told else {}
            written = [self.element("outcome", outcome | {"probabilities": "0.5"}) for outcome in outcomes]
            listed.append(self.element("market", about, self.element("new_thing", {}), *written))
        root = {"event_id": "sr:match:1", "product": "1", "timestamp": "1653576646190"}
        root |= {"xmlns:uof": "urn:uof"} if self.prefix else {}
        declared = self.draw(st.sampled_from(["", '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n']))
        text = self.element(name, root, self.element(inside, {}, *listed))
        return f"{declared}{self.gap.lstrip()}{text}\n".encode()


def id_of(market: Any) -> str:
    """The platform's id of a market."""
    specifiers = "|".join(sorted(f"{key}={value}" for key, value in market[1].items()))
    return f"sr:match:1:{market[0]}" + (f":{specifiers}" if specifiers else "")


@settings(max_examples=200, deadline=None)
@given(st.data(), markets_of(PRICED))
def test_every_price_is_read_however_the_document_is_written(data: st.DataObject, markets: list[Any]) -> None:
    written = [
        (*market[:3], [each | {"odds": f"{each['odds'] / 1000:.3f}"} for each in market[3]]) for market in markets
    ]
    feed, messages = read(Written(data.draw).document("odds_change", written, "odds"))
    assert feed.stats.malformed.named == []
    told = []
    for message in messages:
        assert isinstance(message, OddsChange)
        assert message.status is not None
        odds = [(each.selection_id, each.odds_milli) for each in message.selections]
        told.append((message.market_id, message.status.value, odds))
    assert told == [
        (
            id_of(market),
            STATUSES_OF[market[2]],
            [(each["id"], None if each.get("active") == "0" else each["odds"]) for each in market[3]],
        )
        for market in markets
    ]


@settings(max_examples=200, deadline=None)
@given(st.data(), markets_of(DECIDED))
def test_every_result_is_read_however_the_document_is_written(data: st.DataObject, markets: list[Any]) -> None:
    feed, messages = read(Written(data.draw).document("bet_settlement", markets, "outcomes"))
    assert feed.stats.malformed.named == []
    told = []
    for message in messages:
        assert isinstance(message, BetSettlement)
        told.append((message.market_id, dict(message.results)))
    assert [market_id for market_id, _ in told] == [id_of(market) for market in markets]
    for (_, results), market in zip(told, markets, strict=True):
        for each in market[3]:
            outcome = results[each["id"]]
            if Fraction(each.get("void_factor", "0")) == 1:
                assert outcome.result is BetResult.VOID
                continue
            assert (outcome.result is BetResult.WON) == (each["result"] == "1")
            assert outcome.void_factor == Fraction(each.get("void_factor", "0"))
            assert outcome.dead_heat_factor == Fraction(each.get("dead_heat_factor", "1"))
