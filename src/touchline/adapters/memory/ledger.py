"""A ledger in memory: every shard of it over one set of tables."""

from datetime import datetime
from functools import partial

from touchline.adapters.memory.accounts import MemoryAccounts
from touchline.adapters.memory.bets import MemoryBets
from touchline.adapters.memory.settlements import MemorySettlements
from touchline.adapters.memory.tables import Tables
from touchline.core.acceptance import Rules, decide
from touchline.core.bet import PlaceBet
from touchline.core.errors import Rejection
from touchline.core.facts import shard_of
from touchline.core.funds import FundsMoved, MoveFunds, decide_funds
from touchline.core.ids import BetId
from touchline.core.settlement import Settlement
from touchline.ports import Balance, Clock, Credentials, Placed, Worked


class MemoryLedger:
    """The `Ledger` port."""

    def __init__(self, tables: Tables, clock: Clock, rules: Rules, shards: int) -> None:
        self._tables = tables
        self._shards = shards
        self._bets = MemoryBets(tables, clock, rules)
        self._accounts = MemoryAccounts(tables, clock)
        self._settlements = MemorySettlements(tables, clock)

    @property
    def shards(self) -> int:
        """See `ports.Ledger`."""
        return self._shards

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.Ledger`."""
        known = self._tables.players.get(credentials.player_id)
        if known is not None and known.username == username:
            return True
        return await self._accounts.register(credentials, username, currency, at)

    async def place(self, request: PlaceBet) -> Placed | Rejection:
        """See `ports.Ledger`."""
        return await self._bets.place(request, partial(decide, request))

    async def move_funds(self, request: MoveFunds) -> tuple[FundsMoved, Balance | None] | Rejection:
        """See `ports.Ledger`."""
        return await self._accounts.move_funds(request, partial(decide_funds, request))

    async def to_work(self, shard: int, settlement: Settlement) -> int:
        """See `ports.Ledger`."""
        return len(await self._of_shard(shard, settlement))

    async def work(self, shard: int, settlement: Settlement, at: datetime, limit: int) -> Worked:
        """See `ports.Ledger`."""
        bet_ids = await self._of_shard(shard, settlement)
        return await self._settlements.carry_out(settlement, bet_ids[:limit], at)

    async def _of_shard(self, shard: int, settlement: Settlement) -> list[BetId]:
        bets = self._tables.bets
        open_bets = await self._settlements.open_bets(settlement, len(bets))
        return [bet_id for bet_id in open_bets if shard_of(bets[bet_id].player_id, self._shards) == shard]
