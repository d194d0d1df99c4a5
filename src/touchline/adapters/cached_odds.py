"""Markets whose polls are read from a cache: whatever changes one changes it there in the same step.

Invariant: every way in which a market's row can change goes through here; a change that went past the cache would
leave polls behind.
"""

from collections.abc import Callable, Sequence

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.settlements import PostgresSettlements
from touchline.adapters.valkey.odds import ValkeyOdds
from touchline.core.errors import Rejection
from touchline.core.ids import EventId, MarketId, MessageId
from touchline.core.market import Market
from touchline.core.settlement import Plan, Settlement
from touchline.ports import Clock
from touchline.wire.odds_v1 import PolledMarketV1


class CachedMarkets(PostgresMarkets):
    """The `MarketStore` port over PostgreSQL, its polls over a cache."""

    def __init__(self, database: Database, clock: Clock, cache: ValkeyOdds) -> None:
        super().__init__(database, clock)
        self._cache = cache

    async def poll(self, market_id: MarketId) -> PolledMarketV1 | None:
        """See `ports.MarketStore`."""
        return await self._cache.poll(market_id, super().poll)

    async def change_market(
        self,
        market_id: MarketId,
        event_id: EventId | None,
        change: Callable[[Market | None], Market | None],
        message_id: MessageId | None = None,
    ) -> Market | None:
        """See `ports.MarketStore`."""
        async with self._cache.changing(market_id) as keep:
            changed = await super().change_market(market_id, event_id, change, message_id)
            if changed is not None:
                keep(changed)
        return changed


class CachedSettlements(PostgresSettlements):
    """The `SettlementStore` port over PostgreSQL, where polls are read from a cache."""

    def __init__(self, database: Database, markets: PostgresMarkets, cache: ValkeyOdds) -> None:
        super().__init__(database, markets)
        self._cache = cache

    async def request(
        self,
        market_id: MarketId,
        plan: Callable[[Market, Sequence[Settlement]], Plan | Rejection | None],
        message_id: MessageId | None = None,
    ) -> Plan | Rejection | None:
        """See `ports.SettlementStore`."""
        async with self._cache.changing(market_id) as keep:
            answer = await super().request(market_id, plan, message_id)
            if isinstance(answer, Plan):
                keep(answer.market)
        return answer
