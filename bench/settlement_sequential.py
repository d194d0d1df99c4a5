"""V0's settlement of 50,000 open bets, one transaction a bet, beside one set-based statement over as many rows."""

import argparse
import asyncio
import time

import asyncpg
from rich.console import Console
from rich.progress import Progress

from _books import EVENT, FUNDS_MINOR, MARKET, open_market, open_players
from _servers import servers, sql
from touchline.adapters.postgres.books import PostgresBooks
from touchline.adapters.postgres.database import Database
from touchline.architectures.poll import Poll, assembled
from touchline.core.bet import BetResult
from touchline.core.ids import SelectionId
from touchline.core.settlement import Outcome
from touchline.flows.reconcile_ledger import reconcile

PLAYERS = 200
STAKE_MINOR = 100
LOOK_EVERY_S = 0.5


async def one_statement(dsn: str, bets: int) -> float:
    """Return the seconds that the yardstick takes."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql("naive_settlement_tables").replace("{bets}", str(bets)))
        began = time.perf_counter()
        await connection.execute(sql("naive_settlement"))
        return time.perf_counter() - began
    finally:
        await connection.close()


async def sequentially(poll: Poll, bets: int) -> float:
    """Return the seconds that the settlement worker takes for `bets`, showing how far it is."""
    results = {SelectionId(key): Outcome(BetResult.LOST) for key in ("draw", "away")}
    results[SelectionId("home")] = Outcome(BetResult.WON)
    await poll.platform.trading.settle(MARKET, results)
    began = time.perf_counter()
    work = asyncio.create_task(poll.settlement_work.work_next())
    with Progress(transient=True) as progress:
        task = progress.add_task("settling", total=bets)
        while not (await asyncio.wait([work], timeout=LOOK_EVERY_S))[0]:
            _, [settlement] = await poll.platform.trading.progress(MARKET)
            progress.update(task, completed=settlement.bets_done)
    await work
    return time.perf_counter() - began


async def main(bets: int) -> None:
    """Measure and print."""
    async with servers() as settings, assembled(settings, "bench") as poll:
        await open_market(poll)
        players = await open_players(poll, PLAYERS)
        connection = await asyncpg.connect(settings.postgres)
        await connection.execute(sql("settlement_fill"), EVENT, MARKET, players, bets, STAKE_MINOR)
        await connection.close()
        yardstick_s = await one_statement(settings.postgres, bets)
        ours_s = await sequentially(poll, bets)
        database = await Database.connect(settings.postgres)
        found = await reconcile(PostgresBooks(database))
        await database.close()
    Console().print(
        f"{bets:,} bets: one transaction each {ours_s:.1f} s ({bets / ours_s:,.0f}/s), one set-based statement "
        f"{yardstick_s:.2f} s, ratio {ours_s / yardstick_s:.0f}; "
        f"{len(found.discrepancies)} discrepancies in the books"
    )
    if found.discrepancies:
        raise SystemExit("\n".join(found.discrepancies))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bets", type=int, default=50_000)
    arguments = parser.parse_args()
    assert arguments.bets * STAKE_MINOR < FUNDS_MINOR
    asyncio.run(main(arguments.bets))
