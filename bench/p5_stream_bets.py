"""P5: V1's `POST /bets` on one hot market, with its token and the whole decision, beside pgbench's naive bet.

A pod, the writers of the shards, the servers and the load share the machine. Unless told otherwise there is one
shard: on two cores a second one halves the batches, and takes none of the work away. The load is a program in C;
where there is no compiler for it, that is said and nothing measured.
"""

import argparse
import asyncio
from contextlib import AsyncExitStack

import asyncpg
import msgspec

from _http_load import HttpLoad, Seen, http_load
from _ledger import ledger_of, open_accounts
from _ratios import in_turns
from _servers import role, servers, sql
from p2_bets import bets_of, naive_rate
from touchline.architectures.settings import Settings
from touchline.core.ids import PlayerId

PLAYERS = 1_000
CONNECTIONS = 256
SECONDS = 5
BAR = 5.0
P99_MS_BAR = 50


async def prepared(settings: Settings) -> list[PlayerId]:
    """Open the market and the accounts, while this process writes the shards."""
    connection = await asyncpg.connect(settings.postgres)
    await connection.execute(sql("naive_bet_tables"))
    await connection.close()
    async with ledger_of(settings, settings.shards) as ledger:
        return await open_accounts(ledger, PLAYERS)


async def measure(load: HttpLoad, settings: Settings) -> None:
    """Measure and print."""
    players = await prepared(settings)
    seen: list[Seen] = []
    async with AsyncExitStack() as stack:
        for shard in range(1, settings.shards + 1):
            await stack.enter_async_context(role("writer", msgspec.structs.replace(settings, shard=shard)))
        port = await stack.enter_async_context(role("pod", settings))

        async def placed_rate() -> float:
            requests = bets_of(settings, players, len(seen))
            seen.append(await load.drive(port, requests, CONNECTIONS, SECONDS, 201))
            return seen[-1].good / seen[-1].seconds

        await load.drive(port, bets_of(settings, players, 999), CONNECTIONS, 1, 201)
        await in_turns(
            f"P5: bets on one hot market through one pod, {CONNECTIONS} at once, shards: {settings.shards}",
            ("pgbench's naive bet", lambda: naive_rate(settings.postgres)),
            ("POST /bets, V1", placed_rate),
            BAR,
        )
    slow = ", ".join(f"{one.p99_us / 1000:.0f}" for one in seen)
    print(f"p99 of each round in ms: {slow} (bar: {P99_MS_BAR})")


async def main(shards: int) -> None:
    """Start the servers and measure."""
    with http_load() as load:
        if load is None:
            print("P5 is not measured: it needs a C compiler (cc)")
            return
        async with servers() as settings:
            told = {"architecture": "stream", "odds_valkey": settings.valkey, "shards": shards}
            await measure(load, msgspec.structs.replace(settings, **told))


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--shards", type=int, default=1)
    asyncio.run(main(asked.parse_args().shards))
