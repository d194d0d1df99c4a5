"""Make sure of an authority on odds before anything asks it: begun, or rebuilt from the books where it lost them.

Invariant: after a rebuilding no market can be bet on before its feed or a trader has priced it anew, at a version
above any on record.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from touchline.adapters.odds_forgetting import is_for_books
from touchline.adapters.postgres import odds_on_record
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.odds_history import PostgresOddsBooks
from touchline.adapters.valkey.history import ValkeyHistory
from touchline.adapters.valkey.refill import ValkeyRefill
from touchline.core.market import BETTABLE_LATER, DECIDED, Market, MarketStatus
from touchline.ports import Clock
from touchline.ports.history import ENTRIES_AT_ONCE_MAX

LOOKED_AT_MAX: Final = 1_000  # markets that changed last: what another architecture has changed is among them


@dataclass(frozen=True, slots=True)
class OddsRestoring:
    """The books in `database`, and the authority that `refill` and `history` reach."""

    database: Database
    refill: ValkeyRefill
    history: ValkeyHistory
    clock: Clock

    async def prepare(self) -> bool:
        """Begin an epoch where there is none, or where the books are ahead; True if so.

        The books are never ahead of an authority that they are written behind: it has lost something, or another
        architecture has been at work on the same books since.
        """
        async with self.database.transaction() as connection:
            await odds_on_record.hold(connection)
            if await self.refill.has_begun() and not await self._is_behind(connection):
                return False
            await self._record_what_waits()
            await self.refill.clear(await odds_on_record.next_entry(connection))
            async for events in odds_on_record.events(connection):
                await self.refill.put_events(events)
            async for markets in odds_on_record.markets(connection):
                now = self.clock.now()
                left = {market.market_id for market, _ in markets if is_for_books(market, now)}
                kept = [(market, highest) for market, highest in markets if market.market_id not in left]
                await self.refill.put_markets([self._restored(market, highest) for market, highest in kept])
                await self.refill.put_forgotten(left)
            await self.refill.begin()
            return True

    async def _is_behind(self, connection: Any) -> bool:
        return await self.refill.is_behind(await odds_on_record.newest_versions(connection, LOOKED_AT_MAX))

    async def _record_what_waits(self) -> None:
        books = PostgresOddsBooks(self.database)
        while await self.history.length():
            entries = await self.history.waiting(ENTRIES_AT_ONCE_MAX)
            await books.record(entries)
            await self.history.forget(entries)

    def _restored(self, market: Market, highest: int) -> tuple[Market, bool]:
        if market.status in DECIDED:
            return market, False
        # One that is closed stays so: it may be about to be settled.
        status = MarketStatus.SUSPENDED if market.status in BETTABLE_LATER else market.status
        return replace(market, status=status, odds_version=highest + 1, updated_at=self.clock.now()), True
