"""Who is about, in memory."""

from collections.abc import Collection
from datetime import datetime

from touchline.core.ids import PlayerId
from touchline.ports import LIVE_STEP_S, LIVE_WITHIN_S


class MemoryPresence:
    """The `Presence` port."""

    def __init__(self) -> None:
        self._steps: dict[PlayerId, int] = {}

    async def live(self, player_ids: Collection[PlayerId], now: datetime) -> int:
        """See `ports.Presence`."""
        newest = int(now.timestamp()) // LIVE_STEP_S
        self._steps.update(dict.fromkeys(player_ids, newest))
        oldest = newest - LIVE_WITHIN_S // LIVE_STEP_S
        self._steps = {player: step for player, step in self._steps.items() if step > oldest}
        return len(self._steps)
