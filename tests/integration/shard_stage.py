"""One shard, its writer behind a gate, and pods that ask it."""

import asyncio
from typing import Any

from tests.contract.test_ledger_in_shards import bet_on
from tests.ledgers import SECRET, MemoryWorld, at
from touchline.adapters.shards import RemoteLedger
from touchline.core.bet import PlaceBet
from touchline.core.errors import Rejection
from touchline.core.market import Market
from touchline.edge.shard_server import ShardServer
from touchline.ports import Placed

PATIENCE_S = 20  # for what must happen; a test that has to wait for so long fails


class Gate:
    """A ledger that begins a bet at once and answers it once `open` is set; `begun` lists them all."""

    def __init__(self, world: MemoryWorld) -> None:
        self.world = world
        self.shards = world.ledger.shards
        self.begun: list[PlaceBet] = []
        self.open = asyncio.Event()
        self.open.set()
        self.raises: Exception | None = None

    async def place(self, request: PlaceBet) -> Placed | Rejection:
        self.begun.append(request)
        await self.open.wait()
        if self.raises is not None:
            raise self.raises
        return await self.world.ledger.place(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world.ledger, name)

    async def until_begun(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.begun) < count:
                await asyncio.sleep(0)


class Stage:
    """One shard, its writer behind a gate, a market, a player, and a pod's ledger."""

    def __init__(self) -> None:
        self.world = MemoryWorld(1)
        self.gate = Gate(self.world)
        self.addresses: dict[int, str] = {}
        self.servers: list[ShardServer] = []
        self.pods: list[RemoteLedger] = []

    async def begin(self) -> None:
        self.market: Market = await self.world.price()
        self.ann = await self.world.open_player("ann")
        self.server = await self.serve(self.gate)

    async def serve(self, ledger: Any, secret: str = SECRET, shard: int = 1, **more: Any) -> ShardServer:
        """Put a writer in the place of the one before."""
        server = ShardServer(ledger, shard, secret, **more)
        self.addresses[1] = await server.start()
        self.servers.append(server)
        return server

    def pod(self, answer_s: float = 5.0, secret: str = SECRET) -> RemoteLedger:
        self.pods.append(RemoteLedger(1, at(self.addresses), secret, answer_s=answer_s))
        return self.pods[-1]

    def bet(self, key: str | None = None) -> PlaceBet:
        return bet_on(self.market, self.ann, key)

    async def end(self) -> None:
        self.gate.open.set()
        for pod in self.pods:
            await pod.close()
        for server in self.servers:
            await server.close()


async def break_off(server: ShardServer) -> None:
    """Cut every connection, as a writer does that dies."""
    for peer in tuple(server.peers):
        peer._transport.abort()
    while server.peers:
        await asyncio.sleep(0)
