"""A board holds the newest of each market and event, however its readers fall behind; nothing goes back."""

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchline.core import delivery
from touchline.core.delivery import Board, Change, EventChanged, Image, MarketChanged
from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId
from touchline.core.market import DECIDED

EPOCH = "e" * 32
things = st.sampled_from(["m1", "m2", "m3", "e1", "e2"])
statuses = st.sampled_from(["active", "suspended", "settled"])
steps = st.lists(st.tuples(things, statuses), max_size=40)


def market(cursor: int, name: str, status: str = "active", event: str = "e1") -> MarketChanged:
    return MarketChanged(cursor, MarketId(name), EventId(event), status, cursor, b"%d" % cursor)


def event(cursor: int, name: str, status: EventStatus = EventStatus.LIVE, made: int = 0) -> EventChanged:
    return EventChanged(cursor, Event(EventId(name), name, "f", "c", status, None, None, None), made or cursor)


def history(taken: list[tuple[str, str]]) -> list[Change]:
    """Every change in order, as an authority would number them."""
    changes = list[Change]()
    for cursor, (name, status) in enumerate(taken, start=1):
        if name.startswith("m"):
            changes.append(market(cursor, name, status))
        else:
            changes.append(event(cursor, name, EventStatus.ENDED if status == "settled" else EventStatus.LIVE))
    return changes


def key(change: Change) -> str:
    return change.market_id if isinstance(change, MarketChanged) else change.event.event_id


def latest(changes: list[Change]) -> list[Change]:
    """The last change of each, in order, by another way than the board's."""
    return sorted({key(change): change for change in changes}.values(), key=lambda change: change.cursor)


def shown(changes: list[Change] = [], epoch: str = EPOCH) -> Board:  # noqa: B006  # never written to
    board = Board()
    board.show(Image(epoch, 0, [], []))
    board.apply(changes)
    return board


@given(steps, st.integers(0, 40), st.data())
def test_whatever_is_told_late_or_twice_the_newest_stands(
    taken: list[tuple[str, str]], first: int, data: st.DataObject
) -> None:
    changes = history(taken)
    board = shown(changes[:first])
    seen = min(first, len(changes))
    again = data.draw(st.integers(0, seen))
    assert board.apply(changes[again : data.draw(st.integers(again, seen))]) == []
    assert board.image() == shown(changes[:first]).image()
    assert board.apply(changes[first:]) == changes[first:]
    for change in latest(changes):
        held = board.market(MarketId(key(change))) or board.event(EventId(key(change)))
        assert held == change


@given(steps, st.integers(0, 40))
def test_who_goes_on_from_a_cursor_has_what_the_board_has(taken: list[tuple[str, str]], seen: int) -> None:
    changes = history(taken)
    seen = min(seen, len(changes))
    board = shown(changes)
    told = board.since(EPOCH, seen)
    assert told == [change for change in latest(changes) if change.cursor > seen]
    assert latest(changes[:seen] + told) == latest(changes)


@given(steps, st.integers(0, 40))
def test_an_image_makes_the_same_board(taken: list[tuple[str, str]], more: int) -> None:
    changes = history(taken)
    board, other = shown(changes[:more]), Board()
    other.show(board.image())
    board.apply(changes[more:])
    other.apply(changes[more:])
    assert other.image() == board.image()


def test_a_cursor_that_means_nothing_here_is_not_answered() -> None:
    board = shown([market(1, "m1")])
    assert board.since("f" * 32, 0) is None
    assert board.since(EPOCH, 2) is None
    assert board.since(EPOCH, 1) == []


def test_an_image_of_the_past_takes_nothing_back() -> None:
    board = shown([market(1, "m1"), market(2, "m1")])
    board.show(Image(EPOCH, 1, [market(1, "m1")], []))
    assert board.market(MarketId("m1")) == market(2, "m1")


def test_an_image_of_another_epoch_replaces_all() -> None:
    board = shown([market(1, "m1"), market(2, "m2"), event(3, "e1")])
    board.show(Image("f" * 32, 1, [market(1, "m2")], []))
    assert (board.epoch, board.cursor) == ("f" * 32, 1)
    assert board.image() == Image("f" * 32, 1, [market(1, "m2")], [])
    assert board.markets_of(EventId("e1")) == [market(1, "m2")]


def test_events_come_as_they_were_made() -> None:
    board = shown([event(1, "e1"), event(2, "e2", EventStatus.ENDED), event(3, "e1", made=1)])
    assert [held.event.event_id for held in board.events()] == ["e1", "e2"]
    assert [held.event.event_id for held in board.events("ended")] == ["e2"]


def test_a_market_that_moves_to_another_event_leaves_the_first() -> None:
    board = shown([market(1, "m1", event="e1"), replace(market(2, "m1"), event_id=EventId("e2"))])
    assert board.markets_of(EventId("e1")) == []
    assert [held.market_id for held in board.markets_of(EventId("e2"))] == ["m1"]


def test_of_what_is_over_only_the_latest_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DECIDED_MAX", 2)
    monkeypatch.setattr(delivery, "ENDED_MAX", 1)
    cursors = count(1)
    board = shown([market(next(cursors), name) for name in ("m1", "m2", "m3", "m4")])
    board.apply([market(next(cursors), name, "void") for name in ("m2", "m1", "m4")])
    board.apply([event(next(cursors), name, EventStatus.ENDED) for name in ("e1", "e2")])
    assert [held.market_id for held in board.markets_of(EventId("e1"))] == ["m1", "m3", "m4"]
    assert board.market(MarketId("m2")) is None
    assert [held.event.event_id for held in board.events()] == ["e2"]
    assert {held.status in DECIDED for held in board.undecided()} == {False}
