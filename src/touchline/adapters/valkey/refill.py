"""An authority on odds filled anew with what others hold on record, and relieved of what they can hold alone.

Invariants: nobody is answered from it until `begin`: it has no epoch before. What it is relieved of it knows the
name of, so that whoever asks for it looks there.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from touchline.adapters.valkey import records
from touchline.adapters.valkey.connection import Part, Valkey
from touchline.core.event import Event, EventStatus
from touchline.core.ids import MarketId
from touchline.core.market import DECIDED, Market

SCANNED_AT_ONCE: Final = 1_000


class ValkeyRefill:
    """What only the filling and the relieving of an authority do."""

    def __init__(self, url: str, timeout_ms: int) -> None:
        self._valkey = Valkey(url, timeout_ms)
        self._refill = self._valkey.script("refill.lua")
        self._forget = self._valkey.script("forget.lua")

    async def close(self) -> None:
        """Close the connection."""
        await self._valkey.close()

    async def has_begun(self) -> bool:
        """Tell whether there is an epoch."""
        return await self._valkey.call("GET", records.EPOCH) is not None

    async def is_behind(self, recorded: Mapping[MarketId, int]) -> bool:
        """Tell whether one of these versions is above what is held; what was left to the books is not held."""
        if not recorded:
            return False
        found = await self._valkey.call("MGET", *map(records.market_key, recorded))
        left = await self._valkey.call("SMISMEMBER", records.FORGOTTEN, *recorded)
        held = [0 if record is None else records.market_of(record).odds_version for record in found]
        return any(
            of_books > version and not forgotten
            for of_books, version, forgotten in zip(recorded.values(), held, left, strict=True)
        )

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

    async def put_forgotten(self, market_ids: Collection[MarketId]) -> None:
        """Put the names of markets that the books alone hold."""
        if market_ids:
            await self._valkey.call("SADD", records.FORGOTTEN, *market_ids)

    async def oldest_decided(self, limit: int) -> Sequence[bytes]:
        """Return the records of those decided markets that changed longest ago."""
        names = await self._valkey.call("ZRANGE", records.DECIDED, 0, limit - 1)
        if not names:
            return ()
        found = await self._valkey.call("MGET", *(records.market_key(MarketId(name.decode())) for name in names))
        return [record for record in found if record is not None]

    async def forget(self, held: Sequence[bytes]) -> int:
        """Leave decided markets to the books, those whose records are as they were read; returns how many."""
        args: list[Part] = []
        for record in held:
            market = records.market_of(record)
            args += [market.market_id, record, market.event_id]
        return int(await self._forget([], args)) if args else 0

    async def begin(self) -> None:
        """Begin an epoch."""
        await self._valkey.call("SET", records.EPOCH, secrets.token_hex(16))
