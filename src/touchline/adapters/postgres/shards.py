"""A shard's records in PostgreSQL, in the hands of the one writer that has taken them.

Invariants: a writer holds an advisory lock on a connection of its own, and whatever it writes names its epoch, in
the statement that gives its facts their places; so one that was replaced, and does not know it, writes nothing.
Locks are taken in one order: the shard's row, wallets, then exposures, which all shards share, sorted; then a
settlement's row.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg

from touchline.adapters.postgres import shard_columns as columns
from touchline.adapters.postgres.database import AWAY, COMMAND_TIMEOUT_S, LOCK_TIMEOUT_MS, in_our_terms
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import selections_of, selections_text
from touchline.adapters.postgres.shard_reading import read_position
from touchline.adapters.postgres.shard_settling import ShardSettling
from touchline.adapters.postgres.spending import read_spent_by
from touchline.core.batch import Batch, LookedUp, Version
from touchline.core.errors import Fault, Outage
from touchline.core.facts import AccountOpened, id_of, kind_of
from touchline.core.ids import MarketId, PlayerId
from touchline.core.limits import Spent
from touchline.core.market import Market, MarketStatus, offered_milli
from touchline.core.settlement import Settlement
from touchline.ports import Credentials, Worked
from touchline.ports.shards import Request
from touchline.wire.facts_v1 import body_to_wire

SILENT_MAX_S: Final = 10.0  # a writer that is not heard of for so long may be replaced
BEATS: Final = 5  # signs of life within that time
CONNECT_TIMEOUT_S: Final = 5.0
MARKETS_KNOWN_MAX: Final = 100_000
REFUSED: Final = "TL001"  # a statement refuses itself: a wallet is not as it was, or what is named here
EXPOSURE: Final = "exposure"
UNDONE: Final = "undone"
# A batch's few hundred rows are each looked up by their key, however large the books have grown.
BY_KEY: Final = {
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
_QUERIES: Final = Queries("shards.sql")
_REGISTER: Final = Queries("accounts.sql")["register"]


class PostgresShard:
    """The `ShardStore` port: shard `shard` of `shards`, in the migrated database at `dsn`.

    `address` is where the writer is reached, put on record for those who look for it.
    """

    def __init__(
        self, dsn: str, shard: int, shards: int, *, address: str | None = None, silent_max_s: float = SILENT_MAX_S
    ) -> None:
        self._dsn = dsn
        self._shard = shard
        self._shards = shards
        self._silent_max_s = silent_max_s
        self.address = address

    @property
    def shard(self) -> int:
        """See `ports.ShardStore`."""
        return self._shard

    @asynccontextmanager
    async def taken(self) -> AsyncIterator["TakenShard"]:
        """See `ports.ShardStore`.

        Raises:
            Fault: the books were begun with another number of shards.
        """
        name = f"shard {self._shard}"
        async with AsyncExitStack() as stack:
            # The server ends a writer that is silent, so that one which hangs is replaced, in mid-transaction too.
            silence = f"{round(self._silent_max_s * 1000)}ms"
            alone = {"idle_session_timeout": silence}
            holder = await stack.enter_async_context(connected(self._dsn, f"{name} holder", alone))
            epoch = await self._take(holder)
            writing = {**BY_KEY, "idle_in_transaction_session_timeout": silence}
            writer = await stack.enter_async_context(connected(self._dsn, f"{name} writer", writing))
            await _trust(writer)
            reader = await stack.enter_async_context(connected(self._dsn, f"{name} reader", BY_KEY))
            beating = asyncio.create_task(_beat(holder, self._silent_max_s / BEATS))
            try:
                yield TakenShard(self._shard, self._shards, epoch, writer, reader, beating)
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)

    async def _take(self, holder: Any) -> int:
        with in_terms():
            if not await holder.fetchval(_QUERIES["hold"], self._shard):
                raise Outage(f"shard {self._shard}: another writer has it, and its turn")
            await holder.execute(_QUERIES["begin"], self._shards)
            row = await holder.fetchrow(_QUERIES["take"], self._shard, self.address)
        if row is None or row["shards"] != self._shards:
            kept = None if row is None else row["shards"]
            raise Fault(f"shard {self._shard} of {self._shards}: the books were begun with {kept} shards")
        return int(row["epoch"])


class TakenShard:
    """The `ShardRecords` port."""

    def __init__(
        self, shard: int, shards: int, epoch: int, writer: Any, reader: Any, beating: "asyncio.Task[None]"
    ) -> None:
        self.epoch = epoch
        self._shard = shard
        self._writer = writer
        self._reader = reader
        self._beating = beating
        self._known: set[MarketId] = set()
        self._settling = ShardSettling(writer, shard, shards)

    async def lost(self) -> None:
        """See `ports.ShardRecords`."""
        await asyncio.shield(self._beating)

    async def look_up(self, requests: Sequence[Request]) -> LookedUp:
        """See `ports.ShardRecords`."""
        with in_terms():
            return await read_position(self._reader, self._shard, requests)

    async def spent(self, player_ids: Collection[PlayerId], now: datetime) -> Mapping[PlayerId, Spent]:
        """See `ports.ShardRecords`."""
        with in_terms():
            return await read_spent_by(self._reader, player_ids, now)

    async def asked_milli(self, versions: Collection[Version]) -> Mapping[Version, int]:
        """See `ports.ShardRecords`."""
        markets, numbers = [version[0] for version in versions], [version[1] for version in versions]
        with in_terms():
            past = await self._reader.fetch(_QUERIES["past_versions"], markets, numbers)
        kept = {(row["market_id"], row["odds_version"]): row for row in past}
        found = {}
        for version in versions:
            row = kept.get(version[:2])
            if row is not None:
                status, selections = MarketStatus(row["status"]), selections_of(row["selections"])
                odds_milli = offered_milli(status, selections, version[2])
                if odds_milli is not None:
                    found[version] = odds_milli
        return found

    async def placed_since(
        self, player_ids: Collection[PlayerId], since: datetime
    ) -> Iterable[tuple[PlayerId, datetime]]:
        """See `ports.ShardRecords`."""
        with in_terms():
            rows = await self._reader.fetch(_QUERIES["placed_since"], list(player_ids), since)
        return [(PlayerId(user_id), at) for user_id, at in rows]

    async def record(self, batch: Batch) -> bool:
        """See `ports.ShardRecords`."""
        with in_terms():
            for market_id in {bet.market_id for bet in batch.bets} - self._known:
                await self._ensure(batch.markets[market_id])
            place = (self._shard, self.epoch, batch.first_seq, len(batch.facts), batch.now)
            if not await self._write("record_batch", EXPOSURE, *place, *columns.of_batch(batch)):
                return False
            if batch.fast:
                await self._writer.execute(_QUERIES["flag_fast"], list(batch.fast), batch.now)
            return True

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.ShardRecords`."""
        player_id, role = credentials.player_id, credentials.role.value
        with in_terms():
            async with self._writer.transaction():
                account = (player_id, username, role, credentials.password_hash, currency, at)
                if await self._writer.fetchval(_REGISTER, *account):
                    opened = AccountOpened(player_id=player_id, currency=currency, opened_at=at)
                    fact = (id_of(opened), kind_of(opened).value, player_id, body_to_wire(opened))
                    if not await self._writer.fetchval(_QUERIES["append"], self._shard, self.epoch, at, *fact):
                        raise Outage(f"shard {self._shard}: another writer has taken it")
                    return True
            return bool(await self._writer.fetchval(_QUERIES["username"], player_id) == username)

    async def to_work(self, settlement: Settlement) -> int:
        """See `ports.ShardRecords`."""
        with in_terms():
            return await self._settling.count(settlement)

    async def work(self, settlement: Settlement, at: datetime, limit: int) -> Worked:
        """See `ports.ShardRecords`."""
        with in_terms():
            async with self._settling.next(settlement, at, limit) as work:
                if not work.moves:
                    return Worked(0, {})
                place = (self._shard, self.epoch, len(work.facts), at)
                moved = columns.of_work(work)
                if not await self._write("record_work", UNDONE, *place, *moved, settlement.settlement_id):
                    return Worked(0, {})
        return Worked(len(work.moves), work.balances)

    async def _write(self, name: str, expected: str, *arguments: object) -> bool:
        """Run a statement that may refuse itself; False where it does for what is `expected`."""
        try:
            written = await self._writer.fetchval(_QUERIES[name], *arguments)
        except asyncpg.PostgresError as error:
            if error.sqlstate != REFUSED:
                raise
            if error.message == expected:
                return False
            raise Fault(f"shard {self._shard}: somebody else writes its wallets") from error
        if written is None:
            raise Outage(f"shard {self._shard}: another writer has taken it")
        return True

    async def _ensure(self, market: Market) -> None:
        await self._writer.execute(
            _QUERIES["ensure_market"],
            market.market_id,
            market.event_id,
            market.name,
            market.market_type,
            selections_text(market),
            market.odds_version,
            market.status.value,
            market.bet_delay_ms,
            market.priced_at,
            market.updated_at,
        )
        if len(self._known) >= MARKETS_KNOWN_MAX:
            self._known.clear()
        self._known.add(market.market_id)


@contextmanager
def in_terms() -> Iterator[None]:
    """Raise what the driver raises in the platform's terms."""
    try:
        yield
    except (*AWAY, asyncpg.PostgresError) as error:
        raise in_our_terms(error) from error


@asynccontextmanager
async def connected(
    dsn: str, name: str, settings: Mapping[str, str] | None = None, timeout_s: float = COMMAND_TIMEOUT_S
) -> AsyncIterator[Any]:
    """Lend a connection of one's own; `timeout_s` bounds each statement."""
    with in_terms():
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=timeout_s,
            server_settings={"application_name": name, **(settings or {})},
        )
    try:
        yield connection
    finally:
        connection.terminate()  # its transaction, if there is one, is undone; nobody waits for a server that hangs


async def _trust(writer: Any) -> None:
    """Spare the server a second look at the player and market of each bet: both were read, and none ever goes.

    It is a quarter of what recording a bet costs. Where the role may not ask for it, each is looked at again.
    """
    with in_terms():
        try:
            await writer.execute(_QUERIES["trust"])
        except asyncpg.InsufficientPrivilegeError:
            return


async def _beat(holder: Any, every_s: float) -> None:
    with in_terms():
        while True:
            await holder.fetchval(_QUERIES["beat"], timeout=every_s * BEATS)
            await asyncio.sleep(every_s)
