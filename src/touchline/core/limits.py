"""Limits a player sets on himself: lowering one holds at once, raising or removing one waits.

Periods roll: a day is the last 24 hours, a week the last 7 days, a month the last 30.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

RAISE_WAITS: Final = timedelta(hours=24)


class LimitKind(StrEnum):
    """What is limited."""

    DEPOSIT = "deposit"
    STAKE = "stake"
    LOSS = "loss"  # stakes less what came back, as if every open bet were lost


class Period(StrEnum):
    """Over how long."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


LENGTH_OF_PERIOD: Final = {
    Period.DAY: timedelta(days=1),
    Period.WEEK: timedelta(days=7),
    Period.MONTH: timedelta(days=30),
}


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount_minor` holds until `next_at`, then `next_minor`; None as an amount is no limit."""

    amount_minor: int | None = None
    next_minor: int | None = None
    next_at: datetime | None = None

    def at(self, now: datetime) -> int | None:
        """Return the amount in force, None where there is none."""
        return self.next_minor if self.next_at is not None and now >= self.next_at else self.amount_minor

    def changed(self, wanted_minor: int | None, now: datetime) -> "Limit":
        """Return the limit once the player asks for `wanted_minor` (None: remove it)."""
        current = self.at(now)
        if wanted_minor is not None and (current is None or wanted_minor <= current):
            return Limit(wanted_minor)
        if wanted_minor == current:
            return Limit(current)
        return Limit(current, wanted_minor, now + RAISE_WAITS)


LimitKey = tuple[LimitKind, Period]
Limits = Mapping[LimitKey, Limit]
Spent = Mapping[LimitKey, int]


@dataclass(frozen=True, slots=True)
class Breach:
    """The limit that an amount would break, and what is left under it."""

    kind: LimitKind
    period: Period
    left_minor: int


def breach(
    limits: Limits, spent: Spent, kinds: frozenset[LimitKind], amount_minor: int, now: datetime
) -> Breach | None:
    """Return the tightest limit of `kinds` that `amount_minor` more, above 0, would break, or None.

    Of those equally tight the first by name, so that the order in which they are held says nothing.
    `spent` holds, for each limit, what already counts against it in its period (a loss may be negative).
    """
    tightest: Breach | None = None
    for (kind, period), limit in limits.items():
        amount = limit.at(now)
        if kind not in kinds or amount is None:
            continue
        left = max(amount - spent.get((kind, period), 0), 0)
        if amount_minor > left and (
            tightest is None or (left, kind, period) < (tightest.left_minor, tightest.kind, tightest.period)
        ):
            tightest = Breach(kind, period, left)
    return tightest
