"""Settlements in PostgreSQL: decided under the market's lock, carried out some bets a transaction.

Invariant: what is left to do is read off the bets themselves, so a worker that dies anywhere leaves nothing half
done and its successor pays nobody twice.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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
    transfer_columns,
    wallet_of,
)
from touchline.core.bet import BetStatus
from touchline.core.errors import Code, Rejection
from touchline.core.ids import BetId, MarketId, MessageId, PlayerId, SelectionId
from touchline.core.ledger import Wallet
from touchline.core.market import Market
from touchline.core.settlement import ROLLBACKS, BetMove, Plan, Settlement, carry_out
from touchline.ports import Balance, Worked

SETTLEMENTS_SHOWN_MAX: Final = 100
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
            moves, wallets = _carry_out(settlement, rows, at)
            if not moves:
                return Worked(0, {})
            columns = _columns(settlement, moves, wallets, at)
            written = await connection.fetch(_QUERIES["record_moves"], *columns)
        currency = moves[0].bet.currency  # every wallet's
        balances = {
            player_id: Balance(wallets[player_id].balance_minor, currency, version)
            for player_id, version in written
        }
        return Worked(len(moves), balances)

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


def _carry_out(
    settlement: Settlement, rows: Sequence[Any], at: datetime
) -> tuple[list[BetMove], dict[PlayerId, Wallet]]:
    """Return what becomes of each bet that is still to be worked, and the wallets that this leaves changed."""
    moves: list[BetMove] = []
    before: dict[PlayerId, Wallet] = {}
    after: dict[PlayerId, Wallet] = {}
    for row in rows:
        bet = bet_of(row)
        if row["undone_by"] is not None or not settlement.has_to_work(bet):
            continue
        held = before.setdefault(bet.player_id, wallet_of(row))
        move = carry_out(settlement, bet, after.get(bet.player_id, held), at)
        after[bet.player_id] = move.posting.wallet
        moves.append(move)
    return moves, {player_id: wallet for player_id, wallet in after.items() if wallet != before[player_id]}


def _columns(
    settlement: Settlement, moves: Sequence[BetMove], wallets: Mapping[PlayerId, Wallet], at: datetime
) -> tuple[object, ...]:
    bets = [move.bet for move in moves]
    exposures: dict[SelectionId, list[int]] = {}
    for bet in bets:
        opened = 1 if bet.status is BetStatus.PLACED else -1
        moved = exposures.setdefault(bet.selection_id, [0, 0, 0])
        moved[0] += opened
        moved[1] += opened * bet.stake_minor
        moved[2] += opened * bet.liability_minor
    one = bets[0]  # of those that one decision moves all are open again, or all decided by it
    return (
        settlement.settlement_id,
        [bet.bet_id for bet in bets],
        [bet.status.value for bet in bets],
        [bet.result and bet.result.value for bet in bets],
        [bet.payout_minor for bet in bets],
        one.settled_at,
        one.settlement_id,
        one.market_id,
        list(exposures),
        *(list(column) for column in zip(*exposures.values(), strict=True)),
        list(wallets),
        [wallet.balance_minor for wallet in wallets.values()],
        [wallet.debt_minor for wallet in wallets.values()],
        at,
        *transfer_columns([move.posting for move in moves]),
    )
