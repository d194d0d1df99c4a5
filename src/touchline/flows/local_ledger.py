"""A ledger whose shards' writers are in this process."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime

from touchline.core.bet import PlaceBet
from touchline.core.errors import Outage, Rejection
from touchline.core.facts import shard_of
from touchline.core.funds import FundsMoved, MoveFunds
from touchline.core.ids import PlayerId
from touchline.core.settlement import Settlement
from touchline.flows.write_shard import ShardWriter
from touchline.ports import Balance, Credentials, Placed, Worked


class LocalLedger:
    """The `Ledger` port over the writers of some or all of `shards` shards; the others' are an outage."""

    def __init__(self, writers: Sequence[ShardWriter], shards: int) -> None:
        self._writers = {writer.shard: writer for writer in writers}
        self._shards = shards

    @property
    def shards(self) -> int:
        """See `ports.stream.Ledger`."""
        return self._shards

    async def ready(self) -> None:
        """Wait until every shard here has been taken."""
        for writer in self._writers.values():
            await writer.ready()

    async def run(self) -> None:
        """Write the shards, for ever.

        Raises:
            Fault: an invariant of a shard is broken.
        """
        tasks = [asyncio.create_task(writer.run()) for writer in self._writers.values()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.stream.Ledger`."""
        return await self._of(credentials.player_id).register(credentials, username, currency, at)

    def place(self, request: PlaceBet) -> Awaitable[Placed | Rejection]:
        """See `ports.stream.Ledger`."""
        return self._of(request.player_id).place(request)

    async def move_funds(self, request: MoveFunds) -> tuple[FundsMoved, Balance | None] | Rejection:
        """See `ports.stream.Ledger`."""
        return await self._of(request.player_id).move_funds(request)

    async def to_work(self, shard: int, settlement: Settlement) -> int:
        """See `ports.stream.Ledger`."""
        return await self._writer(shard).to_work(settlement)

    async def work(self, shard: int, settlement: Settlement, at: datetime, limit: int) -> Worked:
        """See `ports.stream.Ledger`."""
        return await self._writer(shard).work(settlement, at, limit)

    def _of(self, player_id: PlayerId) -> ShardWriter:
        return self._writer(shard_of(player_id, self._shards))

    def _writer(self, shard: int) -> ShardWriter:
        writer = self._writers.get(shard)
        if writer is None:
            raise Outage(f"shard {shard}")
        return writer
