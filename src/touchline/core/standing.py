"""What the decisions that stand on a market make of its status, wherever the market itself is kept.

Invariant: a market's status follows from its standing settlements alone, so that an authority apart from them can
be brought in line at any moment, and again without harm.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from touchline.core.market import DECIDED, Market, MarketStatus
from touchline.core.settlement import Settlement, SettlementKind


def decided_as(standing: Sequence[Settlement]) -> MarketStatus | None:
    """Return what `standing` (neither rollbacks nor rolled back) makes of their market; None: it is undecided.

    A windowed void decides some bets, and not the market.
    """
    if any(settlement.kind is SettlementKind.SETTLE for settlement in standing):
        return MarketStatus.SETTLED
    voided = any(settlement.kind is SettlementKind.VOID and not settlement.windowed for settlement in standing)
    return MarketStatus.VOID if voided else None


def in_line(market: Market, standing: Sequence[Settlement], at: datetime) -> Market:
    """Return `market` as `standing` decides it, at the next version; the same market where it is so already.

    One that nothing decides any more is suspended, as after a rollback.
    """
    status = decided_as(standing)
    if status is None:
        if market.status not in DECIDED:
            return market
        status = MarketStatus.SUSPENDED
    if status is market.status:
        return market
    return replace(market, status=status, odds_version=market.odds_version + 1, updated_at=at)
