"""Work that runs beside requests or in a process of its own; after an `Outage` it begins anew."""

import asyncio
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from typing import Final, Protocol

from touchline.core.errors import Outage
from touchline.core.event import EventStatus
from touchline.core.feed import AnyMessage
from touchline.core.ids import EventId
from touchline.edge.http.meters import Audience
from touchline.flows.ingest_feed import FeedIngestion
from touchline.ports import LIVE_STEP_S, AccountStore, Clock, MarketStore, Presence, Tokens

# A source that is away sends again what it could not; none does so a month later.
MESSAGES_KEPT: Final = timedelta(days=30)
FORGOTTEN_AT_ONCE_MAX: Final = 5_000
FORGET_EVERY_S: Final = 3600


class Feed(Protocol):
    """A source of messages that paces itself."""

    def messages(self, open_event_ids: Collection[EventId]) -> AsyncIterator[list[AnyMessage]]:
        """Yield messages as they are due, first what ends those of `open_event_ids` that are over by now."""


async def ingest(feed: Feed, markets: MarketStore, ingestion: FeedIngestion) -> None:
    """Apply what `feed` says, for ever."""
    unended = [await markets.events(status) for status in (EventStatus.SCHEDULED, EventStatus.LIVE)]
    open_event_ids = [event.event_id for events in unended for event, _ in events]
    async for messages in feed.messages(open_event_ids):
        await ingestion.apply_all(messages)


async def forget_old_messages(markets: MarketStore, clock: Clock) -> None:
    """Forget feed messages that are too old to come again, for ever; what they did stays."""
    while True:
        while await markets.forget_messages(clock.now() - MESSAGES_KEPT, FORGOTTEN_AT_ONCE_MAX):
            pass
        await asyncio.sleep(FORGET_EVERY_S)


async def count_players(audience: Audience, presence: Presence, clock: Clock) -> None:
    """Tell the other pods whom this one hears of, and learn how many all hear of, for ever."""
    while True:
        try:
            audience.tell(await presence.live(audience.take(), clock.now()))
        except Outage:
            audience.tell(None)  # until the pods hear of each other again, each counts its own
        await asyncio.sleep(LIVE_STEP_S)


async def hear_revocations(accounts: AccountStore, tokens: Tokens) -> None:
    """Refuse revoked tokens in this process, those revoked before it began too, for ever."""
    async for revocation in accounts.revocations():
        tokens.revoke(revocation)
