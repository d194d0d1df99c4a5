"""The trader's desk on the wire: settling, its progress, and liability."""

from datetime import datetime

import msgspec

from touchline.core.bet import BetResult
from touchline.core.ids import EventId, MarketId, SelectionId
from touchline.core.market import MarketStatus
from touchline.core.settlement import Settlement, SettlementKind
from touchline.wire.feed_v1 import OutcomeV1, outcome_to_wire


class SettleV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /trading/markets/{id}/settle`."""

    results: dict[str, BetResult | OutcomeV1]


class SettlementV1(msgspec.Struct, frozen=True):
    """One decision on a market and how far it is; `finished_at` None while bets are still being worked."""

    settlement_id: int
    market_id: MarketId
    kind: SettlementKind
    results: dict[SelectionId, OutcomeV1]
    bets_total: int
    bets_done: int
    requested_at: datetime
    finished_at: datetime | None


class ProgressV1(msgspec.Struct, frozen=True):
    """The answer of `GET /trading/markets/{id}/settlement`: the market, and its settlements, newest first."""

    market_id: MarketId
    status: MarketStatus
    settlements: list[SettlementV1]


class SelectionLiabilityV1(msgspec.Struct, frozen=True):
    """What the book loses if `selection_id` wins: its open bets' payouts less their stakes."""

    selection_id: SelectionId
    name: str
    bets: int
    stakes: str
    liability: str


class MarketLiabilityV1(msgspec.Struct, frozen=True):
    """The open bets of a market by selection."""

    market_id: MarketId
    event_id: EventId
    name: str
    status: MarketStatus
    selections: list[SelectionLiabilityV1]


class LiabilityV1(msgspec.Struct, frozen=True):
    """The answer of `GET /trading/liability`: every market with open bets."""

    currency: str
    markets: list[MarketLiabilityV1]


def settlement_to_wire(settlement: Settlement) -> SettlementV1:
    """Return a settlement as the desk reads it."""
    return SettlementV1(
        settlement_id=settlement.settlement_id,
        market_id=settlement.market_id,
        kind=settlement.kind,
        results={key: outcome_to_wire(outcome) for key, outcome in settlement.results.items()},
        bets_total=settlement.bets_total,
        bets_done=settlement.bets_done,
        requested_at=settlement.requested_at,
        finished_at=settlement.finished_at,
    )
