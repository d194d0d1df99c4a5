"""Odds through their authority: changes a second, and feed to subscriber, beside a plain SET and PUBLISH.

Both of as many bytes, on one Valkey that has every answer on disk; the followers' share of a core is in both.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from _ratios import ROUNDS, in_turns
from touchline.adapters.system import SystemClock
from touchline.adapters.valkey import records
from touchline.adapters.valkey.connection import Valkey
from touchline.adapters.valkey.markets import ValkeyMarkets
from touchline.adapters.valkey.stream import ValkeyOddsStream
from touchline.core.delivery import Image, MarketChanged
from touchline.core.ids import EventId, MarketId, SelectionId
from touchline.core.market import Market, MarketStatus, Selection
from touchline.runtime.valkey import ValkeyServer

MARKETS = [MarketId(f"match-{n // 8}:market-{n % 8}") for n in range(256)]
SECONDS = 3
AT_ONCE = 32
PACED_A_SECOND = 200
BAR = 0.3
TIMEOUT_MS = 5_000
PLAIN_CHANNEL = "plain"

Change = Callable[[MarketId, int], Awaitable[object]]


@dataclass(slots=True)
class Arrivals:
    """When each market's latest change was asked for, and how long each took to arrive."""

    asked: dict[str, float] = field(default_factory=dict)
    took_ms: list[float] = field(default_factory=list)

    def came(self, market_id: str) -> None:
        """Note a change that a follower was given."""
        since = self.asked.pop(market_id, None)
        if since is not None:
            self.took_ms.append((time.perf_counter() - since) * 1_000)


def priced(old: Market | None, market_id: MarketId, odds_milli: int) -> Market:
    """Return a market of three at its next version."""
    names = ("home", "draw", "away")
    selections = tuple(Selection(SelectionId(name), name.title(), odds_milli + n) for n, name in enumerate(names))
    now = SystemClock().now()
    if old is not None:
        version = old.odds_version + 1
        return replace(old, selections=selections, odds_version=version, priced_at=now, updated_at=now)
    event_id = EventId(market_id.split(":")[0])
    return Market(
        market_id, event_id, "Match result", "MATCH_ODDS", MarketStatus.ACTIVE, 1, selections, 0, now, now
    )


async def rate_of(change: Change) -> float:
    """Return changes a second with `AT_ONCE` in flight."""
    numbers, until = itertools.count(), time.perf_counter() + SECONDS
    began = time.perf_counter()

    async def work() -> int:
        made = 0
        while time.perf_counter() < until:
            n = next(numbers)
            await change(MARKETS[n % len(MARKETS)], 2_000 + n % 5_000)
            made += 1
        return made

    made = sum(await asyncio.gather(*(work() for _ in range(AT_ONCE))))
    return made / (time.perf_counter() - began)


async def latencies_of(change: Change, arrivals: Arrivals) -> list[float]:
    """Return how long changes took to arrive, offered at `PACED_A_SECOND` whatever those before took, in ms."""
    arrivals.asked.clear()
    arrivals.took_ms.clear()
    began, running = time.perf_counter(), set[asyncio.Task[object]]()
    for n in range(SECONDS * PACED_A_SECOND):
        due = began + n / PACED_A_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        market_id = MARKETS[n % len(MARKETS)]
        arrivals.asked[market_id] = due
        running.add(asyncio.ensure_future(change(market_id, 2_000 + n)))
    await asyncio.gather(*running)
    await asyncio.sleep(0.1)
    return sorted(arrivals.took_ms)


@asynccontextmanager
async def authority() -> AsyncIterator[str]:
    """Yield the address of an authority on odds of our own."""
    with tempfile.TemporaryDirectory() as name:
        server = ValkeyServer.authority(Path(name))
        child = await server.start()
        try:
            yield server.url
        finally:
            await child.stop()


async def follow(stream: ValkeyOddsStream, arrivals: Arrivals) -> None:
    """Note what arrives, for ever."""
    async for yielded in stream.follow():
        for change in () if isinstance(yielded, Image) else yielded:
            if isinstance(change, MarketChanged):
                arrivals.came(change.market_id)


async def main() -> None:
    """Measure and print."""
    async with authority() as url:
        ours_came, plain_came = Arrivals(), Arrivals()
        markets = ValkeyMarkets(url, TIMEOUT_MS, SystemClock(), history_max=100_000_000)
        await markets.begin()
        following = asyncio.create_task(follow(ValkeyOddsStream(url, TIMEOUT_MS), ours_came))
        body = records.market_body(priced(None, MARKETS[0], 2_000))

        def heard(message: bytes | None) -> None:
            if message is not None:
                plain_came.came(message.split(b" ", 1)[0].decode())

        plain, follower = Valkey(url, TIMEOUT_MS), Valkey(url, TIMEOUT_MS, PLAIN_CHANNEL, heard)
        await follower.call("PING")

        async def set_and_publish(market_id: MarketId, _: int) -> object:
            message = market_id.encode() + b" " + body
            return await asyncio.gather(
                plain.call("SET", f"plain:{market_id}", body), plain.call("PUBLISH", PLAIN_CHANNEL, message)
            )

        async def change(market_id: MarketId, odds_milli: int) -> object:
            event_id = EventId(market_id.split(":")[0])
            return await markets.change_market(
                market_id, event_id, lambda old: priced(old, market_id, odds_milli)
            )

        async def our_rate() -> float:
            rate = await rate_of(change)
            await plain.call("DEL", records.HISTORY)  # as if it were recorded
            return rate

        await in_turns(
            f"odds: changes at their authority, {AT_ONCE} at once",
            ("SET and PUBLISH", lambda: rate_of(set_and_publish)),
            ("compare and set, history, cursor, PUBLISH", our_rate),
            BAR,
        )
        table = Table(title=f"odds: feed to subscriber at {PACED_A_SECOND} changes a second, ms")
        for column in ("", "median", "p99", "highest"):
            table.add_column(column, justify="right" if column else "left")
        took: dict[str, list[float]] = {"SET and PUBLISH": [], "change_market to what follow yields": []}
        for _ in range(ROUNDS):
            took["SET and PUBLISH"] += await latencies_of(set_and_publish, plain_came)
            took["change_market to what follow yields"] += await latencies_of(change, ours_came)
        for name, measured in took.items():
            p99 = statistics.quantiles(measured, n=100)[98]
            table.add_row(name, f"{statistics.median(measured):.2f}", f"{p99:.2f}", f"{max(measured):.2f}")
        Console().print(table)
        following.cancel()


if __name__ == "__main__":
    asyncio.run(main())
