"""A plain market, player and bet, from which a test departs by `dataclasses.replace` or a keyword."""

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import UUID

from tests.clock import NOON
from touchline.core.acceptance import Position, Rules
from touchline.core.account import Account
from touchline.core.bet import Accept, Bet, BetResult, BetStatus, PlaceBet
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId
from touchline.core.ledger import Wallet
from touchline.core.market import Market, MarketStatus, Selection, SelectionStatus
from touchline.core.settlement import Outcome, Settlement, SettlementKind

ALICE = PlayerId("alice")
EVENT = EventId("match-1")
MARKET = MarketId("match-1:1x2")
HOME, DRAW, AWAY = SelectionId("home"), SelectionId("draw"), SelectionId("away")
SECOND = timedelta(seconds=1)
RULES = Rules(stake_min_minor=10, stake_max_minor=100_000, exposure_max_minor=1_000_000)


def market(**changed: Any) -> Market:
    """An active market of three, home at 2.50, at version 7."""
    plain = Market(
        market_id=MARKET,
        event_id=EVENT,
        name="Match result",
        market_type="MATCH_ODDS",
        status=MarketStatus.ACTIVE,
        odds_version=7,
        selections=(
            Selection(HOME, "Home", 2_500),
            Selection(DRAW, "Draw", 3_200),
            Selection(AWAY, "Away", 3_100, SelectionStatus.ACTIVE),
        ),
        bet_delay_ms=0,
        priced_at=NOON,
        updated_at=NOON,
    )
    return replace(plain, **changed)


def account(**changed: Any) -> Account:
    """Alice with 1,000.00 EUR."""
    return replace(Account(player_id=ALICE, currency="EUR", wallet=Wallet(100_000)), **changed)


def place_bet(**changed: Any) -> PlaceBet:
    """10.00 on home at what `market` offers."""
    plain = PlaceBet(
        bet_id=BetId(UUID(int=1)),
        player_id=ALICE,
        market_id=MARKET,
        selection_id=HOME,
        odds_milli=2_500,
        odds_version=7,
        stake_minor=1_000,
        idempotency_key="k1",
    )
    return replace(plain, **changed)


def position(**changed: Any) -> Position:
    """All that `place_bet` needs to be accepted."""
    return replace(Position(account=account(), market=market(), rules=RULES, now=NOON), **changed)


def bet(**changed: Any) -> Bet:
    """`place_bet` accepted, still open."""
    plain = Bet(
        bet_id=BetId(UUID(int=1)),
        player_id=ALICE,
        event_id=EVENT,
        market_id=MARKET,
        selection_id=HOME,
        odds_milli=2_500,
        odds_version=7,
        stake_minor=1_000,
        currency="EUR",
        status=BetStatus.PLACED,
        placed_at=NOON,
        idempotency_key="k1",
        requested_odds_milli=2_500,
        requested_odds_version=7,
        requested_accept=Accept.NONE,
    )
    return replace(plain, **changed)


def outcome(result: str, void: str = "0", dead_heat: str = "1") -> Outcome:
    """An outcome with its factors in words."""
    return Outcome(BetResult(result), Fraction(void), Fraction(dead_heat))


HOME_WON = {HOME: outcome("won"), DRAW: outcome("lost"), AWAY: outcome("lost")}
DRAWN = {HOME: outcome("lost"), DRAW: outcome("won"), AWAY: outcome("lost")}


def settlement(kind: SettlementKind, settlement_id: int = 1, at: datetime = NOON, **changed: Any) -> Settlement:
    """A settlement of `MARKET` on record."""
    plain = Settlement(
        settlement_id=settlement_id,
        market_id=MARKET,
        kind=kind,
        results=HOME_WON if kind is SettlementKind.SETTLE else {},
        requested_at=at,
    )
    return replace(plain, **changed)
