"""How far a consumer has come in facts that are in order, where several deliveries of them may be worked at once.

Invariant: an offset moves up to the first fact that is not done, never beyond it, in whatever order deliveries are
done.
"""

from collections import deque
from collections.abc import Collection


class Offset:
    """The offset of one source: a shard of a table, a partition of a topic."""

    def __init__(self, at: int) -> None:
        self.next = at  # the first that was not handed out
        self._first_open = at
        self._ends: deque[int] = deque()  # of deliveries handed out, in order
        self._done: set[int] = set()

    @property
    def idle(self) -> bool:
        """Whether all that was handed out is done."""
        return not self._ends

    def hand_out(self, end: int) -> None:
        """Note a delivery of what goes from `next` up to `end`, which is not in it."""
        self.next = end
        self._ends.append(end)

    def done(self, end: int) -> int | None:
        """Note that the delivery up to `end` is done; returns the offset to record, None where it stands."""
        if end not in self._ends:
            return None  # it was done before
        self._done.add(end)
        before = self._first_open
        while self._ends and self._ends[0] in self._done:
            self._first_open = self._ends.popleft()
            self._done.discard(self._first_open)
        return self._first_open if self._first_open > before else None


def fair_share(sources: int, consumers: int) -> int:
    """Return how many sources each of a group's consumers may hold, so that all of them are held."""
    return -(-sources // max(1, consumers))


def to_let_go(held: Collection[int], share: int) -> list[int]:
    """Return which of the sources held are too many: the last ones."""
    return sorted(held)[share:]
