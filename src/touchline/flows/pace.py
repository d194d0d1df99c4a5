"""How many bets of a settlement are worked in one transaction: as many as hold their locks for a short while.

Invariant: what was measured last decides, within bounds, so that a busy machine holds locks hardly longer than an
idle one, and an idle one does not go slowly.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

BETS_FIRST: Final = 100
BETS_MIN: Final = 50  # fewer cost more in round trips than they spare those who wait
HELD_MAX: Final = timedelta(milliseconds=60)  # longer, and the next are half as many


@dataclass(slots=True)
class Pace:
    """`bets` to work next, at most `bets_max`."""

    bets_max: int
    bets: int = field(init=False)

    def __post_init__(self) -> None:
        self.bets = min(BETS_FIRST, self.bets_max)

    def took(self, bets: int, held: timedelta) -> None:
        """Take into account for how long so many bets were held."""
        if held > HELD_MAX:
            self.bets = min(max(self.bets // 2, BETS_MIN), self.bets_max)
        elif held < HELD_MAX / 2 and bets >= self.bets:
            self.bets = min(self.bets * 2, self.bets_max)
