"""What every architecture is wired of alike, over whichever stores it picks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Any, Final

from touchline.adapters.passwords import Passwords
from touchline.adapters.postgres.database import Database
from touchline.adapters.system import SystemChance, SystemClock
from touchline.adapters.tokens import Tokens
from touchline.adapters.valkey.activity import ValkeyServers
from touchline.adapters.valkey.presence import ValkeyPresence
from touchline.adapters.valkey.sessions import ValkeySessions
from touchline.architectures.demo import open_demo_accounts
from touchline.architectures.parts import Listening
from touchline.architectures.settings import Settings
from touchline.core.acceptance import Rules
from touchline.core.errors import Outage
from touchline.core.rates import RateRules
from touchline.edge.garbage import collect_seldom
from touchline.edge.http import accounts, betting, trading
from touchline.edge.http.app import HttpApp
from touchline.edge.http.meters import Meters
from touchline.edge.http.operations import Operation
from touchline.edge.http.pages import pages
from touchline.edge.http.platform import Platform
from touchline.edge.http.service import Readiness, service_operations
from touchline.edge.metering import FeedMeters, ValkeyMeters
from touchline.edge.serving import Work, serve
from touchline.edge.workers import count_players, hear_revocations
from touchline.flows.ingest_feed import FeedIngestion
from touchline.flows.move_funds import FundsMoving
from touchline.flows.place_bet import Placing
from touchline.flows.protect_player import PlayerProtection
from touchline.flows.read_balance import BalanceReading
from touchline.flows.serve_odds import OddsServing
from touchline.flows.settle_market import MarketTrading
from touchline.flows.sign_in import SigningIn
from touchline.ports import AccountStore, BetStore, MarketStore, SessionCache, SettlementStore

OPERATIONS: Final = (*betting.OPERATIONS, *accounts.OPERATIONS, *trading.OPERATIONS)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a process has of its own: its clock, its randomness, its meters, its password hashing."""

    clock: SystemClock
    chance: SystemChance
    meters: Meters
    feed_meters: FeedMeters
    passwords: Passwords

    @classmethod
    def fresh(cls) -> "Surroundings":
        """Return those of a process that begins."""
        clock = SystemClock()
        return cls(clock, SystemChance(), Meters(), FeedMeters(clock), Passwords())


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The stores that an architecture picks, how it places bets and how it answers polls of one market."""

    markets: MarketStore
    settlements: SettlementStore
    bets: BetStore
    accounts: AccountStore
    sessions: SessionCache
    placing: Placing
    odds: OddsServing


def rules_of(settings: Settings) -> Rules:
    """Return the book's bounds."""
    return Rules(
        stake_min_minor=settings.stake_min_minor,
        stake_max_minor=settings.stake_max_minor,
        exposure_max_minor=settings.exposure_max_minor,
        odds_tolerance_pct=Fraction(settings.odds_tolerance_pct),
    )


def rate_of(settings: Settings) -> RateRules:
    """Return how often a player may bet."""
    window = timedelta(milliseconds=settings.velocity_window_ms)
    return RateRules(settings.bets_per_minute_max, settings.velocity_bets, window)


def sessions_of(settings: Settings) -> ValkeySessions:
    """Return the session cache."""
    return ValkeySessions(
        settings.valkey,
        timeout_ms=settings.valkey_timeout_ms,
        ttl_s=settings.session_ttl_s,
        bets_per_minute_max=settings.bets_per_minute_max,
        velocity_bets=settings.velocity_bets,
        velocity_window_ms=settings.velocity_window_ms,
    )


def tokens_of(settings: Settings, clock: SystemClock) -> Tokens:
    """Return what issues and verifies tokens."""
    ttl = timedelta(seconds=settings.token_ttl_s)
    return Tokens(settings.token_secret, ttl, settings.verified_tokens_max, clock)


def platform_over(
    settings: Settings, stores: Stores, around: Surroundings, *, keys_required: bool
) -> Platform:
    """Wire the flows over `stores`; see `Platform` for the choice."""
    markets, accounts, sessions, clock = stores.markets, stores.accounts, stores.sessions, around.clock
    tokens = tokens_of(settings, clock)
    return Platform(
        markets=markets,
        bets=stores.bets,
        accounts=accounts,
        tokens=tokens,
        clock=clock,
        chance=around.chance,
        odds=stores.odds,
        placing=stores.placing,
        balances=BalanceReading(accounts, sessions, clock),
        funds=FundsMoving(accounts, sessions),
        protection=PlayerProtection(accounts, clock, timedelta(seconds=settings.token_ttl_s)),
        signing_in=SigningIn(
            accounts=accounts,
            tokens=tokens,
            passwords=around.passwords,
            clock=clock,
            chance=around.chance,
            currency=settings.currency,
            failures_max=settings.login_failures_max,
            lock_for=timedelta(seconds=settings.login_lock_s),
            demo=settings.demo,
        ),
        trading=MarketTrading(markets, stores.settlements, clock),
        feed=FeedIngestion(markets, stores.settlements, clock, around.feed_meters),
        meters=around.meters,
        currency=settings.currency,
        odds_etag=settings.odds_etag,
        keys_required=keys_required,
    )


def watch(meters: Meters, settings: Settings, database: Database, sessions: ValkeySessions) -> None:
    """Expose how full the pool is, and how well the session cache serves."""
    meters.watch("gauge", "touchline_db_connections", "Connections open", lambda: database.connections)
    meters.watch("gauge", "touchline_db_connections_in_use", "Connections at work", lambda: database.in_use)
    meters.watch("gauge", "touchline_db_connections_max", "Connections at most", lambda: settings.pool_size)
    meters.watch("gauge", "touchline_db_waiting", "Requests that wait for one", lambda: database.waiting)
    meters.watch("counter", "touchline_session_hits", "Balances found in the session", lambda: sessions.hits)
    meters.watch("counter", "touchline_session_misses", "Balances not in the session", lambda: sessions.misses)
    meters.watch("counter", "touchline_session_outages", "Looks it did not answer", lambda: sessions.outages)


def watch_valkeys(meters: Meters, urls: Mapping[str, str]) -> None:
    """Expose what each Valkey says of itself; `urls` are by what it is for."""
    told = ValkeyMeters(ValkeyServers(urls).read)
    meters.include(told, told.refresh)


async def open_and_warm(settings: Settings, platform: Platform, passwords: Passwords) -> None:
    """Open the demo accounts where there are to be any, and warm the session cache where it is there."""
    if settings.demo:
        await open_demo_accounts(platform, passwords)
    try:
        await platform.balances.warm()
    except Outage as outage:
        logging.getLogger("touchline").warning("sessions are not warmed: %s", outage)


def pod_works(settings: Settings, platform: Platform, feed_meters: FeedMeters) -> dict[str, Work]:
    """Return what a pod does beside its requests, and expose what it counts."""
    platform.meters.expose_players()
    platform.meters.include(feed_meters)
    return {
        "revocations": lambda: hear_revocations(platform.accounts, platform.tokens),
        "players": lambda: _count_players(settings, platform),
    }


async def _count_players(settings: Settings, platform: Platform) -> None:
    presence = ValkeyPresence(settings.valkey, timeout_ms=settings.valkey_timeout_ms)
    try:
        await count_players(platform.meters.audience, presence, platform.clock)
    finally:
        await presence.close()


Around = Callable[[Any, Readiness], Any]  # an ASGI application that stands before another, the pages


async def serve_process(
    platform: Platform,
    listening: Listening,
    works: Callable[[], dict[str, Work]],
    *,
    answers_clients: bool,
    around: Around = lambda shown, _readiness: shown,
    serves: Callable[[], bool] = lambda: True,
    beside: Sequence[Operation] = (),
) -> None:
    """Serve HTTP on the service port of `listening`, with `works` beside it, until told to stop.

    Only a pod answers more than its health. A process is ready while `serves` holds, too. `beside` is described
    with what the table answers.
    """
    readiness = Readiness(serves)
    offered = OPERATIONS if answers_clients else ()
    operations = (*offered, *service_operations(readiness, (*offered, *beside)))
    if answers_clients:
        collect_seldom()
    application = HttpApp(platform, operations, around(pages(), readiness))
    await serve(application, listening.service_port, readiness, works(), listening.host)


def log_to_stderr() -> None:
    """Log as every process of the platform does."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
