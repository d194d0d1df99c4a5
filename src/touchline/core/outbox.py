"""What one subscriber has not been sent yet: of each market the latest, however slowly he reads.

Invariant: no cursor that is told and no version of a market goes back; at most one change a market waits, and none
is passed over unless a later one of its market takes its place.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from touchline.core.delivery import MarketChanged
from touchline.core.ids import MarketId
from touchline.core.market import MarketStatus


class Conflated(StrEnum):
    """Why a subscriber is told of some changes only by what came after them."""

    SLOW_READER = "slow_reader"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent at once. With it all that changed up to `cursor` has been sent, and perhaps more."""

    cursor: int
    changes: list[MarketChanged]
    conflated: Conflated | None


class Outbox:
    """Changes that wait for one subscriber; whatever can't be bet on goes before the prices."""

    __slots__ = ("_passed_over", "_prices", "_seen", "_stops", "cursor")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor  # as of which all has been taken
        self._seen = cursor
        self._stops: dict[MarketId, MarketChanged] = {}  # both in the order of cursors
        self._prices: dict[MarketId, MarketChanged] = {}
        self._passed_over: dict[MarketId, Conflated] = {}

    def __len__(self) -> int:
        return len(self._stops) + len(self._prices)

    @property
    def urgent(self) -> bool:
        """Whether a market that can't be bet on is among what waits."""
        return bool(self._stops)

    def offer(self, changes: Iterable[MarketChanged], cursor: int, why_waiting: Conflated) -> None:
        """Keep each of `changes`, which are in order and all there is for the subscriber up to `cursor`.

        One that waits for the same market is passed over, because of `why_waiting`.
        """
        for change in changes:
            if change.cursor <= self._seen:
                continue
            self._seen = change.cursor
            market_id = change.market_id
            earlier = self._stops.pop(market_id, None) or self._prices.pop(market_id, None)
            if earlier is not None and self._passed_over.get(market_id) is not Conflated.SLOW_READER:
                self._passed_over[market_id] = why_waiting
            waiting = self._prices if change.status == MarketStatus.ACTIVE else self._stops
            waiting[market_id] = change
        self._seen = max(self._seen, cursor)

    def keep(self, wanted: Callable[[MarketChanged], bool]) -> None:
        """Let go of what waits and is not wanted any more."""
        for waiting in (self._stops, self._prices):
            for change in [change for change in waiting.values() if not wanted(change)]:
                del waiting[change.market_id]
                self._passed_over.pop(change.market_id, None)

    def take(self, bytes_max: int, *, stops_only: bool = False) -> Parcel | None:
        """Return what is to be sent next, bodies of `bytes_max` together at most or a single one; None: nothing.

        Of what remains, `cursor` is just before the oldest.
        """
        taken = list[MarketChanged]()
        reasons = set[Conflated]()
        size = 0
        while waiting := self._stops or (None if stops_only else self._prices):
            change = next(iter(waiting.values()))
            size += len(change.body)
            if taken and size > bytes_max:
                break
            del waiting[change.market_id]
            taken.append(change)
            reason = self._passed_over.pop(change.market_id, None)
            if reason is not None:
                reasons.add(reason)
        if not taken:
            return None
        remaining = [next(iter(held.values())).cursor for held in (self._stops, self._prices) if held]
        self.cursor = min(remaining) - 1 if remaining else self._seen
        conflated = next((reason for reason in Conflated if reason in reasons), None)
        return Parcel(self.cursor, taken, conflated)
