"""Messages of a Unified Odds Feed (Betradar's XML) as feed messages.

Invariant: a message's id comes from the document that it stands in, so that a document read twice says the same
things under the same ids.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Final
from xml.etree.ElementTree import Element  # parsed in `uof_documents`

from touchline.adapters.feeds.recordings import Malformed, Recording
from touchline.adapters.feeds.uof_documents import BadDocument, documents
from touchline.adapters.feeds.values import TIME_MS_MAX, decimal_of, name_of, odds_milli, time_of, time_of_ms
from touchline.core.bet import BetResult
from touchline.core.event import EventStatus
from touchline.core.feed import (
    Alive,
    AnyMessage,
    BetCancel,
    BetSettlement,
    BetStop,
    FixtureChange,
    OddsChange,
    PricedSelection,
    RollbackBetCancel,
    RollbackBetSettlement,
)
from touchline.core.ids import ID_LENGTH_MAX, EventId, MarketId, MessageId, SelectionId
from touchline.core.market import MarketStatus, SelectionStatus
from touchline.core.settlement import VOIDED, Outcome

SELECTIONS_MAX: Final = 1_000
FACTOR_PLACES_MAX: Final = 18  # the wire's; a double has 17 digits
MARKETS_COUNTED_MAX: Final = 100_000
STATUS_OF: Final = {
    "1": MarketStatus.ACTIVE,
    "0": MarketStatus.SUSPENDED,  # deactivated: it may come back
    "-1": MarketStatus.SUSPENDED,
    "-3": MarketStatus.CLOSED,  # settled, as its bet_settlement says
    "-4": MarketStatus.CLOSED,  # cancelled, as its bet_cancel says
}
HANDED_OVER: Final = "-2"  # another producer goes on with the market, and says how it stands
EVENT_STATUS_OF: Final = {
    "0": EventStatus.SCHEDULED,
    "1": EventStatus.LIVE,
    "2": EventStatus.LIVE,  # suspended
    "3": EventStatus.ENDED,
    "4": EventStatus.ENDED,  # closed
    "5": EventStatus.ENDED,  # cancelled
    "6": EventStatus.SCHEDULED,  # delayed
    "7": EventStatus.LIVE,  # interrupted
    "8": EventStatus.SCHEDULED,  # postponed
    "9": EventStatus.ENDED,  # abandoned
    "not_started": EventStatus.SCHEDULED,
    "live": EventStatus.LIVE,
    "ended": EventStatus.ENDED,
    "closed": EventStatus.ENDED,
    "cancelled": EventStatus.ENDED,
    "abandoned": EventStatus.ENDED,
}
FIXTURE_CANCELLED: Final = "3"
# The API's answers beside the feed: descriptions, profiles, schedules. None prices or decides anything.
SAYS_NOTHING: Final = frozenset(
    {
        "snapshot_complete",
        "response",
        "market_descriptions",
        "variant_descriptions",
        "void_reasons_descriptions",
        "betstop_reasons_descriptions",
        "betting_status_descriptions",
        "match_status_descriptions",
        "producers",
        "bookmaker_details",
        "sports",
        "sport_categories",
        "sport_tournaments",
        "tournaments",
        "tournament_info",
        "tournament_schedule",
        "schedule",
        "race_schedule",
        "fixture_changes",
        "result_changes",
        "match_summary",
        "match_timeline",
        "stage_summary",
        "player_profile",
        "competitor_profile",
        "simpleteam_profile",
        "venue_summary",
    }
)
_STRANGE: Final = re.compile(r"[^A-Za-z0-9._:|=/@+-]")


@dataclass(slots=True)
class UofStats:
    """What recordings held; `other_documents` counts by name those that say nothing of events or markets."""

    documents: int = 0
    messages: int = 0
    market_ids: set[MarketId] = field(default_factory=set)
    other_documents: dict[str, int] = field(default_factory=dict)
    malformed: Malformed = field(default_factory=Malformed)

    @property
    def markets(self) -> int:
        """How many markets were seen, at most `MARKETS_COUNTED_MAX`."""
        return len(self.market_ids)


class UofFeed:
    """Recordings in, feed messages out."""

    def __init__(self) -> None:
        self.stats = UofStats()

    def replay(self, recording: Recording) -> Iterator[AnyMessage]:
        """Yield the messages of a whole recording, in its order; never raises for what the recording holds."""
        for place, text, root in documents(recording, self.stats.malformed):
            yield from self.read_document(place, text, root)

    def contents(self) -> str:
        """Say in a few words what was read."""
        others = ", ".join(sorted(self.stats.other_documents))
        return f"{self.stats.documents} documents{f' ({others})' if others else ''}"

    def read_document(self, place: str, text: bytes, root: Element) -> Iterator[AnyMessage]:
        """Yield the messages of one document; what can't be used is counted and named in `stats.malformed`."""
        stats = self.stats
        stats.documents += 1
        name = root.tag
        if name in SAYS_NOTHING:
            stats.other_documents[name] = stats.other_documents.get(name, 0) + 1
            return
        try:
            document = _Document(root, place, hashlib.sha256(text).hexdigest()[:24], _at(root), stats)
            for message in _said(document, name):
                stats.messages += 1
                yield message
        except BadDocument as wrong:
            stats.malformed.note(place, wrong)


@dataclass(slots=True)
class _Document:
    """A document that is being read: its time, and a fresh id for each message that it becomes."""

    root: Element
    place: str
    digest: str
    at: datetime
    stats: UofStats
    said: int = 0

    def message_id(self) -> MessageId:
        """Return the id of the document's next message."""
        self.said += 1
        return MessageId(f"uof:{self.digest}:{self.said}")

    def event_id(self) -> EventId:
        """Return the event that the document is about."""
        return EventId(_id("event_id", self.root.get("event_id")))

    def markets(self) -> Iterator[tuple[MarketId, Element]]:
        """Yield each market of the document with its id: event, market and specifiers, by name, as one.

        A market without an id is noted and passed over.
        """
        for market in self.root.iter("market"):
            try:
                parts = [self.event_id(), _id("market id", market.get("id"))]
            except BadDocument as wrong:
                self.stats.malformed.note(self.place, wrong)
                continue
            if specifiers := market.get("specifiers"):
                parts.append("|".join(sorted(specifiers.split("|"))))
            market_id = MarketId(_id("market id", ":".join(parts)))
            if len(self.stats.market_ids) < MARKETS_COUNTED_MAX:
                self.stats.market_ids.add(market_id)
            yield market_id, market


def _said(document: _Document, name: str) -> Iterator[AnyMessage]:
    if name == "alive":
        yield Alive(message_id=document.message_id(), occurred_at=document.at)
    elif name == "odds_change":
        yield from _status(document)
        yield from _odds_changes(document)
    elif name == "bet_stop":
        # Groups of markets are not told apart: all of the event stop, and the next odds change resumes its own.
        yield BetStop(message_id=document.message_id(), occurred_at=document.at, event_id=document.event_id())
    elif name == "bet_settlement":
        yield from _settlements(document)
    elif name == "fixture_change":
        yield _fixture_change(document)
    elif name == "fixtures_fixture":
        yield _fixture(document)
    elif name in ("bet_cancel", "rollback_bet_cancel", "rollback_bet_settlement"):
        yield from _decisions(document, name)
    else:
        raise BadDocument(f"{name[:40]} is no message of the feed")


def _status(document: _Document) -> Iterator[FixtureChange]:
    status = document.root.find("sport_event_status")
    if status is None:
        return
    home, away = decimal_of(status.get("home_score")), decimal_of(status.get("away_score"))
    clock = status.find("clock")
    stoppage = None if clock is None else clock.get("stoppage_time")
    shown = name_of(None if clock is None else clock.get("match_time"))
    yield FixtureChange(
        message_id=document.message_id(),
        occurred_at=document.at,
        event_id=document.event_id(),
        status=EVENT_STATUS_OF.get(status.get("status", "")),
        score=None if home is None or away is None else f"{home:.10g}-{away:.10g}",
        clock=name_of(f"{shown}+{stoppage}") if shown and stoppage else shown,
    )


def _odds_changes(document: _Document) -> Iterator[OddsChange]:
    for market_id, market in document.markets():
        status = market.get("status", "1")
        if status == HANDED_OVER:
            continue
        try:
            if status not in STATUS_OF:
                raise BadDocument(f"market {market_id}: status {status[:40]!r} is unknown")
            selections = _selections(market, market_id)
        except BadDocument as wrong:
            document.stats.malformed.note(document.place, wrong)
            continue
        yield OddsChange(
            message_id=document.message_id(),
            occurred_at=document.at,
            event_id=document.event_id(),
            market_id=market_id,
            selections=selections,
            name=name_of(market.get("name")),
            market_type=f"UOF_{_id('market id', market.get('id'))}",
            status=STATUS_OF[status],
        )


def _selections(market: Element, market_id: MarketId) -> tuple[PricedSelection, ...]:
    selections = {}
    for outcome in market.findall("outcome"):
        key = SelectionId(_id("outcome id", outcome.get("id")))
        odds = odds_milli(decimal_of(outcome.get("odds"))) if outcome.get("active", "1") == "1" else None
        status = SelectionStatus.SUSPENDED if odds is None else SelectionStatus.ACTIVE
        selections[key] = PricedSelection(
            selection_id=key, name=name_of(outcome.get("name")), odds_milli=odds, status=status
        )
    _check_count(selections, market_id)
    return tuple(selections.values())


def _settlements(document: _Document) -> Iterator[BetSettlement]:
    for market_id, market in document.markets():
        try:
            results = {
                SelectionId(_id("outcome id", outcome.get("id"))): _outcome(outcome)
                for outcome in market.findall("outcome")
            }
            _check_count(results, market_id)
            if not results:
                raise BadDocument(f"market {market_id} has no results")
        except BadDocument as wrong:
            document.stats.malformed.note(document.place, wrong)
            continue
        yield BetSettlement(
            message_id=document.message_id(),
            occurred_at=document.at,
            event_id=document.event_id(),
            market_id=market_id,
            results=results,
        )


def _outcome(outcome: Element) -> Outcome:
    result = outcome.get("result")
    if result not in ("0", "1"):
        raise BadDocument(f"result {result!r} is neither won (1) nor lost (0)")
    void, dead_heat = _factor(outcome, "void_factor", "0"), _factor(outcome, "dead_heat_factor", "1")
    if void == 1:
        return VOIDED
    if dead_heat == 0:
        raise BadDocument("dead_heat_factor is 0")
    return Outcome(BetResult.WON if result == "1" else BetResult.LOST, void, dead_heat)


def _factor(outcome: Element, name: str, default: str) -> Fraction:
    number = decimal_of(outcome.get(name, default))
    if number is None or not 0 <= number <= 1 or number != round(number, FACTOR_PLACES_MAX):
        raise BadDocument(
            f"{name} {outcome.get(name)!r} is no number from 0 to 1 of at most {FACTOR_PLACES_MAX} places"
        )
    return Fraction(number)


def _decisions(document: _Document, name: str) -> Iterator[AnyMessage]:
    began, ended = _time_ms(document.root, "start_time"), _time_ms(document.root, "end_time")
    for market_id, _ in document.markets():
        message_id, event_id, at = document.message_id(), document.event_id(), document.at
        if name == "bet_cancel":
            yield BetCancel(
                message_id=message_id,
                occurred_at=at,
                event_id=event_id,
                market_id=market_id,
                placed_from=began,
                placed_until=ended,
            )
        elif name == "rollback_bet_cancel":
            yield RollbackBetCancel(message_id=message_id, occurred_at=at, event_id=event_id, market_id=market_id)
        else:
            yield RollbackBetSettlement(
                message_id=message_id, occurred_at=at, event_id=event_id, market_id=market_id
            )


def _fixture_change(document: _Document) -> FixtureChange:
    cancelled = document.root.get("change_type") == FIXTURE_CANCELLED
    return FixtureChange(
        message_id=document.message_id(),
        occurred_at=document.at,
        event_id=document.event_id(),
        status=EventStatus.ENDED if cancelled else None,
        start_time=_time_ms(document.root, "start_time"),
    )


def _fixture(document: _Document) -> FixtureChange:
    fixture = document.root.find("fixture")
    if fixture is None:
        raise BadDocument("fixtures_fixture without a fixture")
    sides = {
        side.get("qualifier"): side.get("name", "") for side in fixture.iterfind("competitors/competitor")
    }
    tournament = fixture.find("tournament")
    sport = fixture.find("tournament/sport")
    return FixtureChange(
        message_id=document.message_id(),
        occurred_at=document.at,
        event_id=EventId(_id("fixture id", fixture.get("id"))),
        name=name_of(f"{sides['home']} v {sides['away']}") if {"home", "away"} <= sides.keys() else None,
        sport=None if sport is None else name_of(sport.get("name", "").lower()),
        competition=None if tournament is None else name_of(tournament.get("name")),
        status=EVENT_STATUS_OF.get(fixture.get("status", "")),
        start_time=time_of(fixture.get("start_time") or fixture.get("scheduled")),
    )


def _at(root: Element) -> datetime:
    at = time_of(root.get("generated_at")) if "timestamp" not in root.attrib else _time_ms(root, "timestamp")
    if at is None:
        raise BadDocument("no timestamp")
    return at


def _time_ms(root: Element, name: str) -> datetime | None:
    text = root.get(name)
    if text is None:
        return None
    number = decimal_of(text)
    if number is None or not 0 < number <= TIME_MS_MAX:
        raise BadDocument(f"{name} {text[:40]!r} is no time in milliseconds")
    return time_of_ms(int(number))


def _id(what: str, text: str | None) -> str:
    """Return `text` in the alphabet of ids; where it is too long, its beginning and a digest."""
    if not text:
        raise BadDocument(f"{what} is missing")
    plain = _STRANGE.sub("_", text)
    plain = plain if plain[0].isalnum() else f"x{plain}"
    if plain == text and len(plain) <= ID_LENGTH_MAX:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    return f"{plain[: ID_LENGTH_MAX - len(digest) - 1]}@{digest}"


def _check_count(selections: Mapping[SelectionId, object], market_id: MarketId) -> None:
    if len(selections) > SELECTIONS_MAX:
        raise BadDocument(f"market {market_id} has more than {SELECTIONS_MAX} selections")
