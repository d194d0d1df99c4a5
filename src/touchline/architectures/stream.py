"""V1 `stream`: odds are pushed from memory, bets go in batches to one writer a shard, settlement follows the log.

The whole composition is on this page: which adapter stands behind which port, and which process does what.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import uvloop

from touchline.adapters.board_markets import BoardMarkets
from touchline.adapters.feeds.demo import DemoFeed
from touchline.adapters.kafka.cluster import Cluster
from touchline.adapters.kafka.fact_log import KafkaFactLog
from touchline.adapters.kafka.publisher import KafkaPublisher
from touchline.adapters.ledger_stores import LedgerAccounts, LedgerBets
from touchline.adapters.odds_forgetting import OddsForgetting
from touchline.adapters.odds_restoring import OddsRestoring
from touchline.adapters.postgres.activity import read_activity
from touchline.adapters.postgres.archive import PostgresArchiveStore
from touchline.adapters.postgres.bets import PostgresBets
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.dead_letters import PostgresDeadLetters
from touchline.adapters.postgres.decisions import PostgresDecisions
from touchline.adapters.postgres.fact_log import PostgresFactLog
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.migrations import migrate
from touchline.adapters.postgres.odds_history import PostgresOddsBooks
from touchline.adapters.postgres.shard_directory import writers_at
from touchline.adapters.postgres.shards import PostgresShard
from touchline.adapters.shards import RemoteLedger
from touchline.adapters.valkey.history import ValkeyHistory
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.adapters.valkey.refill import ValkeyRefill
from touchline.adapters.valkey.sessions import ValkeySessions
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.architectures.authority import refuse_evicting, warn_of_losses
from touchline.architectures.ladder import connect
from touchline.architectures.parts import Listening, Serve
from touchline.architectures.settings import Settings
from touchline.architectures.wiring import (
    Stores,
    Surroundings,
    log_to_stderr,
    open_and_warm,
    platform_over,
    pod_works,
    rate_of,
    rules_of,
    serve_process,
    sessions_of,
    watch,
    watch_valkeys,
)
from touchline.core.delivery import Board
from touchline.core.errors import Outage
from touchline.core.facts import MARKETS_SHARD
from touchline.edge.garbage import collect_seldom
from touchline.edge.gateway import STREAM, Gateway
from touchline.edge.http.platform import Platform
from touchline.edge.http.service import Readiness
from touchline.edge.http.sse import EVENTS, SentEvents
from touchline.edge.metering import LogMeters, ServerMeters, SettlementMeters
from touchline.edge.push.framing import sent_event, websocket_frame
from touchline.edge.push.hub import Hub
from touchline.edge.push.own_bets import OwnBets
from touchline.edge.serving import Work
from touchline.edge.shard_server import ShardServer
from touchline.edge.workers import forget_old_messages, hear_revocations, ingest
from touchline.flows.carry_over import carried_over
from touchline.flows.ingest_feed import FeedIngestion
from touchline.flows.local_ledger import LocalLedger
from touchline.flows.rebuild_state import keep_snapshots
from touchline.flows.record_odds import OddsRecording
from touchline.flows.relay_facts import GROUP as RELAY
from touchline.flows.relay_facts import FactRelay
from touchline.flows.serve_board import BoardServing
from touchline.flows.serve_odds import OddsServing
from touchline.flows.settle_shards import GROUP as SETTLEMENT
from touchline.flows.settle_shards import ShardSettlement
from touchline.flows.write_shard import ShardWriter
from touchline.ports import MarketStore
from touchline.ports.stream import FactLog, Ledger

ODDS_TIMEOUT_MS: Final = 2_000
SHARDS_TAKEN_S: Final = 15  # longer than a writer that hangs keeps its shard


@dataclass(frozen=True, slots=True)
class Stream:
    """V1 put together, as far as a process needs it that is no writer of a shard."""

    around: Surroundings
    database: Database
    sessions: ValkeySessions
    authority: ValkeyMarkets
    ledger: Ledger


@asynccontextmanager
async def assembled(settings: Settings, name: str) -> AsyncIterator[Stream]:
    """Yield V1 over the servers that `settings` name; `name` is what PostgreSQL shows its connections as."""
    around = Surroundings.fresh()
    async with AsyncExitStack() as stack:
        stack.callback(around.passwords.close)
        database = await connect(settings, name, around.meters)
        stack.push_async_callback(database.close)
        sessions = sessions_of(settings)
        stack.push_async_callback(sessions.close)
        books = PostgresMarkets(database, around.clock).get
        authority = ValkeyMarkets(settings.odds_valkey, ODDS_TIMEOUT_MS, around.clock, books)
        stack.push_async_callback(authority.close)
        ledger = RemoteLedger(settings.shards, partial(writers_at, database), settings.token_secret)
        stack.push_async_callback(ledger.close)
        watch(around.meters, settings, database, sessions)
        yield Stream(around, database, sessions, authority, ledger)


def _platform(settings: Settings, stream: Stream, markets: MarketStore, odds: OddsServing) -> Platform:
    """Return the flows over V1's stores; a pod reads `markets` from its board, others at the authority."""
    clock, database = stream.around.clock, stream.database
    rules, authority = rules_of(settings), stream.authority.offered
    stores = Stores(
        markets=markets,
        settlements=PostgresDecisions(database, markets, clock),
        bets=LedgerBets(database, clock, rules, stream.ledger, authority),
        accounts=LedgerAccounts(database, clock, stream.ledger),
        sessions=stream.sessions,
        placing=stream.ledger,
        odds=odds,
    )
    return platform_over(settings, stores, stream.around, keys_required=True)


def _log(settings: Settings, database: Database, shards: Collection[int] | None = None) -> FactLog:
    """Return the log that consumers read, of `shards` or, with None, of all."""
    if settings.kafka:
        return KafkaFactLog(Cluster(settings.kafka), shards)
    return PostgresFactLog(database, shards)


def _writer(settings: Settings, stream: Stream, store: PostgresShard) -> ShardWriter:
    rules, rate = rules_of(settings), rate_of(settings)
    return ShardWriter(
        store, stream.authority.offered, rules, stream.around.clock, rate=rate, sessions=stream.sessions
    )


def prepare(settings: Settings) -> None:
    """Migrate, carry over what `poll` left, make sure of the authority on odds, open the demo accounts; blocks."""
    uvloop.run(_prepare(settings))


async def _prepare(settings: Settings) -> None:
    await refuse_evicting(settings)
    await migrate(settings.postgres)
    async with assembled(settings, "prepare") as stream, _recording(settings, stream) as recording:
        now = stream.around.clock.now()
        await PostgresArchiveStore(settings.postgres).carry_over(settings.shards, carried_over, now)
        await recording.prepare()
        async with _all_shards(settings, stream) as ledger:
            stream = replace(stream, ledger=ledger)
            platform = _platform(settings, stream, stream.authority, OddsServing(stream.authority))
            await open_and_warm(settings, platform, stream.around.passwords)


@asynccontextmanager
async def _all_shards(settings: Settings, stream: Stream) -> AsyncIterator[LocalLedger]:
    """Write every shard in this process for a while: before there are writers."""
    shards = range(1, settings.shards + 1)
    stores = [PostgresShard(settings.postgres, shard, settings.shards) for shard in shards]
    writers = [_writer(settings, stream, store) for store in stores]
    ledger = LocalLedger(writers, settings.shards)
    running = asyncio.create_task(ledger.run())
    try:
        async with asyncio.timeout(SHARDS_TAKEN_S):
            await ledger.ready()
        yield ledger
    except TimeoutError as late:
        raise Outage("the writers' turn: other writers of these books run; they") from late
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def _recording(settings: Settings, stream: Stream) -> AsyncIterator[OddsRecording]:
    """Yield what writes odds behind their authority, and makes sure that there is one."""
    history = ValkeyHistory(settings.odds_valkey, ODDS_TIMEOUT_MS)
    refill = ValkeyRefill(settings.odds_valkey, ODDS_TIMEOUT_MS)
    restoring = OddsRestoring(stream.database, refill, history, stream.around.clock)
    try:
        yield OddsRecording(history, PostgresOddsBooks(stream.database), restoring.prepare)
    finally:
        await history.close()
        await refill.close()


def serve_pod(settings: Settings, listening: Listening) -> None:
    """Answer clients until told to stop; blocks."""
    uvloop.run(_serve_pod(settings, listening))


async def _serve_pod(settings: Settings, listening: Listening) -> None:
    log_to_stderr()
    async with assembled(settings, "pod") as stream:
        around = stream.around
        odds = ValkeyOddsStream(settings.odds_valkey, ODDS_TIMEOUT_MS)
        hub = Hub(Board(), around.clock, sent_event)
        markets = BoardMarkets(Board(), hub.overheard(odds), stream.authority, around.clock)
        odds.early = markets.show_early
        books = PostgresMarkets(stream.database, around.clock)
        platform = _platform(settings, stream, markets, BoardServing(markets, markets, books))
        decisions = PostgresDecisions(stream.database, stream.authority, around.clock)
        # Messages of one request wait for the board together.
        feed = FeedIngestion(stream.authority, decisions, around.clock, around.feed_meters, markets.shown)
        platform = replace(platform, feed=feed)
        works = {**pod_works(settings, platform, around.feed_meters), "odds": markets.follow}

        def with_events(application: Any, readiness: Readiness) -> SentEvents:
            sent = SentEvents(hub, application, readiness)
            sent.expose(around.meters)
            works.update(sent.works())
            return sent

        beside = (STREAM, EVENTS)
        await serve_process(
            platform, listening, lambda: works, answers_clients=True, around=with_events, beside=beside
        )
        await odds.close()


def serve_gateway(settings: Settings, listening: Listening) -> None:
    """Push odds and own bets until told to stop; blocks."""
    uvloop.run(_serve_gateway(settings, listening))


async def _serve_gateway(settings: Settings, listening: Listening) -> None:
    log_to_stderr()
    async with assembled(settings, "gateway") as stream:
        clock, database = stream.around.clock, stream.database
        platform = _platform(settings, stream, stream.authority, OddsServing(stream.authority))
        bets = PostgresBets(database, clock, rules_of(settings))
        gateway = Gateway(Hub(Board(), clock, websocket_frame), OwnBets(bets, platform.tokens))
        gateway.expose(stream.around.meters)
        odds = ValkeyOddsStream(settings.odds_valkey, ODDS_TIMEOUT_MS)
        works = {
            **gateway.works(odds, _log(settings, database), listening.host, listening.stream_port),
            "revocations": lambda: hear_revocations(platform.accounts, platform.tokens),
        }
        collect_seldom()
        await serve_process(
            platform, listening, lambda: works, answers_clients=False, serves=lambda: gateway.ready
        )


def serve_writer(settings: Settings, listening: Listening) -> None:
    """Write one account shard until told to stop; blocks."""
    uvloop.run(_serve_writer(settings, listening))


async def _serve_writer(settings: Settings, listening: Listening) -> None:
    log_to_stderr()
    async with assembled(settings, f"writer {settings.shard}") as stream:
        store = PostgresShard(settings.postgres, settings.shard, settings.shards)
        writer = _writer(settings, stream, store)
        ledger = LocalLedger([writer], settings.shards)
        serves, secret = (lambda: writer.serving), settings.token_secret
        door = ShardServer(ledger, settings.shard, secret, serves=serves, host=listening.host)
        store.address = await door.start()
        meters = stream.around.meters
        meters.watch("counter", "touchline_shard_batches", "Batches put on record", lambda: writer.batches)
        meters.watch("counter", "touchline_shard_bets", "Bets in them", lambda: writer.bets)
        meters.watch("gauge", "touchline_shard_waiting", "Requests that wait", lambda: writer.waiting)
        meters.watch("gauge", "touchline_shard_serving", "Whether the shard is this one's", lambda: writer.serving)
        platform = _platform(settings, stream, stream.authority, OddsServing(stream.authority))
        works: dict[str, Work] = {"shard": ledger.run}
        collect_seldom()
        try:
            await serve_process(platform, listening, lambda: works, answers_clients=False)
        finally:
            await door.close()


def serve_history(settings: Settings, listening: Listening) -> None:
    """Record what the authority on odds changes, and what facts have come to, until told to stop; blocks."""

    def works(stream: Stream) -> dict[str, Work]:
        return {
            "history": lambda: _record_odds(settings, stream),
            "decided": lambda: _forget_odds(settings, stream),
            "snapshots": lambda: keep_snapshots(PostgresArchiveStore(settings.postgres), stream.around.clock),
            "forgetting": lambda: forget_old_messages(stream.authority, stream.around.clock),
        }

    uvloop.run(_serve(settings, listening, "history", works))


async def _record_odds(settings: Settings, stream: Stream) -> None:
    await warn_of_losses(settings)
    async with _recording(settings, stream) as recording:
        await recording.run()


async def _forget_odds(settings: Settings, stream: Stream) -> None:
    authority = ValkeyRefill(settings.odds_valkey, ODDS_TIMEOUT_MS)
    try:
        await OddsForgetting(stream.database, authority, stream.around.clock).run()
    finally:
        await authority.close()


def serve_relay(settings: Settings, listening: Listening) -> None:
    """Take facts to Kafka until told to stop; blocks."""

    def works(stream: Stream) -> dict[str, Work]:
        return {"relay": lambda: _relay(settings, stream.database)}

    uvloop.run(_serve(settings, listening, "relay", works))


async def _relay(settings: Settings, database: Database) -> None:
    publisher = KafkaPublisher(Cluster(settings.kafka))
    try:
        await FactRelay(PostgresFactLog(database), publisher).run()
    finally:
        await publisher.close()


def serve_feed(settings: Settings, listening: Listening) -> None:
    """Bring the demo feed's odds in until told to stop; blocks."""

    def works(stream: Stream) -> dict[str, Work]:
        around = stream.around
        platform = _platform(settings, stream, stream.authority, OddsServing(stream.authority))
        around.meters.include(around.feed_meters)
        feed = DemoFeed(settings.demo_seed, settings.demo_matches, settings.demo_speed, around.clock)
        return {"feed": lambda: ingest(feed, stream.authority, platform.feed)}

    uvloop.run(_serve(settings, listening, "feed", works))


def serve_settlement(settings: Settings, listening: Listening) -> None:
    """Carry settlements out until told to stop; blocks."""

    def works(stream: Stream) -> dict[str, Work]:
        around = stream.around
        settlement_meters = SettlementMeters()
        log = _log(settings, stream.database, [MARKETS_SHARD])
        logs = {(SETTLEMENT, "kafka" if settings.kafka else "postgresql"): log}
        if settings.kafka:
            logs[RELAY, "postgresql"] = PostgresFactLog(stream.database)
        log_meters = LogMeters(logs)
        server_meters = ServerMeters(lambda: read_activity(stream.database, around.clock.now()))
        around.meters.include(settlement_meters)
        around.meters.include(server_meters, server_meters.refresh)
        around.meters.include(log_meters, log_meters.refresh)
        watch_valkeys(around.meters, {"sessions": settings.valkey, "odds": settings.odds_valkey})
        settlement = ShardSettlement(
            log,
            stream.ledger,
            PostgresDecisions(stream.database, stream.authority, around.clock),
            PostgresDeadLetters(stream.database),
            stream.sessions,
            around.clock,
            settlement_meters,
        )
        return {"settlement": settlement.run}

    uvloop.run(_serve(settings, listening, "settlement", works))


async def _serve(
    settings: Settings, listening: Listening, name: str, works: Callable[[Stream], dict[str, Work]]
) -> None:
    log_to_stderr()
    async with assembled(settings, name) as stream:
        platform = _platform(settings, stream, stream.authority, OddsServing(stream.authority))
        await serve_process(platform, listening, lambda: works(stream), answers_clients=False)


ROLES: Final[Mapping[str, Serve]] = {
    "pod": serve_pod,
    "gateway": serve_gateway,
    "writer": serve_writer,
    "history": serve_history,
    "settlement": serve_settlement,
    "relay": serve_relay,
    "feed": serve_feed,
}
