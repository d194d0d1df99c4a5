"""A ledger in shards, its writers in the measuring process: players, a hot market, and bettors in a loop."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from touchline.adapters.postgres.shards import PostgresShard
from touchline.adapters.system import SystemChance, SystemClock
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.architectures.settings import Settings
from touchline.core.acceptance import Rules
from touchline.core.account import Role
from touchline.core.bet import PlaceBet
from touchline.core.funds import MoveFunds
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.core.market import Market, MarketStatus, Selection
from touchline.edge.garbage import collect_seldom
from touchline.flows.local_ledger import LocalLedger
from touchline.flows.write_shard import ShardWriter
from touchline.ports import Credentials, Placed

MARKET = MarketId("bench:match-odds")
EVENT = EventId("bench")
PRICES = {"home": 2_100, "draw": 3_400, "away": 3_750}
FUNDS_MINOR = 10**11
RULES = Rules(stake_min_minor=10, stake_max_minor=1_000_000, exposure_max_minor=10**15)


@asynccontextmanager
async def ledger_of(settings: Settings, shards: int) -> AsyncIterator[LocalLedger]:
    """Yield a ledger over the servers that `settings` name; one market is open at its authority."""
    clock = SystemClock()
    markets = ValkeyMarkets(settings.valkey, settings.valkey_timeout_ms, clock)
    await markets.begin()
    await markets.change_market(MARKET, EVENT, lambda _: hot_market(MARKET, clock.now()))

    writers = [
        ShardWriter(PostgresShard(settings.postgres, shard, shards), markets.offered, RULES, clock)
        for shard in range(1, shards + 1)
    ]
    ledger = LocalLedger(writers, shards)
    running = asyncio.create_task(ledger.run())
    try:
        async with asyncio.timeout(30):
            await ledger.ready()
        yield ledger
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await markets.close()


def hot_market(market_id: MarketId, at: datetime) -> Market:
    """Return an open market at its first prices."""
    selections = tuple(Selection(SelectionId(key), key.title(), odds) for key, odds in PRICES.items())
    return Market(market_id, EVENT, "Match odds", "match_odds", MarketStatus.ACTIVE, 1, selections, 0, at, at)


async def open_accounts(ledger: LocalLedger, count: int) -> list[PlayerId]:
    """Open accounts with more money than they can bet."""
    players = [PlayerId(str(SystemChance().uuid())) for _ in range(count)]
    for player_id in players:
        credentials = Credentials(player_id, Role.PLAYER, "none", None)
        await ledger.register(credentials, f"p{player_id[-16:]}", "EUR", datetime.now(UTC))
    await asyncio.gather(*(_fund(ledger, player_id) for player_id in players))
    return players


async def _fund(ledger: LocalLedger, player_id: PlayerId) -> None:
    deposit = MoveFunds(
        move_id=SystemChance().uuid(),
        player_id=player_id,
        kind=TransferKind.DEPOSIT,
        amount_minor=FUNDS_MINOR,
        idempotency_key="bench",
    )
    await ledger.move_funds(deposit)


def requests_of(players: list[PlayerId], count: int, market_id: MarketId = MARKET) -> list[PlaceBet]:
    """Return so many requests of players in no order, all on one selection."""
    chance, dice, selection = SystemChance(), random.Random(1), SelectionId("home")
    bet_ids = [BetId(chance.uuid()) for _ in range(count)]
    return [
        PlaceBet(
            bet_id=bet_id,
            player_id=dice.choice(players),
            market_id=market_id,
            selection_id=selection,
            odds_milli=PRICES[selection],
            odds_version=1,
            stake_minor=10,
            idempotency_key=bet_id.hex,
        )
        for bet_id in bet_ids
    ]


async def accepted_rate(ledger: LocalLedger, players: list[PlayerId], bettors: int, bets: int) -> float:
    """Return accepted bets a second, of so many bettors who each place one after another.

    The requests are made beforehand, and so are the bettors' tasks: what is measured is their acceptance alone.
    """
    requests = iter(requests_of(players, bets))

    async def bet() -> None:
        for request in requests:
            answer = await ledger.place(request)
            if not isinstance(answer, Placed):
                raise SystemExit(f"a bet was refused: {answer}")

    collect_seldom()  # as a writer's process does
    began = time.perf_counter()
    await asyncio.gather(*(bet() for _ in range(bettors)))
    return bets / (time.perf_counter() - began)
