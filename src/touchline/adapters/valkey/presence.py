"""Who is about, in Valkey: a sketch (HyperLogLog) for every step of time, of one size however many are about."""

from collections.abc import Collection
from datetime import datetime

from touchline.adapters.valkey.connection import ask, close, connect
from touchline.core.ids import PlayerId
from touchline.ports import LIVE_STEP_S, LIVE_WITHIN_S


class ValkeyPresence:
    """The `Presence` port."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        self._valkey = connect(url, timeout_ms)

    async def close(self) -> None:
        """Close every connection."""
        await close(self._valkey)

    async def live(self, player_ids: Collection[PlayerId], now: datetime) -> int:
        """See `ports.Presence`."""
        newest = int(now.timestamp()) // LIVE_STEP_S
        keys = [f"live:{step}" for step in range(newest, newest - LIVE_WITHIN_S // LIVE_STEP_S, -1)]
        async with self._valkey.pipeline(transaction=False) as pipeline:
            if player_ids:
                pipeline.pfadd(keys[0], *player_ids)
                pipeline.expire(keys[0], 2 * LIVE_WITHIN_S)
            pipeline.pfcount(*keys)
            return int((await ask(pipeline.execute()))[-1])
