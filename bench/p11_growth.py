"""P11: what a bet costs as bets grow: the rate of acceptance with many on record, beside that with none.

`--bets` says how many; ten million take some minutes to put on record, and 15 GB.
"""

import argparse
import asyncio
import time

import asyncpg
import msgspec
import uvloop
from rich.console import Console

from _ledger import accepted_rate, ledger_of
from _ratios import in_turns
from _servers import servers, sql
from touchline.adapters.postgres.migrations import migrate
from touchline.architectures.settings import Settings
from touchline.core.ids import PlayerId

PLAYERS = 10_000
BETTING = 1_000
BETTORS = 1_000
MEASURED = 100_000
FILLED_AT_ONCE = 200_000
BAR = 0.8


async def database(settings: Settings, name: str, bets: int) -> Settings:
    """Make a database with so many settled bets on record."""
    admin = await asyncpg.connect(settings.postgres)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    dsn = settings.postgres.rpartition("/")[0] + f"/{name}"
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql("growth_ground"), PLAYERS)
        await connection.execute("INSERT INTO shards (shard, next_seq) VALUES (0, 1), (1, $1)", bets + 1)
        began = time.perf_counter()
        for first in range(1, bets + 1, FILLED_AT_ONCE):
            last = min(first + FILLED_AT_ONCE - 1, bets)
            await connection.execute(sql("growth_fill"), first, last, PLAYERS)
        if bets:
            Console().print(f"{bets:,} bets put on record in {time.perf_counter() - began:,.0f} s")
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return msgspec.structs.replace(settings, postgres=dsn)


async def measure(empty: Settings, grown: Settings, bets: int) -> None:
    """Measure and print."""
    players = [PlayerId(f"grown-{number}") for number in range(0, PLAYERS, PLAYERS // BETTING)]
    async with ledger_of(empty, 1) as first, ledger_of(grown, 1) as second:
        for ledger in (first, second):
            await accepted_rate(ledger, players, BETTORS, MEASURED // 5)
        await in_turns(
            f"P11: bets accepted with {bets:,} on record",
            ("none on record", lambda: accepted_rate(first, players, BETTORS, MEASURED)),
            (f"{bets:,} on record", lambda: accepted_rate(second, players, BETTORS, MEASURED)),
            BAR,
        )


async def main(bets: int) -> None:
    """Start the servers and fill their books; what is measured has uvloop."""
    async with servers() as settings:
        empty, grown = await database(settings, "none", 0), await database(settings, "many", bets)
        await asyncio.to_thread(uvloop.run, measure(empty, grown, bets))


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--bets", type=int, default=1_000_000)
    asyncio.run(main(asked.parse_args().bets))
