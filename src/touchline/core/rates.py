"""How often each player bets, by the bets that were taken of him within the last minute.

Invariant: bets that others took before are asked for and learned, never taken for none.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from touchline.core.bet import Bet
from touchline.core.errors import Code, Rejection
from touchline.core.ids import PlayerId

MINUTE: Final = timedelta(minutes=1)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class RateRules:
    """How many bets a minute a player may place; so many as `velocity_bets` within the window no person places."""

    bets_per_minute_max: int
    velocity_bets: int
    velocity_window: timedelta


def too_many_bets(bets_per_minute_max: int, wait_s: int) -> Rejection:
    """Return the refusal of a bet that comes `wait_s` seconds too early."""
    return Rejection(Code.RATE_LIMITED, f"at most {bets_per_minute_max} bets a minute", retry_after_s=wait_s)


class BetRates:
    """The bets of the last minute of one shard's players, which are all counted here from now on.

    It holds who bet within the last two minutes, and of each the instants, at most as many as he may place.
    """

    def __init__(self, rules: RateRules) -> None:
        self._rules = rules
        self._taken: dict[PlayerId, list[datetime]] = {}
        self._whole_at: datetime | None = None  # from then on no bet counts that was taken before the first look
        self._swept_at: datetime | None = None

    def unknown(self, player_ids: Iterable[PlayerId], now: datetime) -> list[PlayerId]:
        """Return those of whom bets that were taken before may count, and are to be learned."""
        if self._whole_at is None:
            self._whole_at = now + MINUTE
        if now >= self._whole_at:
            return []
        return [player_id for player_id in player_ids if player_id not in self._taken]

    def learn(self, player_ids: Collection[PlayerId], taken: Iterable[tuple[PlayerId, datetime]]) -> None:
        """Take in the bets of the last minute of players who were unknown."""
        for player_id in player_ids:
            self._taken[player_id] = []
        for player_id, at in taken:
            insort(self._taken[player_id], at)

    def refusal(self, player_id: PlayerId, now: datetime, more: int) -> Rejection | None:
        """Return why he may place no bet now, None where he may; `more` of his bets are not counted yet."""
        taken, most = self._taken.get(player_id, ()), self._rules.bets_per_minute_max
        first = bisect_right(taken, now - MINUTE)
        over = len(taken) - first + more - most
        if over < 0:
            return None
        in_the_way = taken[first + over] if first + over < len(taken) else now
        return too_many_bets(most, max(1, -((now - in_the_way - MINUTE) // _SECOND)))

    def is_fast(self, player_id: PlayerId, now: datetime, more: int) -> bool:
        """Tell whether he bets faster than a person; `more` of his bets are not counted yet."""
        taken = self._taken.get(player_id, ())
        window = len(taken) - bisect_left(taken, now - self._rules.velocity_window)
        return window + more >= self._rules.velocity_bets

    def count(self, bets: Collection[Bet], now: datetime) -> None:
        """Count bets that are about to be recorded."""
        for bet in bets:
            taken = self._taken.setdefault(bet.player_id, [])
            insort(taken, bet.placed_at)
            if taken[0] <= now - MINUTE:
                del taken[: bisect_right(taken, now - MINUTE)]
        self._sweep(now)

    def uncount(self, bets: Collection[Bet]) -> None:
        """Count bets no longer that were not recorded."""
        for bet in bets:
            self._taken[bet.player_id].remove(bet.placed_at)

    def _sweep(self, now: datetime) -> None:
        """Forget, once a minute, who placed no bet in it."""
        if self._swept_at is None:
            self._swept_at = now
        if now - self._swept_at <= MINUTE:
            return
        self._swept_at = now
        idle = [one for one, taken in self._taken.items() if not taken or taken[-1] <= now - MINUTE]
        for player_id in idle:
            del self._taken[player_id]
