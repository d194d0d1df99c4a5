"""Decide what waits for a shard's writer: look up what it depends on, and ask the core's `Batch` one by one.

Invariant: what is decided while the batch before is being recorded sees what that did, on record or not.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from touchline.core.acceptance import Acceptance, Rules
from touchline.core.batch import Batch, Version
from touchline.core.bet import PlaceBet
from touchline.core.errors import Fault, Outage, Rejection
from touchline.core.funds import FundsAcceptance, FundsMoved, MoveFunds
from touchline.core.ids import MarketId, PlayerId
from touchline.core.market import Market
from touchline.core.rates import MINUTE, BetRates, RateRules
from touchline.ports import Balance, Clock, Placed
from touchline.ports.shards import Authority, Request, ShardRecords


class Raised(NamedTuple):
    """An answer that is raised."""

    error: Exception


class Deciding:
    """Decides batches of one shard, one at a time, while its `records` are this process's.

    Where there is a `rate`, it bars who bets too often: whatever else takes bets of these players is not counted.
    """

    def __init__(
        self, records: ShardRecords, authority: Authority, rules: Rules, clock: Clock, rate: RateRules | None
    ) -> None:
        self.records = records
        self._authority = authority
        self._rules = rules
        self._clock = clock
        self._rates = None if rate is None else BetRates(rate)

    async def decide(
        self, requests: Sequence[Request], before: Batch | None, recorded: "asyncio.Future[Any] | None"
    ) -> tuple[Batch, Sequence[Any]]:
        """Return a batch and what each request is answered once it is on record.

        `before` is what may not be on record yet, `recorded` is done once it is.

        Raises:
            Outage: another writer has taken the shard.
        """
        records = self.records
        offered, found = await asyncio.gather(self._offered(requests), records.look_up(requests))
        now = offered.at or self._clock.now()
        limited = [player_id for player_id, held in found.accounts.items() if held.account.limits]
        if before is not None and found.next_seq not in (before.first_seq, before.next_seq):
            raise Outage("it, which another writer has taken,")
        if before is not None and recorded is not None and limited and before.hidden_from(found, limited):
            # What counts against limits is read after the rest, and must not have seen more than that has.
            await asyncio.wait([recorded])
            found = await records.look_up(requests)
        passed = self._passed(requests, offered.markets)
        if limited or passed:
            spent, asked_milli = await records.spent(limited, now), await records.asked_milli(passed)
            found = replace(found, spent=spent, asked_milli=asked_milli)
        if offered.away is None:
            bettors = {request.player_id for request in requests if isinstance(request, PlaceBet)}
            await self._learn_rates(bettors & found.accounts.keys(), now)
        batch = Batch(found, offered.markets, self._rules, now, before, self._rates)
        return batch, [_answer(batch, request, offered) for request in requests]

    async def record(self, batch: Batch) -> bool:
        """See `ports.ShardRecords`. Its bets count at once, and no more where they were not recorded."""
        if self._rates is None:
            return await self.records.record(batch)
        self._rates.count(batch.bets, batch.now)
        recorded = False
        try:
            recorded = await self.records.record(batch)
        finally:
            if not recorded:
                self._rates.uncount(batch.bets)
        return recorded

    async def _learn_rates(self, bettors: Collection[PlayerId], now: datetime) -> None:
        """Learn of bets before; `now` is by the authority's clock, as the instants of bets are."""
        unknown = [] if self._rates is None or not bettors else self._rates.unknown(bettors, now)
        if self._rates is not None and unknown:
            self._rates.learn(unknown, await self.records.placed_since(unknown, now - MINUTE))

    async def _offered(self, requests: Sequence[Request]) -> "_Shown":
        markets = {request.market_id for request in requests if isinstance(request, PlaceBet)}
        if not markets:
            return _Shown({}, None, None)
        try:
            offered = await self._authority(markets)
        except Outage as outage:
            return _Shown({}, None, outage)
        return _Shown(offered.markets, offered.at, None)

    def _passed(self, requests: Sequence[Request], markets: Mapping[MarketId, Market]) -> set[Version]:
        """Return the versions that bets ask for and that have passed, where a tolerance may honour them."""
        if not self._rules.odds_tolerance_pct:
            return set()
        return {
            (request.market_id, request.odds_version, request.selection_id)
            for request in requests
            if isinstance(request, PlaceBet)
            and request.market_id in markets
            and request.odds_version < markets[request.market_id].odds_version
        }


class _Shown(NamedTuple):
    """What the authority shows, and since when; nothing where it is `away`."""

    markets: Mapping[MarketId, Market]
    at: datetime | None
    away: Outage | None


def _answer(batch: Batch, request: Request, shown: _Shown) -> Any:
    """Decide on a request, and return what it will be answered once the batch is on record."""
    try:
        if isinstance(request, MoveFunds):
            return _moved(batch, batch.move_funds(request))
        if shown.away is not None:
            return Raised(Outage(shown.away.dependency, shown.away.retry_after_s))
        return _placed(batch, batch.place(request))
    except (Rejection, Fault) as error:
        return Raised(error)


def _placed(batch: Batch, answer: Acceptance | Rejection) -> Placed | Rejection:
    if isinstance(answer, Rejection):
        return answer
    bet, posting = answer.bet, answer.posting
    if posting is None:
        return Placed(bet, None)
    return Placed(bet, Balance(posting.wallet.balance_minor, bet.currency, batch.wallets[bet.player_id].version))


def _moved(
    batch: Batch, answer: FundsAcceptance | Rejection
) -> tuple[FundsMoved, Balance | None] | Rejection:
    if isinstance(answer, Rejection):
        return answer
    moved = answer.moved
    if answer.posting is None:
        return moved, None
    return moved, Balance(moved.balance_minor, moved.currency, batch.wallets[moved.player_id].version)
