"""The doors by which what an authority on odds changed gets on record behind it.

Any method may raise `Outage` or `Fault`, as in `touchline.ports`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from touchline.core.event import Event
from touchline.core.market import Market

ENTRIES_AT_ONCE_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What one change at the authority left, in force from the instant `at` by the authority's clock.

    `cursor` rises from entry to entry, through every epoch.
    """

    entry_id: str
    cursor: int
    at: datetime
    changed: Market | Event


class OddsHistory(Protocol):
    """Changes at the authority that may not be on record yet."""

    async def waiting(self, limit: int) -> Sequence[HistoryEntry]:
        """Return the oldest entries, at most `limit`; waits a moment for the first, returns none if none comes."""

    async def forget(self, entries: Sequence[HistoryEntry]) -> None:
        """Drop entries that are on record."""


class OddsBooks(Protocol):
    """The record of odds, and what others read instead of asking the authority."""

    async def record(self, entries: Sequence[HistoryEntry]) -> int:
        """Record entries in their order, in one transaction; returns how many were not on record yet."""
