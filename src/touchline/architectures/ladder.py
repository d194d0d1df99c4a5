"""The ladder on V0: what each mitigation puts in a store's place, where the settings ask for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from touchline.adapters.cached_odds import CachedMarkets, CachedSettlements
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.guarded import GuardedDatabase
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.replica import ReplicaMarkets, ReplicaWatch
from touchline.adapters.postgres.settlements import PostgresSettlements
from touchline.adapters.valkey.known import ValkeyKnownOdds
from touchline.adapters.valkey.odds import ValkeyOdds
from touchline.architectures.settings import Settings, SettingsWrong
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
        pooler_dsn=_address("TOUCHLINE_POOLER", settings.pooler),
    )
    if isinstance(database, GuardedDatabase):
        guarded = database
        meters.watch("gauge", "touchline_db_breaker_open", "Whether it is open", lambda: guarded.is_away)
    return database


@asynccontextmanager
async def odds_stores(
    settings: Settings, database: Database, clock: Clock, meters: Meters
) -> AsyncIterator[OddsStores]:
    """Yield the stores of markets; polls of one read Valkey with `odds_cache`, else a replica with that."""
    async with _serving(settings, clock, meters) as serve:
        if settings.odds_cache == "redis":
            # What fills the cache must be the authority: a replica's older version would stay in it.
            async with _cache(settings, meters) as cache:
                cached = CachedMarkets(database, clock, cache)
                yield OddsStores(cached, CachedSettlements(database, cached, cache), serve(cached))
        elif settings.read_replica != "none":
            async with _replica(settings, database, meters) as replica:
                read = ReplicaMarkets(database, clock, replica)
                polls = "Polls answered by the replica"
                meters.watch("counter", "touchline_replica_polls", polls, lambda: read.polls)
                yield OddsStores(read, PostgresSettlements(database, read), serve(read))
        else:
            markets = PostgresMarkets(database, clock)
            yield OddsStores(markets, PostgresSettlements(database, markets), serve(markets))


@asynccontextmanager
async def _cache(settings: Settings, meters: Meters) -> AsyncIterator[ValkeyOdds]:
    cache = ValkeyOdds(settings.valkey, settings.valkey_timeout_ms)
    hits, misses = "Polls answered by the odds cache", "Polls that it could not answer"
    meters.watch("counter", "touchline_odds_cache_hits", hits, lambda: cache.hits)
    meters.watch("counter", "touchline_odds_cache_misses", misses, lambda: cache.misses)
    try:
        yield cache
    finally:
        await cache.close()


@asynccontextmanager
async def _replica(settings: Settings, primary: Database, meters: Meters) -> AsyncIterator[ReplicaWatch]:
    """Yield a replica that is watched from its first poll on."""
    dsn = _address("TOUCHLINE_READ_REPLICA", settings.read_replica)
    database = await Database.connect(
        dsn,
        pool_size=settings.pool_size,
        waiters_max=settings.pool_waiters_max,
        wait_s=settings.pool_wait_s,
        name="polls",
    )
    replica = ReplicaWatch(primary, database)
    meters.watch("gauge", "touchline_replica_lag_seconds", "How far behind it was", lambda: replica.lag_s)
    meters.watch("gauge", "touchline_replica_usable", "Whether polls may read it", lambda: replica.is_usable)
    try:
        async with asyncio.TaskGroup() as group:
            following = group.create_task(replica.follow())
            try:
                yield replica
            finally:
                following.cancel()
    finally:
        await database.close()


def _address(variable: str, value: str) -> str:
    """Return the DSN of a part, empty for none.

    Raises:
        SettingsWrong: it names a part of a platform's own, that only `touchline up` starts.
    """
    if value == "none":
        return ""
    if "://" not in value:
        raise SettingsWrong([f"{variable}={value}: only `touchline up` starts one; name one that runs by its DSN"])
    return value


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
