"""Settlements in PostgreSQL: decided under the market's lock, carried out some bets a transaction.

Invariant: what is left to do is read off the bets themselves, so a worker that dies anywhere leaves nothing half
done and its successor pays nobody twice.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.listening import listening
from touchline.adapters.postgres.markets import QUERIES as MARKET_QUERIES
from touchline.adapters.postgres.markets import PostgresMarkets, write_market
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import (
    bet_of,
    market_of,
    results_text,
    settlement_of,
    wallet_of,
)
from touchline.adapters.postgres.shard_columns import joined_transfers, of_decided
from touchline.core.bet import BetStatus
from touchline.core.errors import Code, Rejection
from touchline.core.ids import BetId, MarketId, MessageId, PlayerId, SelectionId
from touchline.core.ledger import Wallet
from touchline.core.market import Market
from touchline.core.settlement import ROLLBACKS, BetMove, Plan, Settlement, carry_out
from touchline.ports import Balance, Worked

SETTLEMENTS_SHOWN_MAX: Final = 100
WRITTEN_FIRST: Final = 50  # bets, which PostgreSQL idles until they are decided; then twice as many a statement
LOOK_AGAIN_AFTER_S: Final = 2.0
_QUERIES: Final = Queries("settlements.sql")


class PostgresSettlements:
    """The `SettlementStore` port."""

    def __init__(self, database: Database, markets: PostgresMarkets) -> None:
        self._database = database
        self._markets = markets

    async def request(
        self,
        market_id: MarketId,
        plan: Callable[[Market, Sequence[Settlement]], Plan | Rejection | None],
        message_id: MessageId | None = None,
    ) -> Plan | Rejection | None:
        """See `ports.SettlementStore`."""
        async with self._database.transaction() as connection:
            if not await self._markets.is_new(connection, message_id):
                return None
            row = await connection.fetchrow(MARKET_QUERIES["lock_market"], market_id)
            if row is None:
                raise Rejection(Code.MARKET_NOT_FOUND, f"no market {market_id}")
            market = market_of(row)
            standing = [settlement_of(r) for r in await connection.fetch(_QUERIES["standing"], market_id)]
            answer = plan(market, standing)
            if not isinstance(answer, Plan):
                return answer
            if answer.market != market:
                await write_market(connection, answer.market, is_new=False)
            recorded = [await self._record(connection, draft) for draft in answer.settlements]
            await connection.execute(_QUERIES["tell"], market_id)
            return replace(answer, settlements=tuple(recorded))

    async def _record(self, connection: Any, draft: Settlement) -> Settlement:
        settlement_id = await connection.fetchval(
            _QUERIES["request"],
            draft.market_id,
            draft.kind.value,
            results_text(draft),
            draft.undoes,
            draft.placed_from,
            draft.placed_until,
            draft.requested_at,
        )
        if draft.undoes is not None:
            await connection.execute(_QUERIES["undo"], draft.undoes, settlement_id)
        return replace(draft, settlement_id=settlement_id)

    async def of_market(self, market_id: MarketId) -> list[Settlement]:
        """See `ports.SettlementStore`."""
        rows = await self._database.fetch(_QUERIES["of_market"], market_id, SETTLEMENTS_SHOWN_MAX)
        return [settlement_of(row) for row in rows]

    async def next_unfinished(self) -> Settlement | None:
        """See `ports.SettlementStore`."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_QUERIES["next_unfinished"])
            if row is None:
                return None
            if row["bets_total"] is None:
                query, *arguments = _to_work("count", settlement_of(row))
                total = await connection.fetchval(query, *arguments)
                row = await connection.fetchrow(_QUERIES["start"], row["settlement_id"], total)
            return settlement_of(row)

    async def open_bets(self, settlement: Settlement, limit: int) -> list[BetId]:
        """See `ports.SettlementStore`."""
        query, *arguments = _to_work("open", settlement)
        return [BetId(row["bet_id"]) for row in await self._database.fetch(query, *arguments, limit)]

    async def carry_out(self, settlement: Settlement, bet_ids: Sequence[BetId], at: datetime) -> Worked:
        """See `ports.SettlementStore`."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_QUERIES["lock_bets"], bet_ids, settlement.settlement_id)
            place = {bet_id: n for n, bet_id in enumerate(bet_ids)}  # what a player owes may depend on their order
            work = _Work(settlement, sorted(rows, key=lambda row: place[row["bet_id"]]), at)
            written: list[Any] = []
            writing: asyncio.Task[list[Any]] | None = None
            try:
                while moves := work.next():
                    if writing is not None:
                        written += await writing
                    columns = _columns(settlement, moves, work.changed, at)
                    writing = asyncio.create_task(connection.fetch(_QUERIES["record_moves"], *columns))
                    await asyncio.sleep(0)  # it is on its way, and PostgreSQL at work, while the next are decided
                if writing is not None:
                    written += await writing
            finally:
                if writing is not None and not writing.done():
                    await asyncio.wait([writing])
        return work.done(written)

    async def finish(self, settlement: Settlement, at: datetime) -> None:
        """See `ports.SettlementStore`."""
        await self._database.value(_QUERIES["finish"], settlement.settlement_id, at)

    async def requests(self) -> AsyncIterator[None]:
        """See `ports.SettlementStore`. Yields to one worker at a time; another waits until its connection ends."""
        async with listening(self._database.dsn, "settlements") as listener:
            held = False
            while True:
                held = held or await listener.connection.fetchval(_QUERIES["hold_work"])
                if held:
                    yield
                await listener.next(LOOK_AGAIN_AFTER_S)


def _to_work(verb: str, settlement: Settlement) -> tuple[Any, ...]:
    if settlement.kind in ROLLBACKS:
        return _QUERIES[f"{verb}_decided"], settlement.market_id, settlement.undoes
    return (
        _QUERIES[f"{verb}_placed"],
        settlement.market_id,
        settlement.placed_from,
        settlement.placed_until,
        settlement.settlement_id,
    )


class _Work:
    """Locked bets, decided some at a time, and the wallets as the decisions so far leave them."""

    def __init__(self, settlement: Settlement, rows: Sequence[Any], at: datetime) -> None:
        self._settlement = settlement
        self._rows = iter(rows)
        self._at = at
        self._wallets: dict[PlayerId, Wallet] = {}
        self._currency = ""
        self._bets = 0
        self._at_once = WRITTEN_FIRST
        self.changed: dict[PlayerId, Wallet] = {}  # by the moves that `next` returned last

    def next(self) -> list[BetMove]:
        """Return what becomes of the next bets that are still to be worked, as many as one statement writes."""
        moves: list[BetMove] = []
        self.changed = {}
        for row in self._rows:
            bet = bet_of(row)
            if row["undone_by"] is not None or not self._settlement.has_to_work(bet):
                continue
            before = self._wallets.get(bet.player_id) or wallet_of(row)
            move = carry_out(self._settlement, bet, before, self._at)
            after = self._wallets[bet.player_id] = move.posting.wallet
            if after != before:
                self.changed[bet.player_id] = after
            moves.append(move)
            if len(moves) == self._at_once:
                break
        self._at_once *= 2  # a bet takes PostgreSQL twice as long as deciding it does
        if moves:
            self._bets += len(moves)
            self._currency = moves[0].before.currency  # every wallet's
        return moves

    def done(self, written: Iterable[tuple[PlayerId, int]]) -> Worked:
        """Return all that was done, `written` being the wallets written and their versions, in order."""
        balances = {
            player_id: Balance(self._wallets[player_id].balance_minor, self._currency, version)
            for player_id, version in written
        }
        return Worked(self._bets, balances)


def _columns(
    settlement: Settlement, moves: Sequence[BetMove], wallets: Mapping[PlayerId, Wallet], at: datetime
) -> tuple[object, ...]:
    exposures: dict[SelectionId, list[int]] = {}
    for move in moves:
        bet, opened = move.before, 1 if move.status is BetStatus.PLACED else -1
        moved = exposures.setdefault(bet.selection_id, [0, 0, 0])
        moved[0] += opened
        moved[1] += opened * bet.stake_minor
        moved[2] += opened * bet.liability_minor
    return (
        settlement.settlement_id,
        *of_decided(moves),
        settlement.market_id,
        list(exposures),
        *(list(column) for column in zip(*exposures.values(), strict=True)),
        list(wallets),
        [wallet.balance_minor for wallet in wallets.values()],
        [wallet.debt_minor for wallet in wallets.values()],
        at,
        *joined_transfers([move.posting for move in moves]),
    )
