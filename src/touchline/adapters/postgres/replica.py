"""Polls that read a streaming replica, and how far that is behind.

Invariant: a replica answers polls only while it was seen to follow, at most `LAG_MAX_S` behind, since it was last
lost, and never with an older version than this process has answered before. Else the primary answers.
"""

import asyncio
from time import monotonic
from typing import Final

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.queries import Queries
from touchline.core.errors import Outage
from touchline.core.ids import MarketId
from touchline.ports import Clock
from touchline.wire.odds_v1 import PolledMarketV1

LAG_MAX_S: Final = 10.0  # a replica further behind is no use
LOOK_EVERY_S: Final = 1.0
LOOK_AGAIN_S: Final = 0.001  # then twice as long each time
PATIENCE_S: Final = 1.0  # with a replica, before the primary is asked
MARKETS_MAX: Final = 10_000  # whose versions are remembered; those known for longest give way
_QUERIES: Final = Queries("replica.sql")


class ReplicaWatch:
    """How far a replica is behind its primary: how long what was written there took to be shown here."""

    def __init__(self, primary: Database, replica: Database) -> None:
        self.replica = replica
        self.lag_s = 0.0
        self.is_usable = False
        self._primary = primary
        self._losses = 0
        self._asked = asyncio.Event()

    def ask(self) -> bool:
        """Tell whether the replica can be read; from the first time on it is watched."""
        self._asked.set()
        return self.is_usable

    def lose(self) -> None:
        """Take note that it did not answer: it is used again once it shows what is written by then."""
        self._losses += 1
        self.is_usable = False

    async def follow(self) -> None:
        """Look how far it is behind, for ever."""
        await self._asked.wait()
        while True:
            try:
                written = await self._primary.value(_QUERIES["written"])
            except Outage:
                pass  # nothing is written: the replica is as good as it was
            else:
                await self._look(written)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, written: str) -> None:
        began, losses, wait_s = monotonic(), self._losses, LOOK_AGAIN_S
        try:
            while not await self._shows(written):
                self.lag_s = max(self.lag_s, monotonic() - began)
                if self.lag_s > LAG_MAX_S:
                    self.is_usable = False
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LOOK_EVERY_S)
        except (Outage, TimeoutError):
            self.lose()
            return
        self.lag_s = monotonic() - began
        self.is_usable = losses == self._losses

    async def _shows(self, written: str) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            return bool(await self.replica.value(_QUERIES["replayed"], written))


class ReplicaMarkets(PostgresMarkets):
    """The `MarketStore` port over PostgreSQL, its polls over a replica."""

    def __init__(self, database: Database, clock: Clock, watch: ReplicaWatch) -> None:
        super().__init__(database, clock)
        self._watch = watch
        self._replica = PostgresMarkets(watch.replica, clock)
        self._seen: dict[MarketId, int] = {}
        self.polls = 0  # that the replica answered

    async def poll(self, market_id: MarketId) -> PolledMarketV1 | None:
        """See `ports.MarketStore`."""
        market = await self._from_replica(market_id)
        if market is None:
            market = await super().poll(market_id)
        else:
            self.polls += 1
        if market is not None:
            self._see(market)
        return market

    async def _from_replica(self, market_id: MarketId) -> PolledMarketV1 | None:
        """Return what the replica shows; None where it can't be read, or shows no such market or too old a one."""
        if not self._watch.ask():
            return None
        try:
            async with asyncio.timeout(PATIENCE_S):
                market = await self._replica.poll(market_id)
        except (Outage, TimeoutError):
            self._watch.lose()
            return None
        if market is None or market.odds_version < self._seen.get(market_id, 0):
            return None
        return market

    def _see(self, market: PolledMarketV1) -> None:
        seen = self._seen.get(market.market_id)
        if seen is None and len(self._seen) >= MARKETS_MAX:
            del self._seen[next(iter(self._seen))]
        if seen is None or seen < market.odds_version:
            self._seen[market.market_id] = market.odds_version
