"""Those who follow odds as the hub sees them: what they want, with whom and at which pace they are told.

Invariant: whoever is in a group is either prompt or boxed, as he has an outbox or not.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from touchline.core.delivery import MarketChanged
from touchline.core.ids import EventId, MarketId
from touchline.core.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Interest:
    """The markets, and the events with all their markets, that somebody follows."""

    markets: frozenset[MarketId] = frozenset()
    events: frozenset[EventId] = frozenset()

    def wants(self, change: MarketChanged) -> bool:
        """Tell whether a change is of interest."""
        return change.market_id in self.markets or change.event_id in self.events

    def joined(self, other: "Interest") -> "Interest":
        """Return both."""
        return Interest(self.markets | other.markets, self.events | other.events)


class Follower(Protocol):
    """A subscriber as the hub sees him. `outbox` is None while he is sent each change as it comes."""

    outbox: Outbox | None
    conflate_ms: int
    writable: bool

    def send(self, frame: bytes) -> None:
        """Write a frame."""

    def hold(self, held: bool, /) -> None:
        """Say whether a frame may wait until those before it have arrived, and go with others; False: at once."""

    def drain(self, *, stops_only: bool = False) -> None:
        """Send what waits, as far as it can be written."""

    def begin_anew(self) -> None:
        """Send an image of everything: cursors of before mean nothing any more."""

    def beat(self, now_s: float, quiet_since_s: float, *, at_once: bool) -> None:
        """Send a heartbeat where it is time for one."""


class Group:
    """Those who follow the same; `prompt` are sent each tick as it comes, `boxed` have an outbox."""

    __slots__ = ("boxed", "interest", "prompt", "told_at_s")

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.prompt: dict[Follower, Callable[[bytes], None]] = {}  # with what writes to each
        self.boxed: dict[Follower, None] = {}
        self.told_at_s = 0.0


class Pace:
    """Those who asked to be sent what changed once in so many milliseconds, all at the same instants."""

    def __init__(self, ms: int) -> None:
        self.ms = ms
        self._followers: dict[Follower, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, follower: Follower) -> None:
        """Drain `follower` with the others."""
        self._followers[follower] = None
        if self._timer is None:
            self._arm()

    def drop(self, follower: Follower) -> bool:
        """Let go of `follower`; True where nobody is left."""
        self._followers.pop(follower, None)
        if not self._followers and self._timer is not None:
            self._timer.cancel()
        return not self._followers

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        every_s = self.ms / 1000
        self._timer = loop.call_at((loop.time() // every_s + 1) * every_s, self._drain)

    def _drain(self) -> None:
        self._arm()
        for follower in tuple(self._followers):
            follower.drain()
