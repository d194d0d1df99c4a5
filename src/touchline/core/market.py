"""A market, its selections, and its life as a table.

Invariant: `odds_version` rises by exactly one with every change of price or status, and with nothing else.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from touchline.core.errors import Code, Rejection
from touchline.core.ids import EventId, MarketId, SelectionId


class MarketStatus(StrEnum):
    """Where a market stands; each member names the steps that leave it."""

    ACTIVE = "active"  # suspend, close, settle, void
    SUSPENDED = "suspended"  # resume, close, settle, void
    CLOSED = "closed"  # resume, settle, void
    SETTLED = "settled"  # roll back the settlement
    VOID = "void"  # roll back the void


class SelectionStatus(StrEnum):
    """Whether a selection can be backed."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"  # withdrawn from the event; its bets are void at settlement


class MarketStep(StrEnum):
    """What can happen to a market as a whole."""

    SUSPEND = "suspend"
    RESUME = "resume"
    CLOSE = "close"
    SETTLE = "settle"
    VOID = "void"
    ROLLBACK_SETTLEMENT = "rollback_settlement"
    ROLLBACK_VOID = "rollback_void"


_S, _T = MarketStatus, MarketStep
# After a rollback the market is suspended: priced once more by the feed or resumed by a trader, never by itself.
MARKET_LIFECYCLE: Final[dict[tuple[MarketStatus, MarketStep], MarketStatus]] = {
    (_S.ACTIVE, _T.SUSPEND): _S.SUSPENDED,
    (_S.ACTIVE, _T.RESUME): _S.ACTIVE,
    (_S.ACTIVE, _T.CLOSE): _S.CLOSED,
    (_S.ACTIVE, _T.SETTLE): _S.SETTLED,
    (_S.ACTIVE, _T.VOID): _S.VOID,
    (_S.SUSPENDED, _T.SUSPEND): _S.SUSPENDED,
    (_S.SUSPENDED, _T.RESUME): _S.ACTIVE,
    (_S.SUSPENDED, _T.CLOSE): _S.CLOSED,
    (_S.SUSPENDED, _T.SETTLE): _S.SETTLED,
    (_S.SUSPENDED, _T.VOID): _S.VOID,
    (_S.CLOSED, _T.CLOSE): _S.CLOSED,
    (_S.CLOSED, _T.RESUME): _S.ACTIVE,
    (_S.CLOSED, _T.SETTLE): _S.SETTLED,
    (_S.CLOSED, _T.VOID): _S.VOID,
    (_S.SETTLED, _T.ROLLBACK_SETTLEMENT): _S.SUSPENDED,
    (_S.VOID, _T.ROLLBACK_VOID): _S.SUSPENDED,
}
BETTABLE_LATER: Final = frozenset({_S.ACTIVE, _S.SUSPENDED})
DECIDED: Final = frozenset({_S.SETTLED, _S.VOID})


@dataclass(frozen=True, slots=True)
class Selection:
    """One outcome that can be backed; `odds_milli` is None while it has no price."""

    selection_id: SelectionId
    name: str
    odds_milli: int | None
    status: SelectionStatus = SelectionStatus.ACTIVE


@dataclass(frozen=True, slots=True)
class Market:
    """One market as its authority holds it. `priced_at` is the source's time of the newest price applied."""

    market_id: MarketId
    event_id: EventId
    name: str
    market_type: str
    status: MarketStatus
    odds_version: int
    selections: tuple[Selection, ...]
    bet_delay_ms: int
    priced_at: datetime | None
    updated_at: datetime

    def selection(self, selection_id: SelectionId) -> Selection | None:
        """Return the selection of that id, or None."""
        return next((s for s in self.selections if s.selection_id == selection_id), None)


def offered_milli(
    status: MarketStatus, selections: tuple[Selection, ...], selection_id: SelectionId
) -> int | None:
    """Return the odds at which a market that stands like this can be bet on; None where it can't be."""
    found = next((s for s in selections if s.selection_id == selection_id), None)
    if status is not MarketStatus.ACTIVE or found is None or found.status is not SelectionStatus.ACTIVE:
        return None
    return found.odds_milli


def step_market(market: Market, step: MarketStep, at: datetime) -> Market:
    """Return `market` after `step`: the version is one higher if the status changed, else it is the same market.

    Raises:
        Rejection: MARKET_CLOSED: the lifecycle has no such step from here.
    """
    status = MARKET_LIFECYCLE.get((market.status, step))
    if status is None:
        words = step.value.replace("_", " ")
        raise Rejection(
            Code.MARKET_CLOSED, f"market is {market.status.value}: can't {words}", status=market.status.value
        )
    if status is market.status:
        return market
    return replace(market, status=status, odds_version=market.odds_version + 1, updated_at=at)
