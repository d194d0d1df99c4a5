"""Polled markets in Valkey (or Redis), written by whoever changes them in the same step as their authority.

Invariant: no poll is answered with an older version than a poll before it was, whatever is evicted, restarted, or
slow. A writer announces his change before his transaction and keeps its outcome after it; meanwhile polls read the
authority. Only where a writer can't reach a cache that readers reach may a version be up to `kept_ms` behind.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

import msgspec

from touchline.adapters.breaker import Breaker
from touchline.adapters.valkey.connection import Valkey
from touchline.core.errors import Outage, Rejection
from touchline.core.ids import MarketId
from touchline.core.market import Market
from touchline.wire.odds_v1 import PolledMarketV1, SelectionV1, market_to_polled

KEPT_MS: Final = 5_000  # how long a body is good without having been written anew
LEASE_MS: Final = 2_000  # how long a reader who found nothing has, before another may fill
CHANGE_MS: Final = 30_000  # longer than a transaction may wait for its locks and statements

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(PolledMarketV1).decode
_decode_selections: Final = msgspec.json.Decoder(list[SelectionV1]).decode


class ValkeyOdds:
    """A cache of polled markets. Where it is away, polls read the authority and changes are made without it."""

    def __init__(
        self,
        url: str,
        timeout_ms: int,
        *,
        kept_ms: int = KEPT_MS,
        lease_ms: int = LEASE_MS,
        change_ms: int = CHANGE_MS,
    ) -> None:
        self._valkey = Valkey(url, timeout_ms)
        self._run = self._valkey.script("odds.lua")
        self._breaker = Breaker("Valkey")
        self._kept_ms, self._lease_ms, self._change_ms = kept_ms, lease_ms, change_ms
        self._name = secrets.token_hex(8)
        self._numbers = count()
        self.hits = 0
        self.misses = 0

    async def close(self) -> None:
        """Close every connection."""
        await self._valkey.close()

    async def poll(
        self, market_id: MarketId, read: Callable[[MarketId], Awaitable[PolledMarketV1 | None]]
    ) -> PolledMarketV1 | None:
        """Return the market from the cache, or as `read` finds it at its authority, which then fills the cache."""
        token = self._token()
        try:
            found = await self._ask(market_id, "look", token, self._lease_ms)
        except Outage:
            self.misses += 1
            return await read(market_id)
        if found is not None:
            self.hits += 1
            return _decode(found)
        self.misses += 1
        market = await read(market_id)
        if market is not None:
            # Also where somebody else is to fill it: what is answered here must not be gone below there.
            await self._tell(market_id, "fill", token, self._kept_ms, market.odds_version, _body_of(market))
        return market

    @asynccontextmanager
    async def changing(self, market_id: MarketId) -> AsyncIterator[Callable[[Market], None]]:
        """Announce a change of a market to be made within; call what is yielded with the market after its commit.

        Where it ends in an `Outage`, or is cut off, nobody knows whether the change was committed: polls then read
        the authority for `CHANGE_MS`.
        """
        token, after = self._token(), list[Market]()
        await self._tell(market_id, "change", token, self._change_ms)
        try:
            yield after.append
        except Rejection:
            await self._tell(market_id, "keep", token, self._kept_ms)
            raise
        polled = [market_to_polled(market) for market in after]
        version_and_body = [part for market in polled for part in (market.odds_version, _body_of(market))]
        await self._tell(market_id, "keep", token, self._kept_ms, *version_and_body)

    def _token(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    async def _tell(self, market_id: MarketId, verb: str, token: str, ms: int, *more: int | bytes) -> None:
        try:
            await self._ask(market_id, verb, token, ms, *more)
        except Outage:
            return  # without it polls read the authority, once what it holds is no longer good

    async def _ask(self, market_id: MarketId, verb: str, token: str, ms: int, *more: int | bytes) -> Any:
        with self._breaker:
            return await self._run([f"odds:{market_id}"], [verb, token, ms, *more])


def _body_of(market: PolledMarketV1) -> bytes:
    """Return a market as the cache holds it: the same bytes for the same market, whoever wrote its selections."""
    selections = msgspec.Raw(_encode(_decode_selections(market.selections)))
    return _encode(msgspec.structs.replace(market, selections=selections))
