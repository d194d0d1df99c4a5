"""Decisions on markets whose authority is elsewhere: settlements and the facts that tell of them, in one step.

Invariants: a market is closed at its authority before a decision on it goes on record, and takes the status that
the decisions give it after. Between any two of these steps this may die: what is on record stands, and whoever
comes next, another request or the consumer of the facts, brings the authority in line with it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from touchline.adapters.postgres import shard_columns as columns
from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.markets import PostgresMarkets
from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import selections_text, settlement_of
from touchline.adapters.postgres.settlements import PostgresSettlements
from touchline.core.errors import Code, Fault, Outage, Rejection
from touchline.core.facts import MarketDecided, id_of
from touchline.core.ids import EventId, MarketId, MessageId
from touchline.core.market import DECIDED, Market, MarketStep, step_market
from touchline.core.settlement import Plan, Settlement
from touchline.core.standing import in_line
from touchline.ports import Clock, MarketStore
from touchline.ports.settling import Progress

ATTEMPTS_MAX: Final = 10  # of deciding a market that others decide at the same time
_QUERIES: Final = Queries("decisions.sql")
_SETTLEMENTS: Final = Queries("settlements.sql")


class _Overtaken(Exception):
    """Another decision on the market went on record first."""


class PostgresDecisions(PostgresSettlements):
    """The `DecisionStore` port, over the markets' authority."""

    def __init__(self, database: Database, authority: MarketStore, clock: Clock) -> None:
        super().__init__(database, PostgresMarkets(database, clock))
        self._authority = authority
        self._clock = clock

    async def request(
        self,
        market_id: MarketId,
        plan: Callable[[Market, Sequence[Settlement]], Plan | Rejection | None],
        message_id: MessageId | None = None,
    ) -> Plan | Rejection | None:
        """See `ports.SettlementStore`. `plan` is pure, and may be asked more than once."""
        for _ in range(ATTEMPTS_MAX):
            if message_id is not None and await self._markets.is_applied(message_id):
                return None
            market, standing = await self._in_line(market_id)
            answer = plan(market, standing)
            if isinstance(answer, Plan) and answer.market.status in DECIDED and market.status not in DECIDED:
                market = await self._close(market_id) or market
                if market.status in DECIDED:
                    continue  # another decision came first, after what stands was read
                answer = plan(market, standing)
            with suppress(_Overtaken):
                recorded = await self._put_on_record(market, standing, answer, message_id)
                return await self._told(recorded, market_id, message_id)
        raise Outage(f"market {market_id}, which too many decide at once,")

    async def ensure_decided(self, market_id: MarketId) -> None:
        """See `ports.DecisionStore`."""
        await self._in_line(market_id)

    async def _in_line(self, market_id: MarketId) -> tuple[Market, Sequence[Settlement]]:
        """Return a market as its authority has it, in line with its settlements, and those that stand.

        What is changed is the version that was there before the settlements were read, so that of two who do this
        at once the later reading stands.
        """
        for _ in range(ATTEMPTS_MAX):
            market = await self._authority.get(market_id)
            if market is None:
                raise Rejection(Code.MARKET_NOT_FOUND, f"no market {market_id}")
            rows = await self._database.fetch(_SETTLEMENTS["standing"], market_id)
            standing = [settlement_of(row) for row in rows]
            at = self._clock.now()
            if in_line(market, standing, at) is market:
                return market, standing
            await self._authority.change_market(market_id, None, _unless_changed(market, standing, at))
        raise Outage(f"market {market_id}, which too many change at once,")

    async def _close(self, market_id: MarketId) -> Market | None:
        """Close a market that takes bets, so that what is decided next decides all of them; returns it."""

        def change(market: Market | None) -> Market | None:
            if market is None or market.status in DECIDED:
                return market
            return step_market(market, MarketStep.CLOSE, self._clock.now())

        return await self._authority.change_market(market_id, None, change)

    async def _put_on_record(
        self,
        market: Market,
        standing: Sequence[Settlement],
        answer: Plan | Rejection | None,
        message_id: MessageId | None,
    ) -> Plan | Rejection | None:
        async with self._database.transaction() as connection:
            await connection.execute(_QUERIES["hold_market"], market.market_id)
            if not await self._markets.is_new(connection, message_id):
                return None
            rows = await connection.fetch(_SETTLEMENTS["standing"], market.market_id)
            if [row["settlement_id"] for row in rows] != [settlement.settlement_id for settlement in standing]:
                raise _Overtaken
            if not isinstance(answer, Plan):
                return answer
            await self._ensure(connection, market)
            recorded = [await self._record(connection, draft) for draft in answer.settlements]
            facts = [MarketDecided(event_id=market.event_id, settlement=settlement) for settlement in recorded]
            await self._tell(connection, facts)
            await connection.execute(_SETTLEMENTS["tell"], market.market_id)
            return replace(answer, settlements=tuple(recorded))

    async def _told(
        self, recorded: Plan | Rejection | None, market_id: MarketId, message_id: MessageId | None
    ) -> Plan | Rejection | None:
        """Return what is on record, once the authority knows of it too."""
        try:
            if message_id is not None:
                await self._authority.record_message(message_id, self._clock.now())
            if isinstance(recorded, Plan):
                recorded = replace(recorded, market=(await self._in_line(market_id))[0])
        except Outage:
            return recorded  # the decision stands, and the consumer of its facts makes sure of the rest
        return recorded

    async def _ensure(self, connection: Any, market: Market) -> None:
        await connection.execute(
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

    async def _tell(self, connection: Any, facts: Sequence[MarketDecided]) -> None:
        await connection.execute(_QUERIES["tell"], self._clock.now(), *columns.of_facts(facts))

    async def progress(self, settlement: Settlement) -> Progress:
        """See `ports.DecisionStore`."""
        row = await self._database.row(_QUERIES["progress"], settlement.settlement_id)
        if row is None:
            raise Fault(f"the log tells of settlement {settlement.settlement_id}, which is not on record")
        return Progress(settlement_of(row), row["held_up_by"])

    async def begin(self, settlement: Settlement, bets: int) -> None:
        """See `ports.DecisionStore`."""
        await self._database.value(_QUERIES["begin"], settlement.settlement_id, bets)

    async def tell_untold(self) -> int:
        """See `ports.DecisionStore`."""
        async with self._database.transaction() as connection:
            await connection.execute(_QUERIES["hold_telling"])
            facts = [
                MarketDecided(event_id=EventId(row["event_id"]), settlement=settlement_of(row))
                for row in await connection.fetch(_QUERIES["unfinished"])
            ]
            if not facts:
                return 0
            known = await connection.fetch(_QUERIES["told"], [id_of(fact) for fact in facts])
            told = {row["fact_id"] for row in known}
            untold = [fact for fact in facts if id_of(fact) not in told]
            if untold:
                await self._tell(connection, untold)
            return len(untold)


def _unless_changed(
    seen: Market, standing: Sequence[Settlement], at: datetime
) -> Callable[[Market | None], Market | None]:
    """Return what brings a market in line with its settlements where it is still at the version seen."""

    def change(market: Market | None) -> Market | None:
        if market is None or market.odds_version != seen.odds_version:
            return None
        return in_line(market, standing, at)

    return change
