"""Events, markets and prices as clients read them. Odds are decimal strings."""

from datetime import datetime
from typing import Final

import msgspec

from touchline.core.event import Event, EventStatus
from touchline.core.ids import EventId, MarketId, SelectionId
from touchline.core.market import Market, MarketStatus, Selection, SelectionStatus
from touchline.core.price import format_odds, parse_odds_milli


class SelectionV1(msgspec.Struct, frozen=True):
    """A selection; `odds` is None while it has no price. This is also what the odds table's jsonb holds."""

    selection_id: SelectionId
    name: str
    odds: str | None
    status: SelectionStatus


class MarketV1(msgspec.Struct, frozen=True):
    """A market as `GET /odds/{market_id}` answers it.

    `stale_since` is there only where its authority is away: the instant at which it was last known to stand.
    """

    market_id: MarketId
    event_id: EventId
    name: str
    market_type: str
    status: MarketStatus
    odds_version: int
    selections: list[SelectionV1]
    bet_delay_ms: int
    updated_at: datetime
    stale_since: datetime | msgspec.UnsetType = msgspec.UNSET


class PolledMarketV1(msgspec.Struct, frozen=True):
    """A `MarketV1` whose selections are still the JSON of its authority, so that a poll re-reads nothing."""

    market_id: MarketId
    event_id: EventId
    name: str
    market_type: str
    status: str
    odds_version: int
    selections: msgspec.Raw
    bet_delay_ms: int
    updated_at: datetime
    stale_since: datetime | msgspec.UnsetType = msgspec.UNSET


class EventV1(msgspec.Struct, frozen=True):
    """An event with its markets."""

    event_id: EventId
    name: str
    sport: str
    competition: str
    status: EventStatus
    start_time: datetime | None
    score: str | None
    clock: str | None
    markets: list[MarketV1]


class EventsV1(msgspec.Struct, frozen=True):
    """The answer of `GET /events`."""

    events: list[EventV1]


class ChangesV1(msgspec.Struct, frozen=True):
    """The answer of `GET /odds?since=CURSOR`: a market may come twice, never with an older version."""

    cursor: str
    markets: list[MarketV1]


def selections_to_wire(selections: tuple[Selection, ...]) -> list[SelectionV1]:
    """Return selections as they go out."""
    return [
        SelectionV1(s.selection_id, s.name, None if s.odds_milli is None else format_odds(s.odds_milli), s.status)
        for s in selections
    ]


def selections_from_wire(selections: list[SelectionV1]) -> tuple[Selection, ...]:
    """Return selections as the core holds them; the inverse of `selections_to_wire`."""
    return tuple(
        Selection(s.selection_id, s.name, None if s.odds is None else parse_odds_milli("odds", s.odds), s.status)
        for s in selections
    )


def market_to_wire(market: Market) -> MarketV1:
    """Return a market as it goes out."""
    return MarketV1(
        market_id=market.market_id,
        event_id=market.event_id,
        name=market.name,
        market_type=market.market_type,
        status=market.status,
        odds_version=market.odds_version,
        selections=selections_to_wire(market.selections),
        bet_delay_ms=market.bet_delay_ms,
        updated_at=market.updated_at,
    )


def market_to_polled(market: Market) -> PolledMarketV1:
    """Return a market as a poll answers it."""
    return wire_to_polled(market_to_wire(market))


def wire_to_polled(market: MarketV1) -> PolledMarketV1:
    """Return a market as a poll answers it; the inverse of `polled_to_wire`."""
    return PolledMarketV1(
        market_id=market.market_id,
        event_id=market.event_id,
        name=market.name,
        market_type=market.market_type,
        status=market.status.value,
        odds_version=market.odds_version,
        selections=msgspec.Raw(msgspec.json.encode(market.selections)),
        bet_delay_ms=market.bet_delay_ms,
        updated_at=market.updated_at,
        stale_since=market.stale_since,
    )


def polled_to_wire(market: PolledMarketV1) -> MarketV1:
    """Return a polled market with its selections read."""
    return MarketV1(
        market_id=market.market_id,
        event_id=market.event_id,
        name=market.name,
        market_type=market.market_type,
        status=MarketStatus(market.status),
        odds_version=market.odds_version,
        selections=_decode_selections(market.selections),
        bet_delay_ms=market.bet_delay_ms,
        updated_at=market.updated_at,
        stale_since=market.stale_since,
    )


def event_to_wire(event: Event, markets: list[Market]) -> EventV1:
    """Return an event with its markets as they go out."""
    return EventV1(
        event_id=event.event_id,
        name=event.name,
        sport=event.sport,
        competition=event.competition,
        status=event.status,
        start_time=event.start_time,
        score=event.score,
        clock=event.clock,
        markets=[market_to_wire(market) for market in markets],
    )


_decode_selections: Final = msgspec.json.Decoder(list[SelectionV1]).decode
