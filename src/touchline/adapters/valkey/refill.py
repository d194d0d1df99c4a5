"""An authority on odds filled anew with what others hold on record.

Invariant: nobody is answered from it until `begin`: it has no epoch before.
"""

import secrets
from collections.abc import Sequence
from typing import Final

from touchline.adapters.valkey import records
from touchline.adapters.valkey.connection import Part, Valkey
from touchline.core.event import Event, EventStatus
from touchline.core.ids import MarketId
from touchline.core.market import DECIDED, Market

SCANNED_AT_ONCE: Final = 1_000


class ValkeyRefill:
    """What only the filling of an authority does."""

    def __init__(self, url: str, timeout_ms: int) -> None:
        self._valkey = Valkey(url, timeout_ms)
        self._refill = self._valkey.script("refill.lua")

    async def close(self) -> None:
        """Close the connection."""
        await self._valkey.close()

    async def has_begun(self) -> bool:
        """Tell whether there is an epoch."""
        return await self._valkey.call("GET", records.EPOCH) is not None

    async def versions(self, market_ids: Sequence[MarketId]) -> list[int]:
        """Return the versions of markets, 0 of one that is not known."""
        if not market_ids:
            return []
        found = await self._valkey.call("MGET", *(records.market_key(market_id) for market_id in market_ids))
        return [0 if record is None else records.market_of(record).odds_version for record in found]

    async def clear(self, cursor: int) -> None:
        """End the epoch and forget all but what waits to be recorded; what is put next comes after `cursor`."""
        await self._valkey.call("DEL", records.EPOCH)
        scanned = b"0"
        while True:
            scanned, names = await self._valkey.call("SCAN", scanned, "MATCH", "offer:*", "COUNT", SCANNED_AT_ONCE)
            if going := [name for name in names if name != records.HISTORY.encode()]:
                await self._valkey.call("UNLINK", *going)
            if scanned == b"0":
                break
        await self._valkey.call("SET", records.CURSOR, cursor)

    async def put_events(self, events: Sequence[Event]) -> None:
        """Put events, the first made first."""
        args: list[Part] = []
        for event in events:
            index = records.ENDED if event.status is EventStatus.ENDED else records.GOING_ON
            args += [records.EVENT, event.event_id, "", records.event_body(event), index, "", 0]
        await self._refill([], args)

    async def put_markets(self, markets: Sequence[tuple[Market, bool]]) -> None:
        """Put markets of events that are there; True beside those that are to be recorded as they are now."""
        args: list[Part] = []
        for market, changed in markets:
            index = records.DECIDED if market.status in DECIDED else records.UNDECIDED
            mark, body = records.mark_of(market.priced_at), records.market_body(market)
            args += [records.MARKET, market.market_id, mark, body, index, market.event_id, int(changed)]
        await self._refill([], args)

    async def begin(self) -> None:
        """Begin an epoch."""
        await self._valkey.call("SET", records.EPOCH, secrets.token_hex(16))
