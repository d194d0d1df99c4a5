"""What the hop from a pod to a shard's writer leaves of a ledger's rate: in this process, and in another over TCP.

The ledger is the one in memory, so that the hop is most of what is measured. `serve` makes it the other process.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Mapping
from uuid import UUID

import uvloop

from _books import MARKET
from _ratios import in_turns
from touchline.adapters.memory.accounts import MemoryAccounts
from touchline.adapters.memory.ledger import MemoryLedger
from touchline.adapters.memory.markets import MemoryMarkets
from touchline.adapters.memory.tables import Tables
from touchline.adapters.shards import RemoteLedger
from touchline.adapters.system import SystemClock
from touchline.core.acceptance import Rules
from touchline.core.account import Role
from touchline.core.bet import PlaceBet
from touchline.core.event import Event, EventStatus
from touchline.core.funds import MoveFunds
from touchline.core.ids import BetId, EventId, PlayerId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.core.market import Market, MarketStatus, Selection
from touchline.edge.shard_server import ShardServer
from touchline.ports import Credentials, Placed
from touchline.ports.stream import Ledger

SECRET = "s" * 40
RULES = Rules(stake_min_minor=1, stake_max_minor=10**9, exposure_max_minor=10**15)
PLAYERS = [PlayerId(f"bettor-{number}") for number in range(64)]
HOME = SelectionId("home")
AT_ONCE = 256
SECONDS = 4
BAR = 0.4
_numbers = itertools.count()


async def filled() -> MemoryLedger:
    """Return a ledger of one shard with a market and players who have more than they can bet."""
    tables, clock = Tables(), SystemClock()
    markets, accounts = MemoryMarkets(tables, clock), MemoryAccounts(tables, clock)
    ledger = MemoryLedger(tables, clock, RULES, 1)
    event = Event(EventId("bench"), "A v B", "soccer", "cup", EventStatus.LIVE, None, None, None)
    await markets.change_event(event.event_id, lambda _: event)
    market = Market(
        market_id=MARKET,
        event_id=event.event_id,
        name="Match odds",
        market_type="match_odds",
        status=MarketStatus.ACTIVE,
        odds_version=1,
        selections=(Selection(HOME, "Home", 2_100),),
        bet_delay_ms=0,
        priced_at=clock.now(),
        updated_at=clock.now(),
    )
    await markets.change_market(MARKET, None, lambda _: market)
    for player_id in PLAYERS:
        await accounts.register(Credentials(player_id, Role.PLAYER, "none", None), player_id, "EUR", clock.now())
        await ledger.move_funds(
            MoveFunds(
                move_id=UUID(int=next(_numbers)),
                player_id=player_id,
                kind=TransferKind.DEPOSIT,
                amount_minor=10**12,
                idempotency_key="bench",
            )
        )
    return ledger


async def rate(ledger: Ledger) -> float:
    """Return bets a second, `AT_ONCE` under way."""
    until = time.perf_counter() + SECONDS
    taken = 0

    async def bettor() -> None:
        nonlocal taken
        while time.perf_counter() < until:
            number = next(_numbers)
            request = PlaceBet(
                bet_id=BetId(UUID(int=number)),
                player_id=PLAYERS[number % len(PLAYERS)],
                market_id=MARKET,
                selection_id=HOME,
                odds_milli=2_100,
                odds_version=1,
                stake_minor=10,
                idempotency_key=f"bench-{number}",
            )
            answer = await ledger.place(request)
            if not isinstance(answer, Placed):
                raise SystemExit(f"not every bet was taken: {answer}")
            taken += 1

    await asyncio.gather(*(bettor() for _ in range(AT_ONCE)))
    return taken / SECONDS


async def serve() -> None:
    """Serve a ledger until ended, and say where."""
    server = ShardServer(await filled(), 1, SECRET)
    print(await server.start(), flush=True)
    await asyncio.Event().wait()


async def main() -> None:
    """Measure and print."""
    child = await asyncio.create_subprocess_exec(sys.executable, __file__, "serve", stdout=asyncio.subprocess.PIPE)
    try:
        assert child.stdout is not None
        address = (await child.stdout.readline()).decode().strip()

        async def addresses() -> Mapping[int, str]:
            return {1: address}

        here, there = await filled(), RemoteLedger(1, addresses, SECRET)
        await in_turns(
            f"bets taken by a ledger in memory, {AT_ONCE} at once",
            ("in this process", lambda: rate(here)),
            ("in another, over the hop", lambda: rate(there)),
            BAR,
        )
        await there.close()
    finally:
        child.terminate()
        await child.wait()


if __name__ == "__main__":
    uvloop.run(serve() if sys.argv[1:] == ["serve"] else main())
