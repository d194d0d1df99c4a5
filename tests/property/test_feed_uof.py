"""A Unified Odds Feed, mutated: whatever a recording holds, it is read or named, and never raises."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from touchline.adapters.feeds.recordings import Recording
from touchline.adapters.feeds.uof import UofFeed
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


def read(content: bytes) -> UofFeed:
    """Read a recording, and send each of its messages over the wire."""
    feed = UofFeed()
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        with Recording(Path(file.name)) as recording:
            for message in feed.replay(recording):
                assert decode_messages(encode_message(message)) == [message]
    return feed


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
