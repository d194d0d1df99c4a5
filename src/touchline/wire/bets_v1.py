"""Bets on the wire. Money and odds are decimal strings in answers, strings or numbers in requests."""

from datetime import datetime

import msgspec

from touchline.core.bet import Accept, Bet, BetResult, BetStatus, PlaceBet
from touchline.core.errors import Code, Rejection
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId, check_id, check_key
from touchline.core.money import format_minor, parse_minor
from touchline.core.price import format_odds, parse_odds_milli
from touchline.wire.decimals import decimal_text
from touchline.wire.instants import utc

ODDS_VERSION_MAX = 2**31 - 1


class PlaceBetV1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /bets`."""

    market_id: str
    selection_id: str
    odds: msgspec.Raw
    odds_version: int
    stake: msgspec.Raw
    idempotency_key: str | None = None
    accept: Accept = Accept.NONE
    valid_until: datetime | None = None


class BetV1(msgspec.Struct, frozen=True):
    """A bet as its owner reads it."""

    bet_id: BetId
    market_id: MarketId
    event_id: EventId
    selection_id: SelectionId
    odds: str
    odds_version: int
    stake: str
    currency: str
    potential_payout: str
    status: BetStatus
    result: BetResult | None
    payout: str | None
    placed_at: datetime
    settled_at: datetime | None
    idempotency_key: str | None


class BetsV1(msgspec.Struct, frozen=True):
    """A page of bets, newest first; `cursor` is None on the last page."""

    bets: list[BetV1]
    cursor: str | None


def place_bet_from_wire(body: PlaceBetV1, player_id: PlayerId, bet_id: BetId, currency: str) -> PlaceBet:
    """Return the request in the core's terms.

    Raises:
        Rejection: MALFORMED, naming the field.
    """
    if not 1 <= body.odds_version <= ODDS_VERSION_MAX:
        raise Rejection(Code.MALFORMED, "odds_version must be a positive integer", field="odds_version")
    key = body.idempotency_key
    return PlaceBet(
        bet_id=bet_id,
        player_id=player_id,
        market_id=MarketId(check_id("market_id", body.market_id)),
        selection_id=SelectionId(check_id("selection_id", body.selection_id)),
        odds_milli=parse_odds_milli("odds", decimal_text("odds", body.odds)),
        odds_version=body.odds_version,
        stake_minor=parse_minor("stake", decimal_text("stake", body.stake), currency),
        idempotency_key=None if key is None else check_key("idempotency_key", key),
        accept=body.accept,
        valid_until=None if body.valid_until is None else utc("valid_until", body.valid_until),
    )


def bet_to_wire(bet: Bet) -> BetV1:
    """Return a bet as it goes out to its owner."""
    return BetV1(
        bet_id=bet.bet_id,
        market_id=bet.market_id,
        event_id=bet.event_id,
        selection_id=bet.selection_id,
        odds=format_odds(bet.odds_milli),
        odds_version=bet.odds_version,
        stake=format_minor(bet.stake_minor, bet.currency),
        currency=bet.currency,
        potential_payout=format_minor(bet.potential_payout_minor, bet.currency),
        status=bet.status,
        result=bet.result,
        payout=None if bet.payout_minor is None else format_minor(bet.payout_minor, bet.currency),
        placed_at=bet.placed_at,
        settled_at=bet.settled_at,
        idempotency_key=bet.idempotency_key,
    )
