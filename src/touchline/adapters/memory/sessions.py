"""Sessions in memory: balances for display and pre-check, and how often a player bets."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from touchline.core.ids import PlayerId
from touchline.core.rates import MINUTE
from touchline.ports import Admission, Balance

SESSIONS_MAX: Final = 50_000


class MemorySessions:
    """The `SessionCache` port; at most `SESSIONS_MAX` balances, the one kept longest ago goes first."""

    def __init__(self, *, bets_per_minute_max: int, velocity_bets: int, velocity_window_ms: int) -> None:
        self._bets_per_minute_max = bets_per_minute_max
        self._velocity_bets = velocity_bets
        self._velocity_window = timedelta(milliseconds=velocity_window_ms)
        self._bets: dict[PlayerId, dict[str, datetime]] = {}
        self._balances: dict[PlayerId, Balance] = {}

    async def admit(self, player_id: PlayerId, bet_key: str, now: datetime) -> Admission:
        """See `ports.SessionCache`."""
        counted = {key: at for key, at in self._bets.get(player_id, {}).items() if at > now - MINUTE}
        self._bets[player_id] = counted
        wait: timedelta | None = None
        if bet_key not in counted:
            if len(counted) >= self._bets_per_minute_max:
                wait = min(counted.values()) + MINUTE - now
            else:
                counted[bet_key] = now
        fast = sum(at >= now - self._velocity_window for at in counted.values())
        return Admission(
            retry_after_s=None if wait is None else max(1, -(-wait // timedelta(seconds=1))),
            balance=self._balances.get(player_id),
            faster_than_a_person=fast >= self._velocity_bets,
        )

    async def withdraw(self, player_id: PlayerId, bet_key: str) -> None:
        """See `ports.SessionCache`."""
        self._bets.get(player_id, {}).pop(bet_key, None)

    async def balance(self, player_id: PlayerId) -> Balance | None:
        """See `ports.SessionCache`."""
        return self._balances.get(player_id)

    async def keep(self, balances: Mapping[PlayerId, Balance]) -> None:
        """See `ports.SessionCache`."""
        for player_id, balance in balances.items():
            self._keep(player_id, balance)

    def _keep(self, player_id: PlayerId, balance: Balance) -> None:
        known = self._balances.pop(player_id, None)
        newest = balance if known is None or known.version < balance.version else known
        if len(self._balances) >= SESSIONS_MAX:
            del self._balances[next(iter(self._balances))]
        self._balances[player_id] = newest
