"""Settlements in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from touchline.adapters.memory.tables import Tables
from touchline.core.bet import Bet
from touchline.core.errors import Code, Rejection
from touchline.core.ids import BetId, MarketId, MessageId, PlayerId
from touchline.core.market import Market
from touchline.core.settlement import ROLLBACKS, Plan, Settlement, carry_out
from touchline.ports import Balance, Clock, Worked


class MemorySettlements:
    """The `SettlementStore` port."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    async def request(
        self,
        market_id: MarketId,
        plan: Callable[[Market, Sequence[Settlement]], Plan | Rejection | None],
        message_id: MessageId | None = None,
    ) -> Plan | Rejection | None:
        """See `ports.SettlementStore`."""
        tables = self._tables
        if message_id in tables.messages:
            return None
        market = tables.markets.get(market_id)
        if market is None:
            raise Rejection(Code.MARKET_NOT_FOUND, f"no market {market_id}")
        standing = [s for s in self._of_market(market_id) if s.kind not in ROLLBACKS]
        answer = plan(market, [s for s in standing if s.settlement_id not in tables.undone])
        if message_id is not None:
            tables.messages[message_id] = self._clock.now()
        if not isinstance(answer, Plan):
            return answer
        if answer.market != market:
            tables.write_market(answer.market)
        recorded = tuple(self._record(draft) for draft in answer.settlements)
        tables.requested += 1
        tables.bell.ring()
        return replace(answer, settlements=recorded)

    def _record(self, draft: Settlement) -> Settlement:
        settlement = replace(draft, settlement_id=len(self._tables.settlements) + 1)
        self._tables.settlements[settlement.settlement_id] = settlement
        if settlement.undoes is not None:
            self._tables.undone[settlement.undoes] = settlement.settlement_id
        return settlement

    async def of_market(self, market_id: MarketId) -> list[Settlement]:
        """See `ports.SettlementStore`."""
        return self._of_market(market_id)

    def _of_market(self, market_id: MarketId) -> list[Settlement]:
        found = [s for s in self._tables.settlements.values() if s.market_id == market_id]
        return sorted(found, key=lambda s: s.settlement_id, reverse=True)

    async def next_unfinished(self) -> Settlement | None:
        """See `ports.SettlementStore`."""
        tables = self._tables
        found = next((s for s in tables.settlements.values() if s.finished_at is None), None)
        if found is None or found.settlement_id in tables.counted:
            return found
        counted = replace(found, bets_total=len(self._to_work(found)))
        tables.counted.add(counted.settlement_id)
        tables.settlements[counted.settlement_id] = counted
        return counted

    async def open_bets(self, settlement: Settlement, limit: int) -> list[BetId]:
        """See `ports.SettlementStore`."""
        return [bet.bet_id for bet in self._to_work(settlement)[:limit]]

    def _to_work(self, settlement: Settlement) -> list[Bet]:
        if settlement.settlement_id in self._tables.undone:
            return []
        return [
            bet
            for bet in self._tables.bets.values()
            if bet.market_id == settlement.market_id and settlement.has_to_work(bet)
        ]

    async def carry_out(self, settlement: Settlement, bet_ids: Sequence[BetId], at: datetime) -> Worked:
        """See `ports.SettlementStore`."""
        tables, balances = self._tables, dict[PlayerId, Balance]()
        bets = [tables.bets[bet_id] for bet_id in bet_ids if settlement.settlement_id not in tables.undone]
        to_work = [bet for bet in bets if settlement.has_to_work(bet)]
        before = {bet.player_id: tables.wallets[bet.player_id] for bet in to_work}
        for bet in to_work:
            move = carry_out(settlement, bet, tables.wallets[bet.player_id].wallet, at)
            tables.post(move.posting)
            tables.bets[bet.bet_id] = move.bet
            tables.move_exposure(move.bet)
        for player_id, held in before.items():  # one step, however many bets: one version, or none
            after = tables.wallets[player_id]
            changed = after.wallet != held.wallet
            tables.wallets[player_id] = replace(after, version=held.version + 1) if changed else held
            if changed:
                balances[player_id] = tables.wallets[player_id].balance
        done = tables.settlements[settlement.settlement_id]
        tables.settlements[settlement.settlement_id] = replace(done, bets_done=done.bets_done + len(to_work))
        return Worked(len(to_work), balances)

    async def finish(self, settlement: Settlement, at: datetime) -> None:
        """See `ports.SettlementStore`."""
        held = self._tables.settlements[settlement.settlement_id]
        if held.finished_at is None:
            self._tables.settlements[settlement.settlement_id] = replace(held, finished_at=at)

    async def requests(self) -> AsyncIterator[None]:
        """See `ports.SettlementStore`."""
        while True:
            seen = self._tables.requested
            yield
            while self._tables.requested == seen:
                await self._tables.bell.wait()
