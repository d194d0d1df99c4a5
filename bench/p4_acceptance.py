"""P4: bets accepted durably by a ledger's shards in this process, beside pgbench's naive bet on one hot market.

The whole decision is measured, from request to answer on disk; `--shards` writers, `--bettors` at once.
"""

import argparse
import asyncio

import asyncpg
import uvloop

from _ledger import accepted_rate, ledger_of, open_accounts
from _ratios import in_turns
from _servers import servers, sql
from p2_bets import naive_rate
from touchline.architectures.settings import Settings

PLAYERS = 1_000
BETS = 100_000
BAR = 10.0


async def measure(settings: Settings, shards: int, bettors: int) -> None:
    """Measure and print."""
    connection = await asyncpg.connect(settings.postgres)
    await connection.execute(sql("naive_bet_tables"))
    await connection.close()
    async with ledger_of(settings, shards) as ledger:
        players = await open_accounts(ledger, PLAYERS)
        await accepted_rate(ledger, players, bettors, BETS // 5)
        await in_turns(
            f"P4: bets on one hot market, {bettors} at once, {shards} shards",
            ("pgbench's naive bet", lambda: naive_rate(settings.postgres)),
            ("accepted in process", lambda: accepted_rate(ledger, players, bettors, BETS)),
            BAR,
        )


async def main(shards: int, bettors: int) -> None:
    """Start the servers; what is measured has uvloop, on which they can't be started as another user."""
    async with servers() as settings:
        await asyncio.to_thread(uvloop.run, measure(settings, shards, bettors))


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--shards", type=int, default=2)
    asked.add_argument("--bettors", type=int, default=1_000)
    options = asked.parse_args()
    asyncio.run(main(options.shards, options.bettors))
