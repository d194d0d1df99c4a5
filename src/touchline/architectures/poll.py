"""V0 `poll`: the naive sportsbook. Clients poll, PostgreSQL is asked each time, one transaction a bet.

The whole composition is on this page: which adapter stands behind which port, and which process does what.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Final, NamedTuple

import uvloop

from touchline.adapters.feeds.demo import DemoFeed
from touchline.adapters.passwords import Passwords
from touchline.adapters.postgres.accounts import PostgresAccounts
from touchline.adapters.postgres.activity import read_activity
from touchline.adapters.postgres.bets import PostgresBets
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.migrations import migrate
from touchline.adapters.postgres.settlements import PostgresSettlements
from touchline.adapters.system import SystemChance, SystemClock
from touchline.adapters.tokens import Tokens
from touchline.adapters.valkey.presence import ValkeyPresence
from touchline.adapters.valkey.sessions import ValkeySessions
from touchline.architectures.demo import open_demo_accounts
from touchline.architectures.ladder import connect, odds_stores
from touchline.architectures.parts import Listening, Serve
from touchline.architectures.settings import Settings
from touchline.core.acceptance import Rules
from touchline.core.errors import Outage
from touchline.edge.http import accounts, betting, trading
from touchline.edge.http.app import HttpApp
from touchline.edge.http.meters import Meters
from touchline.edge.http.pages import pages
from touchline.edge.http.platform import Platform
from touchline.edge.http.service import Readiness, service_operations
from touchline.edge.metering import FeedMeters, ServerMeters, SettlementMeters
from touchline.edge.serving import Work, serve
from touchline.edge.workers import count_players, forget_old_messages, hear_revocations, ingest
from touchline.flows.ingest_feed import FeedIngestion
from touchline.flows.move_funds import FundsMoving
from touchline.flows.place_bet import BetPlacing
from touchline.flows.protect_player import PlayerProtection
from touchline.flows.read_balance import BalanceReading
from touchline.flows.serve_odds import OddsServing
from touchline.flows.settle_market import SET_OF_BETS, MarketTrading, SettlementWork
from touchline.flows.sign_in import SigningIn
from touchline.ports import Clock

OPERATIONS: Final = (*betting.OPERATIONS, *accounts.OPERATIONS, *trading.OPERATIONS)


@dataclass(frozen=True, slots=True)
class Poll:
    """V0 put together: what a pod answers with, and what its workers do."""

    platform: Platform
    passwords: Passwords
    settlement_work: SettlementWork
    feed_meters: FeedMeters
    settlement_meters: SettlementMeters
    server_meters: ServerMeters


class Stores(NamedTuple):
    """What the flows stand on."""

    database: Database
    sessions: ValkeySessions
    markets: PostgresMarkets
    settlements: PostgresSettlements
    odds: OddsServing


@asynccontextmanager
async def assembled(settings: Settings, name: str) -> AsyncIterator[Poll]:
    """Yield V0 over the servers that `settings` name; `name` is what PostgreSQL shows its connections as."""
    passwords, clock, meters = Passwords(), SystemClock(), Meters()
    database = await connect(settings, name, meters)
    sessions = ValkeySessions(
        settings.valkey,
        timeout_ms=settings.valkey_timeout_ms,
        ttl_s=settings.session_ttl_s,
        bets_per_minute_max=settings.bets_per_minute_max,
        velocity_bets=settings.velocity_bets,
        velocity_window_ms=settings.velocity_window_ms,
    )
    _watch(meters, settings, database, sessions)
    try:
        async with odds_stores(settings, database, clock, meters) as odds:
            yield _over(settings, Stores(database, sessions, *odds), passwords, clock, meters)
    finally:
        passwords.close()
        await sessions.close()
        await database.close()


def _over(settings: Settings, stores: Stores, passwords: Passwords, clock: Clock, meters: Meters) -> Poll:
    database, sessions, markets, settlements, odds = stores
    chance = SystemChance()
    rules = Rules(
        stake_min_minor=settings.stake_min_minor,
        stake_max_minor=settings.stake_max_minor,
        exposure_max_minor=settings.exposure_max_minor,
        odds_tolerance_pct=Fraction(settings.odds_tolerance_pct),
    )
    bets = PostgresBets(database, clock, rules)
    players = PostgresAccounts(database, clock)
    token_ttl = timedelta(seconds=settings.token_ttl_s)
    tokens = Tokens(settings.token_secret, token_ttl, settings.verified_tokens_max, clock)
    feed_meters, settlement_meters = FeedMeters(clock), SettlementMeters()
    platform = Platform(
        markets=markets,
        bets=bets,
        accounts=players,
        tokens=tokens,
        clock=clock,
        chance=chance,
        odds=odds,
        placing=BetPlacing(bets, players, sessions, clock, settings.bets_per_minute_max),
        balances=BalanceReading(players, sessions, clock),
        funds=FundsMoving(players, sessions),
        protection=PlayerProtection(players, clock, token_ttl),
        signing_in=SigningIn(
            accounts=players,
            tokens=tokens,
            passwords=passwords,
            clock=clock,
            chance=chance,
            currency=settings.currency,
            failures_max=settings.login_failures_max,
            lock_for=timedelta(seconds=settings.login_lock_s),
            demo=settings.demo,
        ),
        trading=MarketTrading(markets, settlements, clock),
        feed=FeedIngestion(markets, settlements, clock, feed_meters),
        meters=meters,
        currency=settings.currency,
        odds_etag=settings.odds_etag,
        keys_required=settings.idempotency == "required",
    )
    at_once = SET_OF_BETS if settings.settlement == "set" else 1
    work = SettlementWork(settlements, sessions, clock, settlement_meters, at_once)
    server_meters = ServerMeters(lambda: read_activity(database, clock.now()))
    return Poll(platform, passwords, work, feed_meters, settlement_meters, server_meters)


def _watch(meters: Meters, settings: Settings, database: Database, sessions: ValkeySessions) -> None:
    meters.watch("gauge", "touchline_db_connections", "Connections open", lambda: database.connections)
    meters.watch("gauge", "touchline_db_connections_in_use", "Connections at work", lambda: database.in_use)
    meters.watch("gauge", "touchline_db_connections_max", "Connections at most", lambda: settings.pool_size)
    meters.watch("gauge", "touchline_db_waiting", "Requests that wait for one", lambda: database.waiting)
    meters.watch("counter", "touchline_session_hits", "Balances found in the session", lambda: sessions.hits)
    meters.watch("counter", "touchline_session_misses", "Balances not in the session", lambda: sessions.misses)
    meters.watch("counter", "touchline_session_outages", "Looks it did not answer", lambda: sessions.outages)


def prepare(settings: Settings) -> None:
    """Migrate the schema, open the demo accounts where there are to be any, warm the session cache; blocks."""
    uvloop.run(_prepare(settings))


async def _prepare(settings: Settings) -> None:
    await migrate(settings.postgres)
    async with assembled(settings, "prepare") as poll:
        if settings.demo:
            await open_demo_accounts(poll.platform, poll.passwords)
        try:
            await poll.platform.balances.warm()
        except Outage as outage:
            logging.getLogger("touchline").warning("sessions are not warmed: %s", outage)


def serve_pod(settings: Settings, listening: Listening) -> None:
    """Answer clients until told to stop; blocks."""

    def works(poll: Poll) -> dict[str, Work]:
        platform = poll.platform
        platform.meters.expose_players()
        platform.meters.include(poll.feed_meters)
        return {
            "revocations": lambda: hear_revocations(platform.accounts, platform.tokens),
            "players": lambda: _count_players(settings, platform),
        }

    uvloop.run(_serve(settings, listening.service_port, "pod", works))


async def _count_players(settings: Settings, platform: Platform) -> None:
    presence = ValkeyPresence(settings.valkey, timeout_ms=settings.valkey_timeout_ms)
    try:
        await count_players(platform.meters.audience, presence, platform.clock)
    finally:
        await presence.close()


def serve_feed(settings: Settings, listening: Listening) -> None:
    """Bring the demo feed's odds in until told to stop; blocks."""

    def works(poll: Poll) -> dict[str, Work]:
        platform = poll.platform
        platform.meters.include(poll.feed_meters)
        feed = DemoFeed(settings.demo_seed, settings.demo_matches, settings.demo_speed, platform.clock)
        return {"feed": lambda: ingest(feed, platform.markets, platform.feed)}

    uvloop.run(_serve(settings, listening.service_port, "feed", works))


def serve_settlement(settings: Settings, listening: Listening) -> None:
    """Carry settlements out until told to stop; blocks."""

    def works(poll: Poll) -> dict[str, Work]:
        platform = poll.platform
        platform.meters.include(poll.settlement_meters)
        platform.meters.include(poll.server_meters, poll.server_meters.refresh)
        return {
            "settlement": poll.settlement_work.run,
            "forgetting": lambda: forget_old_messages(platform.markets, platform.clock),
        }

    uvloop.run(_serve(settings, listening.service_port, "settlement", works))


async def _serve(settings: Settings, port: int, name: str, works: Callable[[Poll], dict[str, Work]]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    readiness = Readiness()
    async with assembled(settings, name) as poll:
        offered = OPERATIONS if name == "pod" else ()
        application = HttpApp(poll.platform, (*offered, *service_operations(readiness, offered)), pages())
        await serve(application, port, readiness, works(poll))


ROLES: Final[Mapping[str, Serve]] = {"pod": serve_pod, "feed": serve_feed, "settlement": serve_settlement}
