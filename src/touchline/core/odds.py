"""How a feed's odds change becomes a market's next version.

Invariant: of two changes to a market, the one that occurred later stands, in whatever order they arrive.
"""

from dataclasses import replace
from datetime import datetime

from touchline.core.feed import OddsChange, PricedSelection
from touchline.core.market import (
    BETTABLE_LATER,
    DECIDED,
    Market,
    MarketStatus,
    Selection,
    SelectionStatus,
)


def apply_odds_change(market: Market | None, change: OddsChange, at: datetime) -> Market | None:
    """Return the market after `change`, or None where it changes nothing.

    Nothing changes when the market is decided (settled or void), or when the change is older than the newest one
    applied. A later change that repeats what stands confirms it: `priced_at` moves, so that what occurred before
    can't undo it, and nothing that a bettor can see does. A closed market opens again only where the change says
    so.
    """
    if market is None:
        return Market(
            market_id=change.market_id,
            event_id=change.event_id,
            name=change.name or change.market_id,
            market_type=change.market_type or "UNKNOWN",
            status=change.status or MarketStatus.ACTIVE,
            odds_version=1,
            selections=_merge((), change.selections),
            bet_delay_ms=change.bet_delay_ms or 0,
            priced_at=change.occurred_at,
            updated_at=at,
        )
    if market.status in DECIDED or is_late(market, change.occurred_at):
        return None
    changed = replace(
        market,
        name=change.name or market.name,
        market_type=change.market_type or market.market_type,
        status=change.status or market.status,
        selections=_merge(market.selections, change.selections),
        bet_delay_ms=market.bet_delay_ms if change.bet_delay_ms is None else change.bet_delay_ms,
    )
    if changed == market:
        return None if change.occurred_at == market.priced_at else replace(market, priced_at=change.occurred_at)
    priced = (changed.status, changed.selections) != (market.status, market.selections)
    return replace(
        changed,
        odds_version=market.odds_version + priced,
        priced_at=change.occurred_at,
        updated_at=at,
    )


def is_late(market: Market, occurred_at: datetime) -> bool:
    """Tell whether something newer from the source already stands on `market`."""
    return market.priced_at is not None and occurred_at < market.priced_at


def is_backable(market: Market, selection: Selection) -> bool:
    """Tell whether `selection` has a price and can be backed once its market is active."""
    return (
        market.status in BETTABLE_LATER
        and selection.status is SelectionStatus.ACTIVE
        and selection.odds_milli is not None
    )


def _merge(known: tuple[Selection, ...], changes: tuple[PricedSelection, ...]) -> tuple[Selection, ...]:
    merged = {selection.selection_id: selection for selection in known}
    for change in changes:
        old = merged.get(change.selection_id)
        if old is None:
            old = Selection(change.selection_id, change.name or change.selection_id, None)
        merged[change.selection_id] = Selection(
            selection_id=change.selection_id,
            name=change.name or old.name,
            odds_milli=old.odds_milli if change.odds_milli is None else change.odds_milli,
            status=change.status or old.status,
        )
    return tuple(merged.values())
