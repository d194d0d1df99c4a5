"""What one subscriber is sent, whatever comes in between: offers and takings in any order."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from touchline.core.delivery import MarketChanged
from touchline.core.ids import EventId, MarketId
from touchline.core.market import MarketStatus
from touchline.core.outbox import Conflated, Outbox, Parcel

MARKETS = [MarketId(f"m{number}") for number in range(5)]
BODY_BYTES = 10
ALL = 10**9

# A market changes to a status; or so many bytes are taken, of stops only or of all.
changes = st.tuples(st.sampled_from(MARKETS), st.sampled_from(MarketStatus))
ticks = st.lists(changes, max_size=4)
takings = st.tuples(st.integers(0, 4 * BODY_BYTES), st.booleans())
steps = st.lists(st.one_of(ticks, takings), max_size=40)
reasons = st.sampled_from(Conflated)


@dataclass
class Authority:
    """Makes changes, each cursor and each version the one after the last."""

    cursor: int = 100
    latest: dict[MarketId, MarketChanged] = field(default_factory=dict)
    made: list[MarketChanged] = field(default_factory=list)

    def change(self, market_id: MarketId, status: MarketStatus) -> MarketChanged:
        self.cursor += 1
        version = self.latest[market_id].odds_version + 1 if market_id in self.latest else 1
        changed = MarketChanged(
            self.cursor, market_id, EventId("e"), status.value, version, b"x" * BODY_BYTES, None
        )
        self.latest[market_id] = changed
        self.made.append(changed)
        return changed


@dataclass
class Subscriber:
    """Checks each parcel against those before it."""

    cursor: int
    versions: dict[MarketId, int] = field(default_factory=dict)
    got: list[MarketChanged] = field(default_factory=list)

    def read(self, parcel: Parcel) -> None:
        assert parcel.cursor >= self.cursor
        self.cursor = parcel.cursor
        for change in parcel.changes:
            assert change.odds_version > self.versions.get(change.market_id, 0)
            self.versions[change.market_id] = change.odds_version
        stopped = [change.status != MarketStatus.ACTIVE for change in parcel.changes]
        assert stopped == sorted(stopped, reverse=True)
        self.got += parcel.changes


@given(steps, reasons)
def test_a_subscriber_ends_with_the_latest_of_each_market_and_nothing_ever_goes_back(
    steps: list[list[tuple[MarketId, MarketStatus]] | tuple[int, bool]], reason: Conflated
) -> None:
    authority, outbox = Authority(), Outbox(100)
    subscriber = Subscriber(100)
    for step in steps:
        if isinstance(step, list):
            made = [authority.change(*change) for change in step]
            outbox.offer(made, authority.cursor, reason)
        else:
            bytes_max, stops_only = step
            parcel = outbox.take(bytes_max, stops_only=stops_only)
            if parcel is not None:
                assert len(parcel.changes) * BODY_BYTES <= max(bytes_max, BODY_BYTES)
                subscriber.read(parcel)
        assert len(outbox) <= len(authority.latest)
        # Whoever resumes from what he was told gets all that he has not got.
        had = {(change.market_id, change.odds_version) for change in subscriber.got}
        owed = [c for c in authority.latest.values() if (c.market_id, c.odds_version) not in had]
        assert all(change.cursor > subscriber.cursor for change in owed)
    rest = outbox.take(ALL)
    if rest is not None:
        subscriber.read(rest)
    assert subscriber.versions == {c.market_id: c.odds_version for c in authority.latest.values()}
    if authority.made and rest is not None:
        assert subscriber.cursor == authority.cursor
    assert len(outbox) == 0


@given(st.lists(changes, max_size=30), reasons)
def test_nothing_is_conflated_for_a_reader_who_keeps_up(
    made: list[tuple[MarketId, MarketStatus]], reason: Conflated
) -> None:
    authority, outbox = Authority(), Outbox(100)
    got = list[MarketChanged]()
    for change in made:
        outbox.offer([authority.change(*change)], authority.cursor, reason)
        parcel = outbox.take(ALL)
        assert parcel is not None
        assert parcel.conflated is None
        assert parcel.cursor == authority.cursor
        got += parcel.changes
    assert got == authority.made


@given(st.lists(changes, min_size=1, max_size=30), reasons)
def test_whoever_misses_a_change_is_told_so_with_the_reason(
    made: list[tuple[MarketId, MarketStatus]], reason: Conflated
) -> None:
    authority, outbox = Authority(), Outbox(100)
    outbox.offer([authority.change(*change) for change in made], authority.cursor, reason)
    parcel = outbox.take(ALL)
    assert parcel is not None
    assert (parcel.conflated is None) == (len(parcel.changes) == len(authority.made))
    assert parcel.conflated in (None, reason)


def test_a_suspension_overtakes_prices_that_wait() -> None:
    authority, outbox = Authority(), Outbox(100)
    for market_id in MARKETS[:4]:
        outbox.offer([authority.change(market_id, MarketStatus.ACTIVE)], authority.cursor, Conflated.SLOW_READER)
    stop = authority.change(MARKETS[4], MarketStatus.SUSPENDED)
    outbox.offer([stop], authority.cursor, Conflated.SLOW_READER)
    assert outbox.urgent
    first = outbox.take(BODY_BYTES)
    assert first == Parcel(100, [stop], None)  # the prices of 101 to 104 have not been sent
    assert not outbox.urgent
    second = outbox.take(2 * BODY_BYTES)
    assert second is not None
    assert second.cursor == 102
    last = outbox.take(ALL)
    assert last is not None
    assert last.cursor == 105


def test_a_suspension_takes_the_place_of_its_market_s_price_and_back() -> None:
    authority, outbox = Authority(), Outbox(100)
    for status in (MarketStatus.ACTIVE, MarketStatus.SUSPENDED):
        outbox.offer([authority.change(MARKETS[0], status)], authority.cursor, Conflated.SLOW_READER)
    assert (outbox.urgent, len(outbox)) == (True, 1)
    outbox.offer([authority.change(MARKETS[0], MarketStatus.ACTIVE)], authority.cursor, Conflated.ASKED)
    assert (outbox.urgent, len(outbox)) == (False, 1)
    assert outbox.take(ALL, stops_only=True) is None
    parcel = outbox.take(ALL)
    assert parcel is not None
    assert [change.odds_version for change in parcel.changes] == [3]
    assert parcel.conflated is Conflated.SLOW_READER  # which he can mend; that he asked for it he knows


def test_what_came_before_the_subscriber_is_not_for_him() -> None:
    authority, outbox = Authority(cursor=90), Outbox(100)
    outbox.offer([authority.change(MARKETS[0], MarketStatus.ACTIVE)], 100, Conflated.ASKED)
    assert outbox.take(ALL) is None
    assert outbox.cursor == 100
