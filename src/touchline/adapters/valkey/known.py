"""What pods know of odds, in Valkey (or Redis), so that each knows what any of them has answered.

Invariant: of a market the newest version told is the one that is kept, in whatever order it is told.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from touchline.adapters.breaker import Breaker
from touchline.adapters.valkey.connection import Part, Valkey
from touchline.core.ids import MarketId
from touchline.ports.ladder import KNOWN_AT_ONCE_MAX, Known
from touchline.wire.odds_v1 import PolledMarketV1

KEPT_MS: Final = 3_600_000  # what nobody has asked for since is forgotten
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(PolledMarketV1).decode


class ValkeyKnownOdds:
    """The `KnownOdds` port. A server that is away costs one call a second a timeout, the others an `Outage`."""

    def __init__(self, url: str, timeout_ms: int) -> None:
        self._valkey = Valkey(url, timeout_ms)
        self._keep = self._valkey.script("known.lua")
        self._breaker = Breaker("Valkey")

    async def close(self) -> None:
        """Close every connection."""
        await self._valkey.close()

    async def tell(self, known: Sequence[Known]) -> None:
        """See `ports.ladder.KnownOdds`."""
        args: list[Part] = [KEPT_MS]
        for one in known:
            args += (one.market.odds_version, (one.at - _EPOCH) // _MICROSECOND, _encode(one.market))
        with self._breaker:
            await self._keep([_key(one.market.market_id) for one in known], args)

    async def newest(self, market_ids: Collection[MarketId]) -> Mapping[MarketId, Known]:
        """See `ports.ladder.KnownOdds`."""
        wanted, found = list(market_ids), dict[MarketId, Known]()
        for first in range(0, len(wanted), KNOWN_AT_ONCE_MAX):
            some = wanted[first : first + KNOWN_AT_ONCE_MAX]
            with self._breaker:
                held = await self._valkey.call("MGET", *(_key(market_id) for market_id in some))
            for market_id, text in zip(some, held, strict=True):
                if text is not None:
                    found[market_id] = _known(text)
        return found


def _key(market_id: MarketId) -> str:
    return f"known:{market_id}"


def _known(text: bytes) -> Known:
    _, at, body = text.split(b" ", 2)
    return Known(_decode(body), _EPOCH + int(at) * _MICROSECOND)
