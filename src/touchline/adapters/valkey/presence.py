"""Who is about, in Valkey: a sketch (HyperLogLog) for every step of time, of one size however many are about."""

from collections.abc import Collection
from datetime import datetime

from touchline.adapters.valkey.connection import Valkey
from touchline.core.ids import PlayerId
from touchline.ports import LIVE_STEP_S, LIVE_WITHIN_S


class ValkeyPresence:
    """The `Presence` port."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        self._valkey = Valkey(url, timeout_ms)

    async def close(self) -> None:
        """Close every connection."""
        await self._valkey.close()

    async def live(self, player_ids: Collection[PlayerId], now: datetime) -> int:
        """See `ports.Presence`."""
        newest = int(now.timestamp()) // LIVE_STEP_S
        keys = [f"live:{step}" for step in range(newest, newest - LIVE_WITHIN_S // LIVE_STEP_S, -1)]
        if player_ids:
            await self._valkey.call("PFADD", keys[0], *player_ids)
            await self._valkey.call("EXPIRE", keys[0], 2 * LIVE_WITHIN_S)
        return int(await self._valkey.call("PFCOUNT", *keys))
