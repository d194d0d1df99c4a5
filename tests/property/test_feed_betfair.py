"""Betfair's stream, mutated: whatever a line holds, it is read or named, and never raises."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from touchline.adapters.feeds.betfair import BetfairFeed
from touchline.core.feed import AnyMessage, BetSettlement, OddsChange
from touchline.wire.feed_v1 import decode_messages, encode_message

ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**64,
        1e308,
        "",
        "x",
        "NaN",
        "Infinity",
        "-0",
        "1e-9",
        [],
        {},
        [[]],
        [[1, 2, 3, 4]],
        "\ud800",
    ]
)
PRICES = st.floats(0, 11_000) | st.sampled_from([1.01, 2, 3.55, 1000, 10_000])
LADDER = st.lists(st.tuples(PRICES, st.floats(-1, 50)), max_size=4)
LEVELS = st.lists(st.tuples(st.integers(-1, 1001), PRICES, st.floats(0, 50)), max_size=4)
HANDICAPS = st.sampled_from([0, 0.0, -0.0, 1, -1.5, "0.25"])
STATUSES = ["ACTIVE", "REMOVED", "WINNER", "LOSER", "HIDDEN", "PLACED", "BOGUS"]
RUNNERS = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 4), "status": st.sampled_from(STATUSES)},
        optional={"hc": HANDICAPS, "name": st.text()},
    ),
    max_size=5,
)
DEFINITIONS = st.fixed_dictionaries(
    {
        "eventId": st.sampled_from(["7", "8"]),
        "status": st.sampled_from(["OPEN", "SUSPENDED", "CLOSED", "INACTIVE"]),
        "runners": RUNNERS,
    },
    optional={
        "inPlay": st.booleans() | ODD,
        "betDelay": st.integers(-1, 61),
        "numberOfWinners": st.integers(-1, 4),
        "bettingType": st.sampled_from(["ODDS", "LINE", "EACH_WAY", "ASIAN_HANDICAP_DOUBLE_LINE"]),
        "eachWayDivisor": st.sampled_from([0, 1, 3.5, 4, 5.25, 101, "NaN"]),
        "name": st.text() | ODD,
        "openDate": st.text() | ODD,
    },
)
CHANGES = st.fixed_dictionaries(
    {"id": st.sampled_from(["1.1", "1.2", "1.3"])},
    optional={
        "img": st.booleans() | ODD,
        "marketDefinition": DEFINITIONS | ODD,
        "rc": st.lists(
            st.fixed_dictionaries(
                {"id": st.integers(0, 5)},
                optional={
                    "hc": HANDICAPS,
                    "ltp": PRICES | ODD,
                    "atb": LADDER | ODD,
                    "batb": LEVELS,
                    "bdatb": LEVELS,
                },
            ),
            max_size=4,
        ),
    },
)
LINES = st.fixed_dictionaries(
    {"op": st.just("mcm"), "pt": st.integers(1, 10**13), "mc": st.lists(CHANGES, max_size=3)}, optional={"ct": ODD}
).map(json.dumps)


def messages_of(lines: list[bytes]) -> tuple[BetfairFeed, list[AnyMessage]]:
    """What a feed makes of `lines`."""
    feed = BetfairFeed()
    return feed, [
        message for number, line in enumerate(lines, start=1) for message in feed.read_line(number, line)
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=12))
def test_whatever_a_recording_says_its_messages_can_be_sent_and_said_again(texts: list[str]) -> None:
    lines = [text.encode() for text in texts]
    _, messages = messages_of(lines)
    assert len({message.message_id for message in messages}) == len(messages)
    for message in messages:
        assert decode_messages(encode_message(message)) == [message]
    assert messages_of(lines)[1] == messages


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=12))
def test_a_settlement_names_exactly_the_selections_told_of_its_market(texts: list[str]) -> None:
    told: dict[str, set[str]] = {}
    for message in messages_of([text.encode() for text in texts])[1]:
        if isinstance(message, OddsChange):
            told.setdefault(message.market_id, set()).update(each.selection_id for each in message.selections)
        if isinstance(message, BetSettlement):
            assert set(message.results) == told[message.market_id]


@settings(max_examples=200, deadline=None)
@given(LINES, st.data())
def test_a_mutated_line_is_read_or_named(text: str, data: Any) -> None:
    line = bytearray(text.encode())
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, len(line) - 1))
        line[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    feed, _ = messages_of([bytes(line)])
    assert feed.stats.lines == 1


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_named(line: bytes) -> None:
    assert messages_of([line])[0].stats.malformed.count == 1
