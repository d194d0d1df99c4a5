"""Recordings as files: packed, cut short or absent; then every shared recording, replayed to its end."""

import bz2
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.betfair import PT, definition, mcm
from tests.shared import DATA, shared_json, shared_path
from touchline.adapters.feeds import recordings
from touchline.adapters.feeds.betfair import BetfairFeed
from touchline.adapters.feeds.betfair_lines import selection_id
from touchline.adapters.feeds.recordings import Recording
from touchline.core.bet import BetResult
from touchline.core.errors import Rejection
from touchline.core.feed import AnyMessage, BetSettlement, OddsChange, RollbackBetSettlement

RESULT_OF = {"WINNER": BetResult.WON, "LOSER": BetResult.LOST, "REMOVED": BetResult.VOID}


@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        bz2.compress,
        gzip.compress,
        lambda text: bz2.compress(text[:9]) + bz2.compress(text[9:]),
        lambda text: gzip.compress(text[:9]) + gzip.compress(text[9:]),
        lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"),
    ],
    ids=["plain", "bz2", "gzip", "bz2 streams", "gzip members", "windows"],
)
def test_a_recording_is_opened_by_what_it_begins_with(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(
        pack(b"\n".join([mcm({"marketDefinition": definition()}), b"", mcm({"rc": [{"id": 1, "ltp": 3}]})]))
    )
    feed = BetfairFeed()
    with Recording(path) as recording:
        messages = list(feed.replay(recording))
        assert recording.bytes_read == recording.size_bytes
    assert isinstance(messages[-1], OddsChange)
    assert messages[-1].selections[0].odds_milli == 3000
    assert feed.stats.malformed.count == 0


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress])
def test_a_truncated_recording_is_read_as_far_as_it_goes(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    lines = [mcm({"rc": [{"id": 1, "ltp": 2 + place / 100}]}, pt=PT + place) for place in range(100)]
    path.write_bytes(pack(mcm({"marketDefinition": definition()}) + b"\n" + b"\n".join(lines))[:-20])
    feed = BetfairFeed()
    with Recording(path) as recording:
        list(feed.replay(recording))
    assert feed.stats.malformed.count == 1
    assert "can't be read further" in feed.stats.malformed.named[0]


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "LINE_BYTES_MAX", 1000)
    path = tmp_path / "recording"
    path.write_bytes(b"x" * 5000 + b"\n" + mcm({"marketDefinition": definition()}))
    feed = BetfairFeed()
    with Recording(path) as recording:
        assert len(list(feed.replay(recording))) == 2
    assert feed.stats.malformed.named == ["line 1: longer than 1000 bytes"]


def test_a_recording_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejection, match="No such file"):
        Recording(tmp_path / "absent")
    with pytest.raises(Rejection, match="Is a directory"):
        Recording(tmp_path)


EXPECTED = "betfair_expected_settlement.json"
FILES = sorted(path.name for path in (DATA / "betfair").glob("*")) or ["(absent)"]


def replayed(path: Path) -> tuple[BetfairFeed, list[AnyMessage]]:
    """A shared recording, replayed."""
    feed = BetfairFeed()
    with Recording(path) as recording:
        return feed, list(feed.replay(recording))


@pytest.mark.parametrize("file", FILES)
def test_a_recording_settles_as_it_was_settled(file: str) -> None:
    feed, messages = replayed(shared_path(f"betfair/{file}"))
    assert feed.stats.malformed.count == 0
    assert len({message.message_id for message in messages}) == len(messages) == feed.stats.messages
    expected = {
        market: {
            selection_id(runner["id"], Decimal(str(runner["hc"]))): RESULT_OF[runner["status"]]
            for runner in what["runners"]
        }
        for market, what in shared_json(EXPECTED)["markets"].items()
        if what["file"] == file
    }
    found: dict[str, dict[str, BetResult]] = {}
    for message in messages:
        if isinstance(message, BetSettlement):
            found[message.market_id] = {key: outcome.result for key, outcome in message.results.items()}
        elif isinstance(message, RollbackBetSettlement):
            del found[message.market_id]
    assert found == expected
    assert replayed(shared_path(f"betfair/{file}"))[1] == messages


def test_a_recording_that_was_never_closed_settles_nothing() -> None:
    feed, _ = replayed(shared_path("betfair/soccer-prematch-200markets-1.242971311.bz2"))
    assert (feed.stats.markets, feed.stats.settled, feed.stats.malformed.count) == (200, 0, 0)


def test_a_scores_stream_holds_no_markets() -> None:
    feed, messages = replayed(
        shared_path("betfair/cricket-1.200806927-netherlands-png-t20.ccm-score-stream.jsonl")
    )
    assert messages == []
    assert (feed.stats.other_lines, feed.stats.markets, feed.stats.malformed.count) == ({"ccm": 2170}, 0, 0)


@pytest.mark.parametrize(
    ("file", "markets", "malformed"),
    [
        ("streaming_mcm_SUB_IMAGE", 1, 0),
        ("streaming_mcm_RESUB_DELTA", 2, 0),
        ("streaming_mcm_UPDATE_md", 1, 0),
        ("streaming_mcm_UPDATE_tv", 0, 0),
        ("streaming_mcm_update", 0, 0),
        ("streaming_mcm_HEARTBEAT", 0, 0),
        ("streaming_connection", 0, 0),
        ("streaming_status", 0, 0),
        ("streaming_503", 0, 0),
        ("streaming_market_definition", 0, 1),  # a definition that no stream message carries
    ],
)
def test_single_messages_of_the_protocol_are_read(file: str, markets: int, malformed: int) -> None:
    feed, _ = replayed(shared_path(f"betfair_messages/{file}.json"))
    assert (feed.stats.markets, feed.stats.malformed.count) == (markets, malformed)
