"""Recordings made at random, heard by a platform: it ends as the last definitions and ladders say.

The oracle below reads the lines by the stream's documentation and shares no code with the feed.
"""

import asyncio
import json
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clock import HandClock
from touchline.adapters.feeds.betfair import BetfairFeed
from touchline.adapters.memory.markets import MemoryMarkets
from touchline.adapters.memory.meters import MemoryMeter
from touchline.adapters.memory.settlements import MemorySettlements
from touchline.adapters.memory.tables import Tables
from touchline.core.bet import BetResult
from touchline.core.ids import MarketId
from touchline.core.market import Market
from touchline.core.settlement import Results, SettlementKind
from touchline.flows.ingest_feed import FeedIngestion
from touchline.wire.feed_v1 import decode_messages, encode_message

PT = 1_700_000_000_000
HANDICAPS = (0, -0.5, 0.5, 1, -0.25)
STATUSES = ("ACTIVE", "ACTIVE", "ACTIVE", "REMOVED", "REMOVED_VACANT", "HIDDEN", "WINNER", "LOSER", "PLACED")
FINAL = ("WINNER", "LOSER", "LOSER", "REMOVED", "PLACED", "HIDDEN")
KEYS = st.tuples(st.integers(1, 3), st.sampled_from(HANDICAPS))


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A market definition."""
    status = draw(st.sampled_from(["OPEN", "OPEN", "SUSPENDED", "INACTIVE", "CLOSED", "CLOSED"]))
    keys = draw(st.lists(KEYS, min_size=1, max_size=5, unique=True))
    statuses = FINAL if status == "CLOSED" and draw(st.integers(0, 4)) else STATUSES
    runners = [{"id": runner, "hc": hc, "status": draw(st.sampled_from(statuses))} for runner, hc in keys]
    return {
        "eventId": draw(st.sampled_from(["7", "7", "8"])),
        "status": status,
        "runners": runners,
        "bettingType": draw(st.sampled_from(["ODDS", "ASIAN_HANDICAP_DOUBLE_LINE"])),
        "numberOfWinners": draw(st.integers(0, 2)),
        "inPlay": draw(st.booleans()),
        "betDelay": draw(st.integers(0, 12)),
    }


PRICES = st.sampled_from([1.01, 2, 2.02, 3.5, 1000])
LADDERS = st.lists(st.tuples(PRICES, st.sampled_from([0, 1, 25.5])), max_size=3)


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    """One market's part of a line."""
    change: dict[str, Any] = {"id": draw(st.sampled_from(["1.1", "1.2"]))}
    change["rc"] = []
    for runner, hc in draw(st.lists(KEYS, max_size=3)):
        prices = {"atb": draw(LADDERS)} if draw(st.booleans()) else {"ltp": draw(st.sampled_from([1.5, 4, 990]))}
        change["rc"].append({"id": runner} | ({"hc": hc} if hc else {}) | prices)
    if draw(st.booleans()):
        change["marketDefinition"] = draw(definitions())
    if draw(st.integers(0, 3)) == 0:
        change["img"] = True
    return change


LINES = st.lists(
    st.fixed_dictionaries(
        {"op": st.just("mcm"), "pt": st.integers(PT, PT + 4), "mc": st.lists(changes(), min_size=1, max_size=3)}
    ),
    min_size=1,
    max_size=12,
)


class Expected:
    """One market as the stream's documentation has it."""

    def __init__(self) -> None:
        self.definition: dict[str, Any] | None = None
        self.ladders: dict[str, dict[float, float]] = {}
        self.last: dict[str, float] = {}
        self.named: set[str] = set()

    def hear(self, change: dict[str, Any]) -> None:
        """Apply one change."""
        if change.get("img"):
            self.ladders, self.last = {}, {}
        for runner in change["rc"]:
            key = key_of(runner)
            if "ltp" in runner:
                self.last[key] = runner["ltp"]
            for price, size in runner.get("atb", ()):
                self.ladders.setdefault(key, {})[price] = size
        if "marketDefinition" in change:
            self.definition = change["marketDefinition"]
            self.named |= {key_of(runner) for runner in self.definition["runners"]}

    def odds_milli(self, key: str) -> int | None:
        """The best price on offer, else the last traded."""
        offered = [price for price, size in self.ladders.get(key, {}).items() if size > 0]
        price = max(offered) if offered else self.last.get(key)
        return None if price is None else round(price * 1000)

    def results(self) -> dict[str, tuple[BetResult, Fraction]] | None:
        """What each selection that ever was is settled as; None where the market isn't decided."""
        assert self.definition is not None
        runners = self.definition["runners"]
        if self.definition["status"] != "CLOSED" or any(each["status"] == "ACTIVE" for each in runners):
            return None
        winners = sum(each["status"] == "WINNER" for each in runners)
        places = self.definition["numberOfWinners"]
        tied = self.definition["bettingType"] == "ODDS" and 0 < places < winners
        share = Fraction(places, winners) if tied else Fraction(1)
        found = dict.fromkeys(self.named, (BetResult.VOID, Fraction(1)))
        for each in runners:
            if each["status"] in ("WINNER", "PLACED"):
                found[key_of(each)] = (BetResult.WON, share)
            elif each["status"] == "LOSER":
                found[key_of(each)] = (BetResult.LOST, Fraction(1))
        return found


def key_of(runner: dict[str, Any]) -> str:
    """A runner's id and handicap as a selection's id."""
    hc = runner.get("hc", 0)
    return f"{runner['id']}:{hc:g}" if hc else str(runner["id"])


def standing(tables: Tables, market_id: str) -> Results | None:
    """The results that stand on a market."""
    undone = {each.undoes for each in tables.settlements.values()}
    settled = [
        each
        for each in tables.settlements.values()
        if each.market_id == market_id and each.kind is SettlementKind.SETTLE and each.settlement_id not in undone
    ]
    return settled[-1].results if settled else None


def heard(lines: list[dict[str, Any]]) -> Tables:
    """A platform that heard a recording, each message over the wire."""
    feed, tables, clock = BetfairFeed(), Tables(), HandClock()
    ingestion = FeedIngestion(
        MemoryMarkets(tables, clock), MemorySettlements(tables, clock), clock, MemoryMeter()
    )

    async def hear() -> None:
        for number, line in enumerate(lines, start=1):
            for message in feed.read_line(number, json.dumps(line).encode()):
                await ingestion.apply_all(decode_messages(encode_message(message)))

    asyncio.run(hear())
    assert feed.stats.malformed.named == []
    return tables


def stands_as(market: Market, expected: Expected) -> None:
    """Check that an undecided market can be bet on just where the stream says so, at its price."""
    assert expected.definition is not None
    status = {"OPEN": "active", "CLOSED": "closed"}.get(expected.definition["status"], "suspended")
    assert market.status.value == status
    assert market.bet_delay_ms == expected.definition["betDelay"] * 1000
    if status == "closed":
        return  # prices stay as they were
    runners = {key_of(each): each["status"] for each in expected.definition["runners"]}
    for selection in market.selections:
        odds, runner = expected.odds_milli(selection.selection_id), runners.get(selection.selection_id)
        if runner in ("REMOVED", "REMOVED_VACANT"):
            assert selection.status.value == "removed"
        elif runner == "ACTIVE" and odds is not None:
            assert (selection.status.value, selection.odds_milli) == ("active", odds)
        else:
            assert selection.status.value == "suspended"


@settings(max_examples=300, deadline=None)
@given(LINES)
def test_a_platform_ends_as_the_last_definitions_and_ladders_say(lines: list[dict[str, Any]]) -> None:
    markets: dict[str, Expected] = {}
    for line in lines:
        for change in line["mc"]:
            markets.setdefault(change["id"], Expected()).hear(change)
    tables = heard(lines)
    for market_id, expected in markets.items():
        market = tables.markets.get(MarketId(market_id))
        if expected.definition is None:
            assert market is None
            continue
        assert market is not None
        assert {each.selection_id for each in market.selections} == expected.named
        results, due = standing(tables, market_id), expected.results()
        if due is None:
            assert results is None
            stands_as(market, expected)
        else:
            assert market.status.value == "settled"
            assert results is not None
            assert {key: (each.result, each.dead_heat_factor) for key, each in results.items()} == due
