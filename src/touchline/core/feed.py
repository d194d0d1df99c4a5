"""What a feed says, in the industry's names; every message is idempotent by its id.

`occurred_at` is the source's time, never ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from touchline.core.errors import Code, Rejection
from touchline.core.event import EventStatus
from touchline.core.ids import EventId, MarketId, MessageId, SelectionId
from touchline.core.market import MarketStatus, SelectionStatus
from touchline.core.settlement import Results

# Of our clock: until then no later price of the market would stand. A source that tells the time of its own zone
# is still heard.
AHEAD_MAX: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedSelection:
    """A selection in an odds change; a field that is None leaves what is known as it is."""

    selection_id: SelectionId
    name: str | None = None
    odds_milli: int | None = None
    status: SelectionStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedMessage:
    """What every message carries."""

    message_id: MessageId
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OddsChange(FeedMessage):
    """New prices or a new status of one market; it creates the market, and its event, where they are not known.

    Selections that it does not name stay as they are. `status` None keeps the market's status, save that a
    new market starts active. A suspended selection, or one without odds, can't be backed.
    """

    event_id: EventId
    market_id: MarketId
    selections: tuple[PricedSelection, ...]
    name: str | None = None
    market_type: str | None = None
    status: MarketStatus | None = None  # active, suspended or closed
    bet_delay_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BetStop(FeedMessage):
    """Suspend one market, or every market of the event where `market_id` is None."""

    event_id: EventId
    market_id: MarketId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BetSettlement(FeedMessage):
    """The results of a market; the same results again change nothing, other results correct the first."""

    event_id: EventId
    market_id: MarketId
    results: Results


@dataclass(frozen=True, slots=True, kw_only=True)
class BetCancel(FeedMessage):
    """Void a market; with a window, only its bets placed from `placed_from` until before `placed_until`."""

    event_id: EventId
    market_id: MarketId
    placed_from: datetime | None = None
    placed_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBetSettlement(FeedMessage):
    """Take a market's settlement back."""

    event_id: EventId
    market_id: MarketId


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBetCancel(FeedMessage):
    """Take a market's newest cancellation back."""

    event_id: EventId
    market_id: MarketId


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureChange(FeedMessage):
    """What is known of the event itself; a field that is None leaves what is known as it is."""

    event_id: EventId
    name: str | None = None
    sport: str | None = None
    competition: str | None = None
    status: EventStatus | None = None
    start_time: datetime | None = None
    score: str | None = None
    clock: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive(FeedMessage):
    """The source lives."""


AnyMessage = (
    OddsChange
    | BetStop
    | BetSettlement
    | BetCancel
    | RollbackBetSettlement
    | RollbackBetCancel
    | FixtureChange
    | Alive
)


def check_not_ahead(messages: Sequence[AnyMessage], now: datetime) -> None:
    """Refuse messages of which one occurred more than `AHEAD_MAX` after `now`; how long ago is all the same.

    Raises:
        Rejection: MALFORMED, naming the message by its place (from 1).
    """
    for place, message in enumerate(messages, start=1):
        if message.occurred_at - now > AHEAD_MAX:
            what = f"message {place}: occurred_at is more than a day ahead of our clock"
            raise Rejection(Code.MALFORMED, what, field="occurred_at", message=place)
