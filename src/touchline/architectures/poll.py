"""V0 `poll`: the naive sportsbook. Clients poll, PostgreSQL is asked each time, one transaction a bet.

The whole composition is on this page: which adapter stands behind which port, and which process does what.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import uvloop

from touchline.adapters.feeds.demo import DemoFeed
from touchline.adapters.passwords import Passwords
from touchline.adapters.postgres.accounts import PostgresAccounts
from touchline.adapters.postgres.activity import read_activity
from touchline.adapters.postgres.bets import PostgresBets
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.migrations import migrate
from touchline.adapters.postgres.shard_directory import has_facts
from touchline.architectures.ladder import connect, odds_stores
from touchline.architectures.parts import Listening, Serve
from touchline.architectures.settings import Settings, SettingsWrong
from touchline.architectures.wiring import (
    Stores,
    Surroundings,
    log_to_stderr,
    open_and_warm,
    platform_over,
    pod_works,
    rules_of,
    serve_process,
    sessions_of,
    watch,
    watch_valkeys,
)
from touchline.core.errors import Outage
from touchline.edge.http.platform import Platform
from touchline.edge.metering import FeedMeters, ServerMeters, SettlementMeters
from touchline.edge.serving import Work
from touchline.edge.workers import forget_old_messages, ingest
from touchline.flows.place_bet import BetPlacing
from touchline.flows.settle_market import SET_OF_BETS_MAX, SettlementWork

GROWN: Final = (
    "these books have grown into --architecture stream, and poll would move money past their facts:"
    " run with --architecture stream, or begin new books with --fresh"
)


@dataclass(frozen=True, slots=True)
class Poll:
    """V0 put together: what a pod answers with, and what its workers do."""

    platform: Platform
    passwords: Passwords
    settlement_work: SettlementWork
    feed_meters: FeedMeters
    settlement_meters: SettlementMeters
    server_meters: ServerMeters


@asynccontextmanager
async def assembled(settings: Settings, name: str) -> AsyncIterator[Poll]:
    """Yield V0 over the servers that `settings` name; `name` is what PostgreSQL shows its connections as.

    Raises:
        SettingsWrong: `stream` has taken these books over.
    """
    around = Surroundings.fresh()
    clock, meters = around.clock, around.meters
    database = await connect(settings, name, meters)
    sessions = sessions_of(settings)
    watch(meters, settings, database, sessions)
    try:
        await _refuse_grown(database)
        async with odds_stores(settings, database, clock, meters) as (markets, settlements, odds):
            bets, accounts = PostgresBets(database, clock, rules_of(settings)), PostgresAccounts(database, clock)
            stores = Stores(
                markets=markets,
                settlements=settlements,
                bets=bets,
                accounts=accounts,
                sessions=sessions,
                placing=BetPlacing(bets, accounts, sessions, clock, settings.bets_per_minute_max),
                odds=odds,
            )
            keys_required = settings.idempotency == "required"
            settlement_meters = SettlementMeters()
            at_once = SET_OF_BETS_MAX if settings.settlement == "set" else 1
            yield Poll(
                platform_over(settings, stores, around, keys_required=keys_required),
                around.passwords,
                SettlementWork(settlements, sessions, clock, settlement_meters, at_once),
                around.feed_meters,
                settlement_meters,
                ServerMeters(lambda: read_activity(database, clock.now())),
            )
    finally:
        around.passwords.close()
        await sessions.close()
        await database.close()


async def _refuse_grown(database: Database) -> None:
    with suppress(Outage):  # a process starts while PostgreSQL is away, too
        if await has_facts(database):
            raise SettingsWrong([GROWN])


def prepare(settings: Settings) -> None:
    """Migrate the schema, open the demo accounts where there are to be any, warm the session cache; blocks."""
    uvloop.run(_prepare(settings))


async def _prepare(settings: Settings) -> None:
    await migrate(settings.postgres)
    async with assembled(settings, "prepare") as poll:
        await open_and_warm(settings, poll.platform, poll.passwords)


def serve_pod(settings: Settings, listening: Listening) -> None:
    """Answer clients until told to stop; blocks."""

    def works(poll: Poll) -> dict[str, Work]:
        return pod_works(settings, poll.platform, poll.feed_meters)

    uvloop.run(_serve(settings, listening, "pod", works))


def serve_feed(settings: Settings, listening: Listening) -> None:
    """Bring the demo feed's odds in until told to stop; blocks."""

    def works(poll: Poll) -> dict[str, Work]:
        platform = poll.platform
        platform.meters.include(poll.feed_meters)
        feed = DemoFeed(settings.demo_seed, settings.demo_matches, settings.demo_speed, platform.clock)
        return {"feed": lambda: ingest(feed, platform.markets, platform.feed)}

    uvloop.run(_serve(settings, listening, "feed", works))


def serve_settlement(settings: Settings, listening: Listening) -> None:
    """Carry settlements out until told to stop; blocks."""

    def works(poll: Poll) -> dict[str, Work]:
        platform = poll.platform
        platform.meters.include(poll.settlement_meters)
        platform.meters.include(poll.server_meters, poll.server_meters.refresh)
        watch_valkeys(platform.meters, {"sessions": settings.valkey})
        return {
            "settlement": poll.settlement_work.run,
            "forgetting": lambda: forget_old_messages(platform.markets, platform.clock),
        }

    uvloop.run(_serve(settings, listening, "settlement", works))


async def _serve(
    settings: Settings, listening: Listening, name: str, works: Callable[[Poll], dict[str, Work]]
) -> None:
    log_to_stderr()
    async with assembled(settings, name) as poll:
        pod = name == "pod"
        await serve_process(poll.platform, listening, lambda: works(poll), answers_clients=pod)


ROLES: Final[Mapping[str, Serve]] = {"pod": serve_pod, "feed": serve_feed, "settlement": serve_settlement}
