"""The ladder on V0: what each mitigation puts in a store's place, where the settings ask for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from touchline.adapters.cached_odds import CachedMarkets, CachedSettlements
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.settlements import PostgresSettlements
from touchline.adapters.valkey.odds import ValkeyOdds
from touchline.architectures.settings import Settings
from touchline.edge.http.meters import Meters
from touchline.ports import Clock


@asynccontextmanager
async def market_stores(
    settings: Settings, database: Database, clock: Clock, meters: Meters
) -> AsyncIterator[tuple[PostgresMarkets, PostgresSettlements]]:
    """Yield the stores that change and read markets; with `odds_cache` polls of a market read Valkey."""
    if settings.odds_cache == "none":
        markets = PostgresMarkets(database, clock)
        yield markets, PostgresSettlements(database, markets)
        return
    cache = ValkeyOdds(settings.valkey, settings.valkey_timeout_ms)
    meters.watch("counter", "touchline_odds_cache_hits", "Polls answered by the odds cache", lambda: cache.hits)
    meters.watch("counter", "touchline_odds_cache_misses", "Polls that it could not answer", lambda: cache.misses)
    cached = CachedMarkets(database, clock, cache)
    try:
        yield cached, CachedSettlements(database, cached, cache)
    finally:
        await cache.close()
