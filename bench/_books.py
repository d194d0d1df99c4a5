"""Players, a market and bets to measure with, put on record through the platform's own stores and flows."""

from datetime import UTC, datetime, timedelta

from touchline.adapters.system import SystemChance, SystemClock
from touchline.adapters.tokens import Tokens
from touchline.architectures.poll import Poll
from touchline.architectures.settings import Settings
from touchline.core.account import Role
from touchline.core.event import EventStatus
from touchline.core.feed import FixtureChange, OddsChange, PricedSelection
from touchline.core.funds import MoveFunds
from touchline.core.ids import EventId, MarketId, MessageId, PlayerId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.ports import Credentials

MARKET = MarketId("bench:match-odds")
EVENT = EventId("bench")
FUNDS_MINOR = 10**11


def token(settings: Settings, player_id: PlayerId) -> str:
    """Return a token of `player_id`, as a login would."""
    clock = SystemClock()
    tokens = Tokens(settings.token_secret, timedelta(seconds=settings.token_ttl_s), 1, clock)
    return tokens.issue(player_id, Role.PLAYER, SystemChance().uuid(), clock.now())[0]


async def open_market(poll: Poll, market_id: MarketId = MARKET) -> None:
    """Put a live market on record."""
    at = datetime.now(UTC)
    prices = {"home": 2_100, "draw": 3_400, "away": 3_750}
    await poll.platform.feed.apply_all(
        [
            FixtureChange(
                message_id=MessageId(f"{market_id}-1"),
                occurred_at=at,
                event_id=EVENT,
                name="A v B",
                status=EventStatus.LIVE,
            ),
            OddsChange(
                message_id=MessageId(f"{market_id}-2"),
                occurred_at=at,
                event_id=EVENT,
                market_id=market_id,
                name="Match odds",
                selections=tuple(
                    PricedSelection(selection_id=SelectionId(key), name=key.title(), odds_milli=odds)
                    for key, odds in prices.items()
                ),
            ),
        ]
    )


async def open_players(poll: Poll, count: int) -> list[PlayerId]:
    """Open accounts with more money than they can bet."""
    platform = poll.platform
    players = [PlayerId(f"bettor-{number}") for number in range(count)]
    for player_id in players:
        credentials = Credentials(player_id, Role.PLAYER, "none", None)
        await platform.accounts.register(credentials, player_id, platform.currency, platform.clock.now())
        await platform.funds.move(
            MoveFunds(
                move_id=platform.chance.uuid(),
                player_id=player_id,
                kind=TransferKind.DEPOSIT,
                amount_minor=FUNDS_MINOR,
                idempotency_key="bench",
            )
        )
    return players
