"""Recordings of Betfair's Exchange Stream API as feed messages; the odds are the best price to back at.

Invariant: a message's id comes from its market, its published time and its place in the recording, so that a
recording replayed twice says the same things under the same ids. Memory is bounded by the number of markets.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from touchline.adapters.feeds.betfair_lines import (
    LEVELS_MAX,
    RUNNERS_MAX,
    BadLine,
    Definition,
    MarketChange,
    Runner,
    RunnerChange,
    decode_change,
    decode_line,
    selection_id,
)
from touchline.adapters.feeds.betfair_results import REMOVED, results_of
from touchline.adapters.feeds.recordings import Malformed, Recording
from touchline.adapters.feeds.values import is_positive, name_of, odds_milli, time_of, time_of_ms
from touchline.core.event import EventStatus
from touchline.core.feed import (
    AnyMessage,
    BetSettlement,
    FixtureChange,
    OddsChange,
    PricedSelection,
    RollbackBetSettlement,
)
from touchline.core.ids import EventId, MarketId, MessageId, SelectionId
from touchline.core.market import MarketStatus, SelectionStatus
from touchline.core.settlement import Results

MARKETS_MAX: Final = 50_000
# Line markets trade a number of runs or points at even money: what their ladders hold is no odds.
UNPRICED_TYPES: Final = frozenset({"LINE", "RANGE"})
STATUS_OF: Final = {
    "OPEN": MarketStatus.ACTIVE,
    "SUSPENDED": MarketStatus.SUSPENDED,
    "INACTIVE": MarketStatus.SUSPENDED,
    "CLOSED": MarketStatus.CLOSED,
}
SPORT_OF_EVENT_TYPE: Final = {
    "1": "soccer",
    "2": "tennis",
    "3": "golf",
    "4": "cricket",
    "5": "rugby union",
    "6": "boxing",
    "7": "horse racing",
    "8": "motor sport",
    "11": "cycling",
    "1477": "rugby league",
    "3503": "darts",
    "4339": "greyhound racing",
    "6422": "snooker",
    "6423": "american football",
    "7511": "baseball",
    "7522": "basketball",
    "7524": "ice hockey",
    "61420": "australian rules",
    "468328": "handball",
    "998917": "volleyball",
    "2378961": "politics",
    "26420387": "mixed martial arts",
    "27454571": "esports",
}


@dataclass(slots=True)
class BetfairStats:
    """What a recording held. `unplaced` counts changes of markets whose definition never came before them."""

    lines: int = 0
    updates: int = 0
    messages: int = 0
    market_ids: set[MarketId] = field(default_factory=set)
    settled: int = 0
    heartbeats: int = 0
    unplaced: int = 0
    other_lines: dict[str, int] = field(default_factory=dict)  # lines of other streams, by op
    malformed: Malformed = field(default_factory=Malformed)

    @property
    def markets(self) -> int:
        """How many markets were defined."""
        return len(self.market_ids)


@dataclass(slots=True)
class _Prices:
    """A runner's cache: what can be backed by price (`atb`) or by level (`batb`, `bdatb`), and the last traded."""

    atb: set[int] = field(default_factory=set)
    batb: dict[int, int] = field(default_factory=dict)
    bdatb: dict[int, int] = field(default_factory=dict)
    ltp: int | None = None

    def apply(self, change: RunnerChange) -> None:
        """Apply a delta, in which a size of 0 removes."""
        for price, size in change.atb or ():
            milli = odds_milli(price)
            if milli is None:
                continue
            if not is_positive(size):
                self.atb.discard(milli)
            elif len(self.atb) < LEVELS_MAX:
                self.atb.add(milli)
        for levels, changes in ((self.batb, change.batb), (self.bdatb, change.bdatb)):
            for level, price, size in changes or ():
                milli = odds_milli(price)
                if milli is not None and is_positive(size):
                    levels[level] = milli
                else:
                    levels.pop(level, None)
        if change.ltp is not None:
            self.ltp = odds_milli(change.ltp)

    def best(self) -> int | None:
        """Return the best back price, else the last traded one, in thousandths; None where there's neither."""
        for prices in (self.atb, self.batb.values(), self.bdatb.values()):
            if prices:
                return max(prices)
        return self.ltp


@dataclass(slots=True)
class _Event:
    """An event as told so far. `open_markets` are those of its markets that are not closed."""

    event_id: EventId
    told: FixtureChange | None = None
    open_markets: set[MarketId] = field(default_factory=set)
    was_live: bool = False
    sequence: int = 0


@dataclass(slots=True)
class _Market:
    """A market as cached and as told so far."""

    market_id: MarketId
    definition: Definition | None = None
    prices: dict[SelectionId, _Prices] = field(default_factory=dict)
    told: tuple[object, ...] = ()  # status, bet delay, name and type, as the last odds change had them
    told_selections: dict[SelectionId, PricedSelection] = field(default_factory=dict)
    settled: Results | None = None
    pt: int = 0
    sequence: int = 0

    def advance(self, pt: int) -> int:
        """Return the time of a change published at `pt`: a clock that goes back must not make its news old."""
        self.pt = max(self.pt, pt)
        return self.pt

    def define(self, definition: Definition) -> None:
        """Replace the definition; a market stays with the event that it was first told of."""
        first = definition if self.definition is None else self.definition
        self.definition = msgspec.structs.replace(definition, event=first.event)

    def message_id(self, pt: int) -> MessageId:
        """Return the id of the market's next message."""
        self.sequence += 1
        return MessageId(f"betfair:{self.market_id}:{pt}:{self.sequence}")


class BetfairFeed:
    """One recording's state: a line in, feed messages out."""

    def __init__(self) -> None:
        self.stats = BetfairStats()
        self._markets: dict[MarketId, _Market] = {}
        self._events: dict[EventId, _Event] = {}

    def replay(self, recording: Recording) -> Iterator[AnyMessage]:
        """Yield the messages of a whole recording, in its order; never raises for what the recording holds."""
        for number, text in recording.lines(self.stats.malformed):
            yield from self.read_line(number, text)

    def contents(self) -> str:
        """Say in a few words what was read."""
        others = ", ".join(sorted(self.stats.other_lines))
        of_others = f", of other streams ({others})" if others else ""
        return f"{self.stats.lines} lines{of_others}"

    def read_line(self, number: int, text: bytes) -> Iterator[AnyMessage]:
        """Yield the messages of one line; what can't be used is counted and named in `stats.malformed`."""
        stats = self.stats
        stats.lines += 1
        try:
            line = decode_line(text)
        except BadLine as wrong:
            stats.malformed.note(f"line {number}", wrong)
            return
        if line.op != "mcm":
            stats.other_lines[line.op] = stats.other_lines.get(line.op, 0) + 1
            return
        stats.heartbeats += line.ct == "HEARTBEAT"
        for place, raw in enumerate(line.mc or (), start=1):
            try:
                change = decode_change(raw)
                market = self._admit(change)
            except BadLine as wrong:
                stats.malformed.note(f"line {number}, market change {place}", wrong)
                continue
            stats.updates += 1
            for message in self._apply(market, change, line.pt or 0):
                stats.messages += 1
                yield message

    def _admit(self, change: MarketChange) -> _Market:
        """Return the market of `change`, which fits what is known and the maxima of this recording."""
        market_id, definition = MarketId(change.id), change.market_definition
        market = self._markets.get(market_id)
        if market is None:
            if len(self._markets) >= MARKETS_MAX:
                raise BadLine(f"more than {MARKETS_MAX} markets in one recording")
            market = self._markets[market_id] = _Market(market_id)
        if definition is not None:
            keys = {selection_id(runner.id, runner.hc) for runner in definition.runners}
            if len(keys | market.told_selections.keys()) > RUNNERS_MAX:
                raise BadLine(f"market {market_id} has had more than {RUNNERS_MAX} runners")
        return market

    def _apply(self, market: _Market, change: MarketChange, pt: int) -> Iterator[AnyMessage]:
        if change.img:
            market.prices.clear()
        for runner in change.rc or ():
            key = selection_id(runner.id, runner.hc)
            if key in market.prices or len(market.prices) < RUNNERS_MAX:
                market.prices.setdefault(key, _Prices()).apply(runner)
        if change.market_definition is not None:
            self.stats.market_ids.add(market.market_id)
            market.define(change.market_definition)
        if market.definition is None:
            self.stats.unplaced += 1
            return
        pt = market.advance(pt)
        at = time_of_ms(pt)
        event = self._place(market, market.definition)
        if change.market_definition is not None and event.open_markets:
            yield from _fixture(event, market.definition, pt, at)
        yield from self._decide_and_price(market, market.definition, pt, at)
        if change.market_definition is not None and not event.open_markets:
            yield from _fixture(event, market.definition, pt, at)

    def _place(self, market: _Market, definition: Definition) -> _Event:
        event_id = definition.event_id
        event = self._events.setdefault(event_id, _Event(event_id))
        if definition.status == "CLOSED":
            event.open_markets.discard(market.market_id)
        else:
            event.open_markets.add(market.market_id)
        event.was_live = event.was_live or bool(definition.in_play)
        return event

    def _decide_and_price(
        self, market: _Market, definition: Definition, pt: int, at: datetime
    ) -> Iterator[AnyMessage]:
        selections = _selections(market, definition)
        results = results_of(definition, selections)
        event_id = definition.event_id
        if market.settled is not None and (results is None or results.keys() != market.settled.keys()):
            market.settled = None
            yield RollbackBetSettlement(
                message_id=market.message_id(pt), occurred_at=at, event_id=event_id, market_id=market.market_id
            )
        if market.settled is None:  # on a decided market nothing is priced, and nothing counts as told
            yield from _odds_change(market, definition, selections, pt, at)
        if results is not None and results != market.settled:
            self.stats.settled += market.settled is None
            market.settled = results
            yield BetSettlement(
                message_id=market.message_id(pt),
                occurred_at=at,
                event_id=event_id,
                market_id=market.market_id,
                results=results,
            )


def _selections(market: _Market, definition: Definition) -> list[PricedSelection]:
    """Return every selection as it stands; one that the definition no longer names can't be backed."""
    closed = definition.status == "CLOSED"
    standing = {}
    for runner in definition.runners:
        key = selection_id(runner.id, runner.hc)
        cached = market.prices.get(key)
        odds = None if cached is None or definition.betting_type in UNPRICED_TYPES else cached.best()
        if runner.status in REMOVED:
            odds, status = None, SelectionStatus.REMOVED
        elif runner.status == "ACTIVE" and odds is not None:
            status = SelectionStatus.ACTIVE
        else:
            odds, status = None, SelectionStatus.SUSPENDED
        told = market.told_selections.get(key)
        if closed and told is not None and status is SelectionStatus.SUSPENDED:
            standing[key] = told
        else:
            name = _runner_name(definition, runner)
            standing[key] = PricedSelection(selection_id=key, name=name, odds_milli=odds, status=status)
    for key in [key for key in market.told_selections if key not in standing]:
        standing[key] = PricedSelection(selection_id=key, status=SelectionStatus.SUSPENDED)
    return list(standing.values())


def _odds_change(
    market: _Market, definition: Definition, selections: list[PricedSelection], pt: int, at: datetime
) -> Iterator[OddsChange]:
    """Yield what changed since the last odds change, if anything."""
    changed = [each for each in selections if market.told_selections.get(each.selection_id) != each]
    status = STATUS_OF[definition.status]
    name, market_type = name_of(definition.name), name_of(definition.market_type)
    delay_ms = (definition.bet_delay or 0) * 1000
    told = (status, delay_ms, name, market_type)
    if not changed and told == market.told:
        return
    market.told = told
    market.told_selections.update((each.selection_id, each) for each in changed)
    yield OddsChange(
        message_id=market.message_id(pt),
        occurred_at=at,
        event_id=definition.event_id,
        market_id=market.market_id,
        selections=tuple(changed),
        name=name,
        market_type=market_type,
        status=status,
        bet_delay_ms=delay_ms,
    )


def _fixture(event: _Event, definition: Definition, pt: int, at: datetime) -> Iterator[FixtureChange]:
    """Yield the event if it is not as it was last told."""
    status = EventStatus.LIVE if event.was_live else EventStatus.SCHEDULED
    started = definition.open_date or definition.market_time
    change = FixtureChange(
        message_id=MessageId(f"betfair:event:{event.event_id}:{pt}:{event.sequence + 1}"),
        occurred_at=at,
        event_id=event.event_id,
        name=name_of(definition.event_name) or name_of(definition.venue),
        sport=SPORT_OF_EVENT_TYPE.get(str(definition.event_type_id)),
        status=status if event.open_markets else EventStatus.ENDED,
        start_time=time_of(started),
    )
    if event.told is None or _without_id(change) != _without_id(event.told):
        event.told = change
        event.sequence += 1
        yield change


def _without_id(change: FixtureChange) -> tuple[object, ...]:
    return (change.name, change.sport, change.status, change.start_time)


def _runner_name(definition: Definition, runner: Runner) -> str | None:
    name = name_of(runner.name)
    if name and runner.hc and definition.betting_type == "ASIAN_HANDICAP_DOUBLE_LINE":
        return f"{name[:180]} {runner.hc.normalize():+f}"
    return name
