"""The ladder on V0: what each mitigation puts in a store's place, where the settings ask for it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from touchline.adapters.cached_odds import CachedMarkets, CachedSettlements
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.guarded import GuardedDatabase
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.settlements import PostgresSettlements
from touchline.adapters.valkey.known import ValkeyKnownOdds
from touchline.adapters.valkey.odds import ValkeyOdds
from touchline.architectures.settings import Settings
from touchline.edge.http.meters import Meters
from touchline.flows.serve_known_odds import KnownOddsServing, LastKnown
from touchline.flows.serve_odds import OddsServing
from touchline.ports import Clock


class OddsStores(NamedTuple):
    """What changes markets and reads them, and how polls are answered."""

    markets: PostgresMarkets
    settlements: PostgresSettlements
    serving: OddsServing


async def connect(settings: Settings, name: str, meters: Meters) -> Database:
    """Return PostgreSQL for a process that it shows as `name`; with `odds_breaker` it is behind a breaker."""
    kind = GuardedDatabase if settings.odds_breaker else Database
    database = await kind.connect(
        settings.postgres,
        pool_size=settings.pool_size,
        waiters_max=settings.pool_waiters_max,
        wait_s=settings.pool_wait_s,
        name=name,
    )
    if isinstance(database, GuardedDatabase):
        guarded = database
        meters.watch("gauge", "touchline_db_breaker_open", "Whether it is open", lambda: guarded.is_away)
    return database


@asynccontextmanager
async def odds_stores(
    settings: Settings, database: Database, clock: Clock, meters: Meters
) -> AsyncIterator[OddsStores]:
    """Yield the stores of markets; with `odds_cache` polls of a market read Valkey."""
    async with _serving(settings, clock, meters) as serve:
        if settings.odds_cache == "none":
            markets = PostgresMarkets(database, clock)
            yield OddsStores(markets, PostgresSettlements(database, markets), serve(markets))
            return
        cache = ValkeyOdds(settings.valkey, settings.valkey_timeout_ms)
        hits, misses = "Polls answered by the odds cache", "Polls that it could not answer"
        meters.watch("counter", "touchline_odds_cache_hits", hits, lambda: cache.hits)
        meters.watch("counter", "touchline_odds_cache_misses", misses, lambda: cache.misses)
        cached = CachedMarkets(database, clock, cache)
        try:
            yield OddsStores(cached, CachedSettlements(database, cached, cache), serve(cached))
        finally:
            await cache.close()


@asynccontextmanager
async def _serving(
    settings: Settings, clock: Clock, meters: Meters
) -> AsyncIterator[Callable[[PostgresMarkets], OddsServing]]:
    """Yield how polls are answered of a store; with `odds_breaker` as last known where it is away."""
    if not settings.odds_breaker:
        yield OddsServing
        return
    shared = ValkeyKnownOdds(settings.valkey, settings.valkey_timeout_ms)
    known = LastKnown(shared, clock)
    meters.watch("counter", "touchline_odds_stale", "Answers as last known", lambda: known.stale_answers)
    try:
        yield lambda markets: KnownOddsServing(markets, known)
    finally:
        await shared.close()
