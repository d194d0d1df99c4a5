"""Offsets: whatever is done first, nothing that is not done is passed over."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchline.adapters.offsets import Offset, fair_share, to_let_go


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_an_offset_is_the_first_that_is_not_done(sizes: list[int], chance: random.Random) -> None:
    offset, ends = Offset(7), []
    for size in sizes:
        offset.hand_out(offset.next + size)
        ends.append(offset.next)
    recorded, done = 7, set()
    for end in chance.sample(ends, len(ends)):
        assert not offset.idle
        done.add(end)
        recorded = offset.done(end) or recorded
        undone = [first for first, last in zip([7, *ends], ends, strict=False) if last not in done]
        assert recorded == (undone[0] if undone else ends[-1])
        assert offset.done(end) is None  # said twice
    assert offset.idle


@pytest.mark.parametrize(
    ("sources", "consumers", "share"), [(4, 1, 4), (4, 2, 2), (5, 2, 3), (3, 5, 1), (0, 3, 0), (2, 0, 2)]
)
def test_shares_are_fair_and_leave_no_source_out(sources: int, consumers: int, share: int) -> None:
    assert fair_share(sources, consumers) == share
    assert share * max(1, consumers) >= sources


def test_the_last_of_too_many_are_let_go_of() -> None:
    assert to_let_go({3, 0, 2, 1}, 3) == [3]
    assert to_let_go({0}, 3) == []
