"""A day of betting as a list of operations, done alike on any stores; what each came to is told in words."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from fractions import Fraction
from uuid import UUID

from hypothesis import strategies as st

from tests.clock import HandClock
from tests.samples import AWAY, DRAW, HOME
from tests.scene import Stores, balance_of, bet_on, move, odds_change, open_player, place
from touchline.adapters.memory.chance import SeededChance
from touchline.core import feed
from touchline.core.bet import Accept, Bet, BetResult, PlaceBet
from touchline.core.errors import Rejection
from touchline.core.ids import EventId, MarketId, MessageId, PlayerId, SelectionId, TransferId
from touchline.core.ledger import TransferKind
from touchline.core.limits import LimitKind, Period
from touchline.core.market import MarketStatus, MarketStep
from touchline.core.settlement import Outcome
from touchline.ports import Placed

OPEN_BETS_MAX = 10_000
NO_ID = TransferId(UUID(int=0))
DEPOSITED = 20_000

players = st.sampled_from(["ann", "bob"])
MARKETS = ["m1", "m2", "m3", "m4"]
markets = st.sampled_from(MARKETS)
selections = st.sampled_from([HOME, DRAW, AWAY])
keys = st.none() | st.sampled_from([f"key {n}" for n in range(20)])
outcomes = st.sampled_from(
    [
        Outcome(BetResult.WON),
        Outcome(BetResult.WON, dead_heat_factor=Fraction(1, 2)),
        Outcome(BetResult.WON, void_factor=Fraction(1, 2)),
        Outcome(BetResult.LOST),
        Outcome(BetResult.LOST, void_factor=Fraction(1, 2)),
        Outcome(BetResult.VOID, void_factor=Fraction(1)),
    ]
)
results = st.fixed_dictionaries({HOME: outcomes, DRAW: outcomes, AWAY: outcomes})
seconds = st.none() | st.integers(0, 40)


@dataclass(frozen=True)
class Funds:
    player: str
    amount: int | None  # None: all there is
    kind: TransferKind
    key: str


@dataclass(frozen=True)
class Wager:
    player: str
    market: str
    selection: SelectionId
    stake: int
    key: str | None
    accept: Accept
    stale: bool  # at the price of the market's first version


@dataclass(frozen=True)
class Again:
    """The same request as one before, sent anew."""

    which: int


@dataclass(frozen=True)
class Reprice:
    market: str
    selection: SelectionId
    odds_milli: int
    status: MarketStatus | None


@dataclass(frozen=True)
class Step:
    market: str
    step: MarketStep


@dataclass(frozen=True)
class Decide:
    """The feed decides: results, a cancellation with or without a window, or one of the two taken back."""

    market: str
    kind: type[feed.FeedMessage]
    results: dict[SelectionId, Outcome]
    placed_from: int | None
    placed_until: int | None


@dataclass(frozen=True)
class Trade:
    market: str
    what: str
    results: dict[SelectionId, Outcome]


@dataclass(frozen=True)
class Work:
    """Carry out so many bets of the oldest settlement, as a worker does that stops there."""

    bets: int


@dataclass(frozen=True)
class Limit:
    player: str
    kind: LimitKind
    amount: int | None


bank = st.builds(
    Funds,
    players,
    st.none() | st.integers(1, 6_000),
    st.sampled_from([TransferKind.DEPOSIT, TransferKind.WITHDRAWAL]),
    st.sampled_from([f"key {n}" for n in range(30)]),
)
wager = st.builds(
    Wager,
    players,
    markets,
    selections,
    st.sampled_from([9, 10, 33, 250, 999, 1_500]),
    keys,
    st.sampled_from([Accept.ANY, Accept.ANY, Accept.BETTER, Accept.NONE]),
    st.sampled_from([False, False, True]),
)
reprice = st.builds(
    Reprice,
    markets,
    selections,
    st.integers(1_001, 9_000),
    st.sampled_from([MarketStatus.ACTIVE, MarketStatus.ACTIVE, None, None, MarketStatus.SUSPENDED]),
)
step = st.builds(Step, markets, st.sampled_from([MarketStep.SUSPEND, MarketStep.RESUME, MarketStep.CLOSE]))
decide = st.builds(
    Decide,
    markets,
    st.sampled_from([feed.BetSettlement, feed.BetCancel, feed.RollbackBetSettlement, feed.RollbackBetCancel]),
    results,
    seconds,
    seconds,
)
trade = st.builds(Trade, markets, st.sampled_from(["settle", "void", "roll back", "roll back"]), results)
work = st.builds(Work, st.sampled_from([0, 1, 2, 4, OPEN_BETS_MAX, OPEN_BETS_MAX]))
limit = st.builds(Limit, players, st.sampled_from(LimitKind), st.sampled_from([None, 0, 10_000, 50_000]))
again = st.builds(Again, st.integers(0, 5))
# Of a hundred operations so many are bets, so many prices, ...
WEIGHTS = [
    (wager, 40),
    (reprice, 15),
    (work, 14),
    (bank, 9),
    (decide, 6),
    (again, 6),
    (trade, 4),
    (step, 3),
    (limit, 3),
]
operations = st.sampled_from([kind for kind, weight in WEIGHTS for _ in range(weight)]).flatmap(lambda kind: kind)
Operation = Funds | Wager | Again | Reprice | Step | Decide | Trade | Work | Limit
days = st.integers(30, 90).flatmap(lambda size: st.lists(operations, min_size=size, max_size=size))


@dataclass
class Day:
    """Does operations on `stores`, every name under `prefix`; a second passes with each."""

    stores: Stores
    prefix: str
    deposited: int = 0
    withdrawn: int = 0
    sent: list[PlaceBet] = field(default_factory=list)

    @classmethod
    async def begin(cls, stores: Stores, number: int) -> "Day":
        """Open two players with money and two markets with prices."""
        day = cls(replace(stores, chance=SeededChance(number)), f"{number}-")
        for name in ("ann", "bob"):
            await open_player(day.stores, f"{day.prefix}{name}", DEPOSITED)
            day.deposited += DEPOSITED
        for name in MARKETS:
            await day.reprice(Reprice(name, HOME, 2_000, None))
            await day.reprice(Reprice(name, DRAW, 3_333, None))
            await day.reprice(Reprice(name, AWAY, 4_500, None))
        return day

    def player(self, name: str) -> PlayerId:
        return PlayerId(self.prefix + name)

    def market(self, name: str) -> MarketId:
        return MarketId(self.prefix + name)

    async def do(self, operation: Operation) -> str:
        """Do one operation and tell what it came to."""
        clock = self.stores.clock
        assert isinstance(clock, HandClock)
        clock.move(timedelta(seconds=1))
        try:
            match operation:
                case Funds():
                    return await self.funds(operation)
                case Wager():
                    return await self.wager(operation)
                case Again():
                    return await self.again(operation)
                case Reprice():
                    return await self.reprice(operation)
                case Step():
                    stepped = await self.stores.trading.step(self.market(operation.market), operation.step)
                    return f"{stepped.status} {stepped.odds_version}"
                case Decide():
                    return await self.decide(operation)
                case Trade():
                    return await self.trade(operation)
                case Work():
                    return await self.work(operation.bets)
                case Limit():
                    return await self.limit(operation)
        except Rejection as refused:
            return refused.code

    async def funds(self, operation: Funds) -> str:
        player, amount = self.player(operation.player), operation.amount
        if amount is None:
            amount = await balance_of(self.stores, player) or 1
        answer = await move(self.stores, player, amount, operation.key, operation.kind)
        if isinstance(answer, Rejection):
            return answer.code
        moved, balance = answer
        if balance is not None and moved.kind is TransferKind.DEPOSIT:
            self.deposited += moved.amount_minor
        elif balance is not None:
            self.withdrawn += moved.amount_minor
        return f"{moved} {balance}"

    async def wager(self, operation: Wager) -> str:
        market = await self.stores.markets.get(self.market(operation.market))
        assert market is not None
        request = bet_on(
            self.stores,
            market,
            self.player(operation.player),
            operation.selection,
            operation.stake,
            operation.key,
            operation.accept,
        )
        if operation.stale:
            request = replace(request, odds_version=1)
        self.sent.append(request)
        return await self.send(request)

    async def again(self, operation: Again) -> str:
        keyed = [request for request in self.sent if request.idempotency_key is not None]
        return await self.send(keyed[-1 - operation.which]) if len(keyed) > operation.which else "nothing sent"

    async def send(self, request: PlaceBet) -> str:
        answer = await place(self.stores, request)
        if isinstance(answer, Placed):
            return f"{told(answer.bet)} {answer.balance}"
        return f"{answer.code} {answer.extra}"

    async def reprice(self, operation: Reprice) -> str:
        change = odds_change(
            self.stores,
            {operation.selection: operation.odds_milli},
            self.market(operation.market),
            EventId(f"{self.prefix}event"),
            operation.status,
        )
        return f"{await self.stores.feed.apply(change)}"

    async def decide(self, operation: Decide) -> str:
        more: dict[str, object] = {}
        if operation.kind is feed.BetSettlement:
            more = {"results": operation.results}
        if operation.kind is feed.BetCancel:
            clock = HandClock()
            more = {
                name: None if at is None else clock.now() + timedelta(seconds=at)
                for name, at in (("placed_from", operation.placed_from), ("placed_until", operation.placed_until))
            }
        message = operation.kind(  # type: ignore[call-arg]  # each kind has what it needs
            message_id=MessageId(str(self.stores.chance.uuid())),
            occurred_at=self.stores.clock.now(),
            event_id=EventId(f"{self.prefix}event"),
            market_id=self.market(operation.market),
            **more,
        )
        first, second = await self.stores.feed.apply(message), await self.stores.feed.apply(message)  # type: ignore[arg-type]  # one of the feed's messages
        return f"{first} {second}"

    async def trade(self, operation: Trade) -> str:
        market_id = self.market(operation.market)
        if operation.what == "settle":
            await self.stores.trading.settle(market_id, operation.results)
        elif operation.what == "void":
            await self.stores.trading.void(market_id)
        else:
            await self.stores.trading.roll_back(market_id)
        return "done"

    async def work(self, bets: int) -> str:
        settlement = await self.stores.settlements.next_unfinished()
        if settlement is None:
            return "nothing to work"
        at = self.stores.clock.now()
        open_bets = sorted(await self.stores.settlements.open_bets(settlement, OPEN_BETS_MAX))
        worked = await self.stores.settlements.carry_out(settlement, open_bets[:bets], at)
        if bets >= len(open_bets):
            await self.stores.settlements.finish(settlement, at)
        return f"{settlement.kind} of {settlement.bets_total}: {worked.bets}, {sorted(worked.balances.items())}"

    async def limit(self, operation: Limit) -> str:
        wanted = {(operation.kind, Period.DAY): operation.amount}
        now = self.stores.clock.now()
        limits = await self.stores.accounts.change_limits(self.player(operation.player), wanted, now)
        return f"{sorted((limits or {}).items())}"

    async def work_all(self) -> None:
        while await self.work(OPEN_BETS_MAX) != "nothing to work":
            pass

    async def state(self) -> list[str]:
        """Tell all that can be read of this day's players and markets."""
        found = []
        for name in ("ann", "bob"):
            player = self.player(name)
            profile = await self.stores.accounts.profile(player)
            assert profile is not None
            account = profile.account
            found.append(f"{profile.username} {account.wallet} {sorted(account.limits.items())}")
            found.append(str(await self.stores.accounts.balance(player)))
            found += [told(bet) for bet in await self.stores.bets.page(player, None, None, 1_000)]
            transfers = await self.stores.accounts.transactions(player, None, 1_000)
            # Their ids, and so the order of those of one instant, come from settlements' own numbers.
            found += sorted(str(replace(transfer, transfer_id=NO_ID)) for transfer in transfers)
        for name in MARKETS:
            market_id = self.market(name)
            found.append(str(await self.stores.markets.get(market_id)))
            found.append(str(await self.stores.history(market_id)))
            found += [
                f"{s.kind} {sorted(s.results.items(), key=str)} {s.requested_at} {s.finished_at} "
                f"{s.bets_done} of {s.bets_total}"
                for s in await self.stores.settlements.of_market(market_id)
            ]
        exposures = await self.stores.bets.exposures()
        return found + [str(exposure) for exposure in exposures if exposure.market_id.startswith(self.prefix)]


def told(bet: Bet) -> str:
    """Tell a bet in words; a settlement's number is its database's own."""
    return str(replace(bet, settlement_id=None))
