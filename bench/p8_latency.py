"""P8: 5,000 clients, 50,000 pushes a second, from the feed's change to the bettor's socket: p99 at most 50 ms.

The change is made at an authority in Valkey that writes it to disk first, is published, taken by one gateway and
pushed to 5,000 clients. Beside it a loop in C that sends as much with nothing behind it: what the machine itself
takes, whose two cores the feed, Valkey, the gateway and the receivers share. A connection costs at most 30 kB.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from _fanout import GATEWAY, Run, compiled, listen, sender
from touchline.adapters.system import SystemClock
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.core.ids import EventId, MarketId, SelectionId
from touchline.core.market import Market, MarketStatus, Selection
from touchline.runtime.addresses import free_port
from touchline.runtime.valkey import ValkeyServer

CLIENTS = 5_000
CHANGES_A_SECOND = 10
FRAME_BYTES = 500  # of the yardstick, about what a market takes
SECONDS = 10.0
ROUNDS = 3
TIMEOUT_MS = 5_000
P99_MS_BAR, KB_BAR = 50.0, 30.0
EVENT = EventId("e")


async def c_loop(program: str) -> Run:
    """Measure the yardstick."""
    port = free_port()
    argv = (program, "serve", str(port), str(CLIENTS), str(10 * SECONDS), f"{FRAME_BYTES},{CHANGES_A_SECOND}")
    async with sender(*argv) as sending:
        return await listen(program, port, CLIENTS, SECONDS, sending)


async def gateway(program: str) -> Run:
    """Measure ours."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with authority(folder) as (url, markets):
            argv = (sys.executable, str(GATEWAY), str(port), str(CLIENTS), "0", url)
            async with sender(*argv) as sending:
                await until_it_listens(port)
                feeding = asyncio.create_task(feed(markets))
                try:
                    return await listen(program, port, CLIENTS, SECONDS, sending)
                finally:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)


@asynccontextmanager
async def authority(folder: Path) -> AsyncIterator[tuple[str, ValkeyMarkets]]:
    """Yield an authority on odds that has one market: its address, and what changes it."""
    server = ValkeyServer.authority(folder)
    child = await server.start()
    markets = ValkeyMarkets(server.url, TIMEOUT_MS, SystemClock())
    try:
        await markets.begin()
        await change(markets)
        yield server.url, markets
    finally:
        await markets.close()
        await child.stop()


async def feed(markets: ValkeyMarkets) -> None:
    """Change the market so many times a second, for ever."""
    due = time.monotonic()
    while True:
        await change(markets)
        due += 1 / CHANGES_A_SECOND
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def change(markets: ValkeyMarkets) -> None:
    """Change the market, with the instant in its name."""
    now = SystemClock().now()
    first = Market(
        market_id=MarketId("m"),
        event_id=EVENT,
        name="",
        market_type="match_odds",
        status=MarketStatus.ACTIVE,
        odds_version=0,
        selections=tuple(Selection(SelectionId(key), key, 2_100) for key in ("home", "draw", "away")),
        bet_delay_ms=0,
        priced_at=now,
        updated_at=now,
    )
    name = f"at_ns {time.monotonic_ns()}"
    await markets.change_market(
        first.market_id,
        EVENT,
        lambda held: replace(
            held or first, name=name, odds_version=(held or first).odds_version + 1, updated_at=now
        ),
    )


async def until_it_listens(port: int) -> None:
    """Return once somebody listens at `port`."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        await asyncio.sleep(1.0)  # and has what it shows
        return


async def main() -> None:
    """Measure in turns and print."""
    runs: dict[str, list[Run]] = {"a loop in C": [], "feed to bettor": []}
    with compiled() as program:
        for _ in range(ROUNDS):
            runs["a loop in C"].append(await c_loop(program))
            runs["feed to bettor"].append(await gateway(program))
    table = Table(title=f"P8: {CLIENTS:,} clients, {CLIENTS * CHANGES_A_SECOND:,} pushes a second offered")
    for column in ("", "pushes a second", "p50 ms", "p99 ms", "best p99", "worst", "longest", "kB a client"):
        table.add_column(column, justify="right" if column else "left")
    for name, some in runs.items():
        p99 = [run.p99_ms for run in some]
        table.add_row(
            name,
            f"{statistics.median(run.rate for run in some):,.0f}",
            f"{statistics.median(run.p50_ms for run in some):.1f}",
            f"{statistics.median(p99):.1f}",
            f"{min(p99):.1f}",
            f"{max(p99):.1f}",
            f"{max(run.longest_ms for run in some):.1f}",
            f"{max(run.grown_bytes for run in some) / CLIENTS / 1000:.1f}",
        )
    table.add_row("bar", f"{CLIENTS * CHANGES_A_SECOND:,}", "", f"{P99_MS_BAR:.0f}", "", "", "", f"{KB_BAR:.0f}")
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
