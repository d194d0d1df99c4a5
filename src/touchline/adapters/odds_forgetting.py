"""Decided markets leave their authority for the books a while after their last change, so that it does not grow.

Invariant: a market leaves only as the books hold it, at its very version; whoever asks for it, or takes its result
back, goes on from there.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from touchline.adapters.postgres import odds_on_record
from touchline.adapters.postgres.database import Database
from touchline.adapters.valkey import records
from touchline.adapters.valkey.refill import ValkeyRefill
from touchline.core.delivery import DECIDED_KEPT
from touchline.core.market import DECIDED, Market
from touchline.ports import Clock

FORGOTTEN_AT_ONCE_MAX: Final = 500
FORGET_STEP_S: Final = 1.0  # between so many and the next, while there are any
FORGET_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class OddsForgetting:
    """The books in `database`, and the authority that `authority` relieves."""

    database: Database
    authority: ValkeyRefill
    clock: Clock

    async def run(self) -> None:
        """Leave to the books what is theirs alone by now, for ever; an `Outage` passes through."""
        while True:
            full = await self.forget_next() == FORGOTTEN_AT_ONCE_MAX
            await asyncio.sleep(FORGET_STEP_S if full else FORGET_EVERY_S)

    async def forget_next(self) -> int:
        """Leave the next markets to the books, at most `FORGOTTEN_AT_ONCE_MAX`; returns how many."""
        now = self.clock.now()
        held = {
            record: market
            for record in await self.authority.oldest_decided(FORGOTTEN_AT_ONCE_MAX)
            if is_for_books(market := records.market_of(record), now)
        }
        recorded = await odds_on_record.decided_versions(
            self.database, [market.market_id for market in held.values()]
        )
        return await self.authority.forget(
            [record for record, market in held.items() if recorded.get(market.market_id) == market.odds_version]
        )


def is_for_books(market: Market, now: datetime) -> bool:
    """Tell whether a market is decided and has not changed for so long that the books alone hold it."""
    return market.status in DECIDED and market.updated_at < now - DECIDED_KEPT
