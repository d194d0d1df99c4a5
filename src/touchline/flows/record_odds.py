"""Record what the authority on odds changed, some at a time, behind it.

Invariant: an entry is dropped at the authority only after it is on record; whichever of them dies, none is lost.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from touchline.ports.history import ENTRIES_AT_ONCE_MAX, OddsBooks, OddsHistory


@dataclass(frozen=True, slots=True)
class OddsRecording:
    """From the history of the authority to the books; `prepare` makes sure that there is an authority."""

    history: OddsHistory
    books: OddsBooks
    prepare: Callable[[], Awaitable[object]]

    async def run(self) -> None:
        """Record for ever; an `Outage` passes through, and running again goes on."""
        await self.prepare()
        while True:
            await self.record_next()

    async def record_next(self) -> int:
        """Record what waits; returns how many entries were new, none where none came in a moment."""
        entries = await self.history.waiting(ENTRIES_AT_ONCE_MAX)
        if not entries:
            return 0
        recorded = await self.books.record(entries)
        await self.history.forget(entries)
        return recorded
