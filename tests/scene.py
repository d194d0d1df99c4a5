"""A platform's stores over memory or PostgreSQL, and the few steps that most tests of them begin with."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import asyncpg

from tests.clock import HandClock
from tests.samples import AWAY, DRAW, EVENT, HOME, MARKET
from touchline.adapters.memory.accounts import MemoryAccounts
from touchline.adapters.memory.bets import MemoryBets
from touchline.adapters.memory.books import MemoryBooks
from touchline.adapters.memory.chance import SeededChance
from touchline.adapters.memory.markets import MemoryMarkets
from touchline.adapters.memory.meters import MemoryMeter
from touchline.adapters.memory.sessions import MemorySessions
from touchline.adapters.memory.settlements import MemorySettlements
from touchline.adapters.memory.tables import Tables
from touchline.adapters.postgres.accounts import PostgresAccounts
from touchline.adapters.postgres.bets import PostgresBets
from touchline.adapters.postgres.books import PostgresBooks
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.settlements import PostgresSettlements
from touchline.core.acceptance import Rules, decide
from touchline.core.account import Role
from touchline.core.bet import Accept, Bet, BetResult, PlaceBet
from touchline.core.errors import Rejection
from touchline.core.feed import OddsChange, PricedSelection
from touchline.core.funds import FundsMoved, MoveFunds, decide_funds
from touchline.core.ids import BetId, EventId, MarketId, MessageId, PlayerId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.core.market import Market, MarketStatus
from touchline.core.settlement import Outcome, Results
from touchline.flows.ingest_feed import FeedIngestion
from touchline.flows.settle_market import MarketTrading, SettlementWork
from touchline.ports import (
    AccountStore,
    Balance,
    BetStore,
    Books,
    Chance,
    Clock,
    Credentials,
    MarketStore,
    Placed,
    SettlementStore,
)

RULES = Rules(stake_min_minor=10, stake_max_minor=1_000_000, exposure_max_minor=100_000_000)
PRICES = {HOME: 2_000, DRAW: 3_000, AWAY: 4_500}
HOME_WINS: Results = {
    HOME: Outcome(BetResult.WON),
    DRAW: Outcome(BetResult.LOST),
    AWAY: Outcome(BetResult.LOST),
}
AWAY_WINS: Results = {**HOME_WINS, HOME: Outcome(BetResult.LOST), AWAY: Outcome(BetResult.WON)}

# What the books hold of a market's versions, the newest last: (version, status).
History = Callable[[MarketId], Awaitable[list[tuple[int, str]]]]


@dataclass(frozen=True, slots=True)
class Stores:
    """Every store of one platform, with what they are made over; `dsn` is None in memory."""

    clock: Clock
    chance: Chance
    markets: MarketStore
    bets: BetStore
    accounts: AccountStore
    settlements: SettlementStore
    books: Books
    history: History
    dsn: str | None
    bets_at_once: int = 1  # in one transaction of a settlement

    @property
    def feed(self) -> FeedIngestion:
        return FeedIngestion(self.markets, self.settlements, self.clock, MemoryMeter())

    @property
    def trading(self) -> MarketTrading:
        return MarketTrading(self.markets, self.settlements, self.clock)

    @property
    def work(self) -> SettlementWork:
        return SettlementWork(self.settlements, memory_sessions(), self.clock, MemoryMeter(), self.bets_at_once)


def memory_sessions() -> MemorySessions:
    return MemorySessions(bets_per_minute_max=1_000_000, velocity_bets=1_000_000, velocity_window_ms=2_000)


def memory_stores(clock: Clock | None = None, tables: Tables | None = None, rules: Rules = RULES) -> Stores:
    """Return a platform in memory."""
    clock, tables = clock or HandClock(), tables or Tables()

    async def history(market_id: MarketId) -> list[tuple[int, str]]:
        return sorted((n, kept.status.value) for (key, n), kept in tables.history.items() if key == market_id)

    return Stores(
        clock=clock,
        chance=SeededChance(1),
        markets=MemoryMarkets(tables, clock),
        bets=MemoryBets(tables, clock, rules),
        accounts=MemoryAccounts(tables, clock),
        settlements=MemorySettlements(tables, clock),
        books=MemoryBooks(tables),
        history=history,
        dsn=None,
    )


@asynccontextmanager
async def postgres_stores(
    dsn: str, clock: Clock | None = None, pool_size: int = 10, rules: Rules = RULES
) -> AsyncIterator[Stores]:
    """Yield a platform in the migrated database at `dsn`."""
    clock = clock or HandClock()
    database = await Database.connect(dsn, pool_size=pool_size)
    markets = PostgresMarkets(database, clock)

    async def history(market_id: MarketId) -> list[tuple[int, str]]:
        rows = await database.fetch(
            "SELECT odds_version, status FROM odds_history WHERE market_id = $1 ORDER BY 1", market_id
        )
        return [tuple(row) for row in rows]

    try:
        yield Stores(
            clock=clock,
            chance=SeededChance(1),
            markets=markets,
            bets=PostgresBets(database, clock, rules),
            accounts=PostgresAccounts(database, clock),
            settlements=PostgresSettlements(database, markets),
            books=PostgresBooks(database),
            history=history,
            dsn=dsn,
        )
    finally:
        await database.close()


@asynccontextmanager
async def superuser(stores: Stores) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection of one's own to the stores' database."""
    assert stores.dsn is not None
    connection = await asyncpg.connect(stores.dsn)
    try:
        yield connection
    finally:
        await connection.close()


def odds_change(
    stores: Stores,
    prices: dict[SelectionId, int],
    market_id: MarketId = MARKET,
    event_id: EventId = EVENT,
    status: MarketStatus | None = None,
) -> OddsChange:
    return OddsChange(
        message_id=MessageId(str(stores.chance.uuid())),
        occurred_at=stores.clock.now(),
        event_id=event_id,
        market_id=market_id,
        selections=tuple(PricedSelection(selection_id=key, odds_milli=odds) for key, odds in prices.items()),
        status=status,
    )


async def price(
    stores: Stores,
    prices: dict[SelectionId, int] | None = None,
    market_id: MarketId = MARKET,
    event_id: EventId = EVENT,
    status: MarketStatus | None = None,
) -> Market:
    """Price a market as the feed would, and return it."""
    await stores.feed.apply(odds_change(stores, PRICES if prices is None else prices, market_id, event_id, status))
    market = await stores.markets.get(market_id)
    assert market is not None
    return market


async def open_player(stores: Stores, name: str = "ann", deposited: int = 100_000) -> PlayerId:
    """Register a player and bring money in."""
    player_id = PlayerId(name)
    opened = await stores.accounts.register(
        Credentials(player_id, Role.PLAYER, "hash", None), name, "EUR", stores.clock.now()
    )
    assert opened
    if deposited:
        moved = await move(stores, player_id, deposited, f"first of {name}")
        assert not isinstance(moved, Rejection)
    return player_id


async def move(
    stores: Stores, player_id: PlayerId, amount: int, key: str, kind: TransferKind = TransferKind.DEPOSIT
) -> tuple[FundsMoved, Balance | None] | Rejection:
    """Bring money in or take it out."""
    request = MoveFunds(
        move_id=stores.chance.uuid(), player_id=player_id, kind=kind, amount_minor=amount, idempotency_key=key
    )
    return await stores.accounts.move_funds(request, partial(decide_funds, request))


def bet_on(
    stores: Stores,
    market: Market,
    player_id: PlayerId,
    selection_id: SelectionId = HOME,
    stake: int = 1_000,
    key: str | None = None,
    accept: Accept = Accept.NONE,
) -> PlaceBet:
    """Return a request at the price that `market` shows."""
    selection = market.selection(selection_id)
    return PlaceBet(
        bet_id=BetId(stores.chance.uuid()),
        player_id=player_id,
        market_id=market.market_id,
        selection_id=selection_id,
        odds_milli=(selection.odds_milli if selection else None) or 2_000,
        odds_version=market.odds_version,
        stake_minor=stake,
        idempotency_key=key,
        accept=accept,
    )


async def place(stores: Stores, request: PlaceBet) -> Placed | Rejection:
    """Place a bet as the platform decides it."""
    return await stores.bets.place(request, partial(decide, request))


async def placed(stores: Stores, request: PlaceBet) -> Bet:
    """Place a bet that is taken, and return it; the clock moves on, where it can."""
    answer = await place(stores, request)
    assert isinstance(answer, Placed), answer
    if isinstance(stores.clock, HandClock):
        stores.clock.move(timedelta(seconds=1))
    return answer.bet


async def balance_of(stores: Stores, player_id: PlayerId) -> int:
    balance = await stores.accounts.balance(player_id)
    assert balance is not None
    return balance.balance_minor


async def work_all(stores: Stores) -> None:
    """Carry out whatever is requested."""
    while await stores.work.work_next():
        pass
