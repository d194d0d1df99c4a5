"""A ledger with what a test does around it: in this process, or in another with the servers of its shards.

`python -m tests.ledgers SHARDS JOURNAL` is that other process: it tells where its shards listen, then does what it
is told on its standard input. Bets that it takes are in the journal before they are answered, so that it can be
killed and begun again.
"""

import asyncio
import os
import pickle
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import uvloop

from tests.clock import HandClock
from tests.contract.settling import settle
from tests.ledger_scene import ledger_stores
from tests.samples import MARKET
from tests.scene import HOME_WINS, RULES, Stores, memory_stores, open_player, price
from touchline.adapters.ledger_stores import LedgerBets
from touchline.adapters.memory.ledger import MemoryLedger
from touchline.adapters.memory.tables import Tables
from touchline.adapters.shards import RemoteLedger
from touchline.core.bet import Bet, PlaceBet
from touchline.core.errors import Rejection
from touchline.core.ids import PlayerId, SelectionId
from touchline.core.market import Market
from touchline.core.settlement import Results, Settlement
from touchline.edge.shard_server import ShardServer
from touchline.ports import Balance, Placed
from touchline.ports.stream import Ledger

ROOT = Path(__file__).parents[1]
SECRET = "the platform's secret, which nobody knows"
SHARDS = 3


class World(Protocol):
    """What stands behind a ledger, as a test sees and changes it."""

    async def price(self, prices: dict[SelectionId, int] | None = None) -> Market: ...

    async def open_player(self, name: str, deposited: int = 100_000) -> PlayerId: ...

    async def settle(self, results: Results = HOME_WINS) -> Settlement: ...

    async def roll_back(self) -> Settlement: ...

    async def bets(self) -> list[Bet]: ...

    async def balance(self, player_id: PlayerId) -> Balance | None: ...

    async def discrepancies(self) -> list[str]: ...


@dataclass
class Scene:
    """A ledger and its world."""

    ledger: Ledger
    world: World


class StoresWorld:
    """The world of a ledger over some stores."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self._players: list[PlayerId] = []

    async def price(self, prices: dict[SelectionId, int] | None = None) -> Market:
        return await price(self.stores, prices)

    async def open_player(self, name: str, deposited: int = 100_000) -> PlayerId:
        self._players.append(await open_player(self.stores, name, deposited))
        return self._players[-1]

    async def settle(self, results: Results = HOME_WINS) -> Settlement:
        return await settle(self.stores, results)

    async def roll_back(self) -> Settlement:
        await self.stores.trading.roll_back(MARKET)
        return (await self.stores.settlements.of_market(MARKET))[0]

    async def bets(self) -> list[Bet]:
        pages = [await self.stores.bets.page(player, None, None, 1_000) for player in self._players]
        return [bet for page in pages for bet in page]

    async def balance(self, player_id: PlayerId) -> Balance | None:
        return await self.stores.accounts.balance(player_id)

    async def discrepancies(self) -> list[str]:
        return await self.stores.books.discrepancies()


class MemoryWorld(StoresWorld):
    """Everything in memory, and the ledger over it."""

    def __init__(self, shards: int = SHARDS) -> None:
        clock, self.tables = HandClock(), Tables()
        super().__init__(memory_stores(clock, self.tables))
        self.ledger = MemoryLedger(self.tables, clock, RULES, shards)


class JournalLedger(MemoryLedger):
    """One whose bets outlive its process: a bet is in the journal before it is answered."""

    journal: int = -1

    async def place(self, request: PlaceBet) -> Placed | Rejection:
        answer = await super().place(request)
        if self.journal >= 0 and isinstance(answer, Placed) and answer.balance is not None:
            record = pickle.dumps(request)
            os.write(self.journal, struct.pack(">I", len(record)) + record)
        return answer

    async def read(self, path: Path) -> None:
        """Place again what the journal at `path` holds, and go on with it."""
        held = path.read_bytes() if path.exists() else b""
        while held:
            length = struct.unpack(">I", held[:4])[0]
            if len(held) < 4 + length:
                raise SystemExit("a record of the journal is cut off")  # it is written by one call
            assert isinstance(await super().place(pickle.loads(held[4 : 4 + length])), Placed)
            held = held[4 + length :]
        self.journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class OtherProcess:
    """The other process, while it lives; what its world has can be called here, and is done there."""

    def __init__(self, child: asyncio.subprocess.Process, addresses: dict[int, str]) -> None:
        self.child = child
        self.addresses = addresses

    @classmethod
    async def begun(cls, shards: int = SHARDS, journal: Path | str = "") -> "OtherProcess":
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.ledgers", str(shards), str(journal)),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        return cls(child, await _receive(child.stdout))

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            assert self.child.stdin is not None
            assert self.child.stdout is not None
            self.child.stdin.write(_packed((name, arguments)))
            return await _receive(self.child.stdout)

        return call

    async def end(self) -> None:
        """Kill it."""
        if self.child.returncode is None:
            self.child.kill()
        await self.child.wait()


@asynccontextmanager
async def remote_scene(shards: int = SHARDS) -> AsyncIterator[Scene]:
    """Yield a ledger whose shards are in another process."""
    world = await OtherProcess.begun(shards)
    ledger = RemoteLedger(shards, at(world.addresses), SECRET)
    try:
        yield Scene(ledger, world)
    finally:
        await ledger.close()
        await world.end()


@asynccontextmanager
async def memory_scene(shards: int = SHARDS) -> AsyncIterator[Scene]:
    """Yield a ledger in this process's memory."""
    world = MemoryWorld(shards)
    yield Scene(world.ledger, world)


@asynccontextmanager
async def written_scene(dsn: str, shards: int = SHARDS) -> AsyncIterator[Scene]:
    """Yield a ledger in the database at `dsn`, its writers in this process."""
    async with ledger_stores(dsn, shards=shards) as stores:
        assert isinstance(stores.bets, LedgerBets)
        yield Scene(stores.bets._ledger, StoresWorld(stores))


def at(addresses: Mapping[int, str]) -> Callable[[], Awaitable[Mapping[int, str]]]:
    """Return a look at `addresses`, as they are whenever it is taken."""

    async def look() -> Mapping[int, str]:
        return addresses

    return look


def _packed(value: object) -> bytes:
    record = pickle.dumps(value)
    return struct.pack(">I", len(record)) + record


async def _receive(stream: asyncio.StreamReader) -> Any:
    (length,) = struct.unpack(">I", await stream.readexactly(4))
    return pickle.loads(await stream.readexactly(length))


async def main(shards: int, journal: str) -> None:
    """Serve all shards; where there is a journal, there are a hundred players and a market from the start."""
    world = MemoryWorld(shards)
    if journal:
        world.ledger = ledger = JournalLedger(world.tables, world.stores.clock, RULES, shards)
        await world.price()
        for number in range(100):
            await world.open_player(f"p{number}")
        await ledger.read(Path(journal))
    servers = [ShardServer(world.ledger, shard, SECRET) for shard in range(1, shards + 1)]
    addresses = {server.shard: await server.start() for server in servers}
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    answer: object = addresses
    while True:
        os.write(sys.stdout.fileno(), _packed(answer))
        name, arguments = await _receive(stdin)
        answer = await getattr(world, name)(*arguments)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
