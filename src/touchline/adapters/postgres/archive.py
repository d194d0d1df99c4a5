"""Facts, tables and snapshots in PostgreSQL, all of one instant, read through cursors.

Invariant: what is read is never held whole: the server sorts, and hands out some rows at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from touchline.adapters.postgres import shard_columns as columns
from touchline.adapters.postgres.database import LOCK_TIMEOUT_MS
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import bet_of, fact_of, moved_of, transfer_of, wallet_of
from touchline.adapters.postgres.shards import connected, in_terms
from touchline.core.batch import ExposureMoved, Place
from touchline.core.bet import Bet
from touchline.core.errors import Outage
from touchline.core.facts import Body, Fact, FoldedWallet
from touchline.core.ids import BetId, MarketId, PlayerId, SelectionId
from touchline.ports.archive import PAGE_FACTS, PlayerState, Snapshot
from touchline.wire.snapshots_v1 import snapshot_from_wire, snapshot_to_wire

READ_AT_ONCE: Final = 1_000
PLAYERS_AT_ONCE: Final = 100  # rewritten in one transaction
FACTS_AT_ONCE: Final = 1_000  # carried over in one statement
TIMEOUT_S: Final = 3_600
NAME: Final = "touchline rebuild"
_QUERIES: Final = Queries("archive.sql")
_SHARDS: Final = Queries("shards.sql")


class PostgresArchiveStore:
    """The `ArchiveStore` port, in the database at `dsn`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["PostgresArchive"]:
        """See `ports.ArchiveStore`."""
        async with connected(self._dsn, NAME, timeout_s=TIMEOUT_S) as connection:
            with in_terms():
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    rows = await connection.fetch(_QUERIES["shards"])
                    yield PostgresArchive(connection, {row["shard"]: row["next_seq"] for row in rows})

    async def carry_over(
        self, shards: int, carried: Callable[[PlayerState], Iterable[Body]], at: datetime
    ) -> int:
        """See `ports.ArchiveStore`."""
        patience = {"lock_timeout": str(LOCK_TIMEOUT_MS)}
        async with connected(self._dsn, NAME, patience, timeout_s=TIMEOUT_S) as connection:
            with in_terms():
                if not await connection.fetchval(_QUERIES["to_carry_over"]):
                    return 0
                await connection.execute(_SHARDS["begin"], shards)
            async with self.held():
                with in_terms():
                    async with connection.transaction(isolation="repeatable_read"):
                        await connection.execute(_QUERIES["keep_writers_out"])  # before it sees anything
                        if not await connection.fetchval(_QUERIES["to_carry_over"]):
                            return 0
                        return await _carry_over(connection, carried, at)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """See `ports.ArchiveStore`."""
        async with connected(self._dsn, NAME, timeout_s=TIMEOUT_S) as connection:
            with in_terms():
                for row in await connection.fetch(_QUERIES["shards"]):
                    if not await connection.fetchval(_SHARDS["hold"], row["shard"]):
                        raise Outage(f"shard {row['shard']}: a writer is at work, and its turn")
                    await connection.execute(_QUERIES["fence"], row["shard"])
            yield

    async def keep_snapshot(self, shard: int, snapshot: Snapshot, at: datetime) -> None:
        """See `ports.ArchiveStore`."""
        async with connected(self._dsn, NAME, timeout_s=TIMEOUT_S) as connection:
            with in_terms():
                state = await asyncio.to_thread(snapshot_to_wire, snapshot.fold)
                await connection.execute(_QUERIES["keep_snapshot"], shard, snapshot.next_seq, at, state)

    async def rewrite(self, states: AsyncIterator[PlayerState]) -> int:
        """See `ports.ArchiveStore`."""
        written, some = 0, list[PlayerState]()
        async with connected(self._dsn, NAME, timeout_s=TIMEOUT_S) as connection:
            async for state in states:
                some.append(state)
                if len(some) == PLAYERS_AT_ONCE:
                    written += await _rewrite(connection, some)
                    some.clear()
            return written + await _rewrite(connection, some)

    async def rewrite_exposures(self, exposures: Mapping[Place, ExposureMoved]) -> int:
        """See `ports.ArchiveStore`."""
        async with connected(self._dsn, NAME, timeout_s=TIMEOUT_S) as connection:
            with in_terms():
                moved = columns.of_exposures(exposures)
                return int(await connection.fetchval(_QUERIES["rewrite_exposures"], *moved))


async def _carry_over(
    connection: Any, carried: Callable[[PlayerState], Iterable[Body]], at: datetime
) -> int:
    rows = await connection.fetch(_QUERIES["shards"])
    archive = PostgresArchive(connection, {row["shard"]: row["next_seq"] for row in rows})
    facts, recorded = list[Body](), 0
    for shard in archive.shards:
        async for state in archive.states(shard):
            facts += carried(state)
            while len(facts) >= FACTS_AT_ONCE:
                some, facts = facts[:FACTS_AT_ONCE], facts[FACTS_AT_ONCE:]
                recorded += await _record(connection, shard, some, at)
        recorded += await _record(connection, shard, facts, at)
        facts = []
    return recorded


async def _record(connection: Any, shard: int, facts: Sequence[Body], at: datetime) -> int:
    await connection.execute(_QUERIES["record"], shard, at, *columns.of_facts(facts))
    return len(facts)


async def _rewrite(connection: Any, states: Sequence[PlayerState]) -> int:
    wallets = [(state.player_id, state.wallet) for state in states if state.wallet is not None]
    bets = [bet for state in states for bet in state.bets]
    moves = [moved for state in states for moved in state.moves]
    with in_terms():
        async with connection.transaction():
            done = [
                await connection.execute(
                    _QUERIES["rewrite_wallets"],
                    [player_id for player_id, _ in wallets],
                    [held.wallet.balance_minor for _, held in wallets],
                    [held.wallet.debt_minor for _, held in wallets],
                    [held.version for _, held in wallets],
                ),
                await connection.execute(_QUERIES["rewrite_bets"], *columns.of_bets(bets), *_standing(bets)),
                await connection.execute(
                    _QUERIES["rewrite_moves"], *columns.of_moves(moves), [moved.recorded_at for moved in moves]
                ),
            ]
    return sum(int(status.rpartition(" ")[2]) for status in done)


def _standing(bets: Sequence[Bet]) -> columns.Columns:
    return (
        [bet.placed_at for bet in bets],
        [bet.status.value for bet in bets],
        [bet.result and bet.result.value for bet in bets],
        [bet.payout_minor for bet in bets],
        [bet.settled_at for bet in bets],
        [bet.settlement_id for bet in bets],
    )


class PostgresArchive:
    """The `Archive` port, over a connection in a transaction that sees one instant."""

    def __init__(self, connection: Any, shards: Mapping[int, int]) -> None:
        self._connection = connection
        self._shards = shards

    @property
    def shards(self) -> Mapping[int, int]:
        """See `ports.Archive`."""
        return self._shards

    async def gaps(self, shard: int) -> str | None:
        """See `ports.Archive`."""
        row = await self._connection.fetchrow(_QUERIES["row_of_facts"], shard)
        wanted = self._shards[shard] - 1
        found = (row["facts"], row["first_seq"] or 1, row["last_seq"] or 0)
        return None if found == (wanted, 1, wanted) else f"shard {shard}: facts 1 to {wanted}, on record {found}"

    async def facts_by_player(self, shard: int) -> AsyncIterator[Fact]:
        """See `ports.Archive`."""
        async for row in self._cursor("facts_by_player", shard):
            yield fact_of(row)

    async def facts_since(self, shard: int, seq: int) -> AsyncIterator[Sequence[Fact]]:
        """See `ports.Archive`."""
        while rows := await self._connection.fetch(_QUERIES["facts_since"], shard, seq, PAGE_FACTS):
            yield [fact_of(row) for row in rows]
            seq = rows[-1]["seq"] + 1

    async def facts_of_bets(self, shard: int, bet_ids: Collection[BetId], before: int) -> Sequence[Fact]:
        """See `ports.Archive`."""
        rows = await self._connection.fetch(_QUERIES["facts_of_bets"], shard, before, list(bet_ids))
        return [fact_of(row) for row in rows]

    async def snapshot_at(self, shard: int) -> int:
        """See `ports.Archive`."""
        return int(await self._connection.fetchval(_QUERIES["snapshot_at"], shard) or 1)

    async def newest_snapshot(self, shard: int) -> Snapshot | None:
        """See `ports.Archive`."""
        row = await self._connection.fetchrow(_QUERIES["newest_snapshot"], shard)
        return None if row is None else Snapshot(row["next_seq"], snapshot_from_wire(row["state"]))

    async def exposures(self) -> Mapping[Place, ExposureMoved]:
        """See `ports.Archive`."""
        rows = await self._connection.fetch(_QUERIES["exposures"])
        return {
            (MarketId(row["market_id"]), SelectionId(row["selection_id"])): ExposureMoved(
                row["bets"], row["stakes_minor"], row["liability_minor"]
            )
            for row in rows
        }

    async def states(self, shard: int) -> AsyncIterator[PlayerState]:
        """See `ports.Archive`."""
        async for state in self._joined(shard, {"bets": bet_of, "moves": moved_of, "transfers": transfer_of}):
            yield state

    async def open_states(self, shard: int) -> AsyncIterator[PlayerState]:
        """See `ports.Archive`."""
        async for state in self._joined(shard, {"open_bets": bet_of}):
            yield state

    async def _joined(self, shard: int, parts: Mapping[str, Callable[[Any], Any]]) -> AsyncIterator[PlayerState]:
        """Yield players by their ids, with the rows of each part that are theirs."""
        number = len(self._shards)
        heads = {name: _Head(self._cursor(name, shard, number)) for name in ("wallets", *parts)}
        for head in heads.values():
            await head.step()
        while names := [head.player_id for head in heads.values() if head.row is not None]:
            state = PlayerState(min(names))
            for row in await heads["wallets"].take(state.player_id):
                state.wallet = FoldedWallet(wallet_of(row), row["currency"], row["version"])
            for name, make in parts.items():
                rows = await heads[name].take(state.player_id)
                getattr(state, name.removeprefix("open_")).extend(make(row) for row in rows)
            yield state

    def _cursor(self, name: str, *arguments: object) -> Any:
        return self._connection.cursor(_QUERIES[name], *arguments, prefetch=READ_AT_ONCE)


class _Head:
    """The next row of a cursor that goes by player."""

    def __init__(self, cursor: Any) -> None:
        self._rows = aiter(cursor)
        self.row: Any = None

    @property
    def player_id(self) -> PlayerId:
        """Whose row is next."""
        return PlayerId(self.row["user_id"])

    async def step(self) -> None:
        """Go to the next row."""
        self.row = await anext(self._rows, None)

    async def take(self, player_id: PlayerId) -> list[Any]:
        """Return the next rows that are a player's."""
        rows = []
        while self.row is not None and self.player_id == player_id:
            rows.append(self.row)
            await self.step()
        return rows
