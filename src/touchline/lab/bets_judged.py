"""Whether what a player was told about his bets is what the books hold.

Invariant: a client can't know what became of an attempt that was not answered, or answered 5xx: the books may hold
its bet or not. Everything else is certain.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from touchline.lab.records import BetAttempt
from touchline.lab.verdicts import Finding, Rule, Tally

EXPONENTS: Final = {"JPY": 0, "KWD": 3}  # ISO 4217; every other currency here has two digits
NO_BET: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What breaks no rule: clocks that differ by `clocks`, and odds honoured that moved by up to `odds_pct` %."""

    clocks: timedelta = timedelta(0)
    odds_pct: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBet:
    """A bet of the books with what its version of the market offered, from `began_at` until `ended_at`."""

    bet_id: UUID
    user_id: str
    event_id: str
    market_id: str
    selection_id: str
    odds_milli: int
    odds_version: int
    stake_minor: int
    currency: str
    idempotency_key: str | None
    created_at: datetime
    requested_odds_milli: int
    requested_odds_version: int
    market_status: str | None
    selection_status: str | None
    offered_odds: str | None
    began_at: datetime | None
    ended_at: datetime | None

    def __str__(self) -> str:
        key = "without a key" if self.idempotency_key is None else f"key {self.idempotency_key}"
        return f"bet {self.bet_id} of {self.user_id}, {key}"


@dataclass(frozen=True, slots=True)
class StaleBet:
    """A bet at a version in force at no instant between request and answer, which a tolerance may excuse."""

    bet: RecordedBet
    sent_at: datetime
    answered_at: datetime | None

    def __str__(self) -> str:
        force = f"in force from {self.bet.began_at} until {self.bet.ended_at}"
        asked = f"not between its request, {self.sent_at}, and its answer, {self.answered_at}"
        return f"{self.bet}: version {self.bet.odds_version} of {self.bet.market_id} was {force}, {asked}"

    def excused_at(self, odds_milli: int, tolerance: Tolerance) -> bool:
        """Tell whether the bet may stand at what was asked for, `odds_milli` being the price by then."""
        asked = self.bet.requested_odds_milli
        honoured = (self.bet.odds_milli, self.bet.odds_version) == (asked, self.bet.requested_odds_version)
        return honoured and abs(odds_milli - asked) * 100 <= tolerance.odds_pct * asked


class Outcome(Enum):
    """What a client knows of an attempt."""

    ACKNOWLEDGED = 1
    REFUSED = 2
    UNKNOWN = 3


def outcome_of(attempt: BetAttempt) -> Outcome:
    """Return what the client knows of an attempt."""
    if attempt.status == 201:
        return Outcome.ACKNOWLEDGED
    if attempt.status is not None and 400 <= attempt.status < 500:
        return Outcome.REFUSED
    return Outcome.UNKNOWN


def judge_player(
    attempts: Sequence[BetAttempt], bets: Sequence[RecordedBet], tolerance: Tolerance, tally: Tally
) -> list[StaleBet]:
    """Judge all that one player asked for and all that the books hold of him; return what is left to judge."""
    for attempt in attempts:
        outcome = outcome_of(attempt)
        tally.count(Rule.ACKNOWLEDGED, outcome is Outcome.ACKNOWLEDGED)
        tally.count(Rule.REFUSED, outcome is Outcome.REFUSED)
    tally.count(Rule.PRICES, len(bets))
    asked: dict[str | None, list[BetAttempt]] = {}
    for attempt in attempts:
        asked.setdefault(attempt.key, []).append(attempt)
    held: dict[str | None, list[RecordedBet]] = {key: [] for key in asked}
    began = min(attempt.sent_at for attempt in attempts) - tolerance.clocks
    for bet in bets:
        if bet.idempotency_key in held:
            held[bet.idempotency_key].append(bet)
        elif bet.created_at >= began:  # what is older was placed before anybody kept a history
            tally.add([(Rule.REFUSED, f"{bet}: on record, but nobody asked for it")])
    stale = []
    for key, of_key in asked.items():
        tally.count(Rule.KEYS, key is not None)
        judge = _judge_keyless if key is None else _judge_key
        for found in judge(of_key, held[key], tolerance, began):
            if isinstance(found, StaleBet):
                stale.append(found)
            else:
                tally.add([found])
    return stale


def _judge_key(
    attempts: Sequence[BetAttempt], bets: Sequence[RecordedBet], tolerance: Tolerance, began: datetime
) -> Iterator[Finding | StaleBet]:
    """Judge one key: all of its attempts together have one bet at most."""
    player, key = attempts[0].player_id, attempts[0].key
    if len(bets) > 1:
        yield Rule.KEYS, f"key {key} of {player}: {len(bets)} bets, {_ids(bet.bet_id for bet in bets)}"
    acknowledged = [attempt for attempt in attempts if outcome_of(attempt) is Outcome.ACKNOWLEDGED]
    named = {bet_id_of(attempt) for attempt in acknowledged}
    if len(named) > 1:
        yield Rule.KEYS, f"key {key} of {player}: answered with {_ids(named)}"
    yield from _judge_acknowledged(acknowledged, bets)
    may_have_placed = [attempt for attempt in attempts if outcome_of(attempt) is not Outcome.REFUSED]
    for bet in bets:
        if not may_have_placed:
            codes = ", ".join(sorted({attempt.code or str(attempt.status) for attempt in attempts}))
            yield Rule.REFUSED, f"{bet}: on record, but every attempt was refused ({codes})"
        elif not acknowledged and not any(asks_for(attempt, bet) for attempt in may_have_placed):
            yield Rule.REFUSED, f"{bet}: on record, but nobody asked for it so"
        else:
            alike = [attempt for attempt in may_have_placed if asks_for(attempt, bet)]
            yield from _judge_price(bet, alike or acknowledged, tolerance)


def _judge_keyless(
    attempts: Sequence[BetAttempt], bets: Sequence[RecordedBet], tolerance: Tolerance, began: datetime
) -> Iterator[Finding | StaleBet]:
    """Judge attempts without a key: each that was acknowledged has its own bet, each unknown one may have one."""
    acknowledged = [attempt for attempt in attempts if outcome_of(attempt) is Outcome.ACKNOWLEDGED]
    yield from _judge_acknowledged(acknowledged, bets)
    answered: dict[UUID, BetAttempt] = {}
    for attempt in acknowledged:
        bet_id = bet_id_of(attempt)
        if bet_id in answered:
            yield Rule.KEYS, f"bet {bet_id} of {attempt.player_id}: answered to two attempts without a key"
        answered[bet_id] = attempt
    unanswered = [attempt for attempt in attempts if outcome_of(attempt) is Outcome.UNKNOWN]
    for bet in bets:
        placing = answered.get(bet.bet_id)
        if placing is None and bet.created_at < began:
            continue
        if placing is None:
            placing = next((attempt for attempt in unanswered if asks_for(attempt, bet)), None)
            if placing is None:
                yield Rule.REFUSED, f"{bet}: on record, but every such attempt was refused or has its own bet"
                continue
            unanswered.remove(placing)
        yield from _judge_price(bet, [placing], tolerance)


def _judge_acknowledged(acknowledged: Sequence[BetAttempt], bets: Sequence[RecordedBet]) -> Iterator[Finding]:
    on_record = {bet.bet_id: bet for bet in bets}
    for attempt in acknowledged:
        bet = on_record.get(bet_id_of(attempt))
        if bet is None:
            named = f"bet {bet_id_of(attempt)} of {attempt.player_id}, key {attempt.key}"
            yield Rule.ACKNOWLEDGED, f"{named}: answered 201, but it is not on record under it"
            continue
        wrong = _differences(attempt, bet)
        if wrong:
            yield Rule.ACKNOWLEDGED, f"{bet}: {', '.join(wrong)}"


def _differences(attempt: BetAttempt, bet: RecordedBet) -> list[str]:
    """Return where the record differs from what was asked for and what was answered."""
    answer: dict[str, Any] = attempt.bet or {}
    asked_or_told = [
        ("market", attempt.market_id, bet.market_id),
        ("selection", attempt.selection_id, bet.selection_id),
        ("stake", minor(attempt.stake, bet.currency), bet.stake_minor),
        ("odds asked for", milli(attempt.odds), bet.requested_odds_milli),
        ("version asked for", attempt.odds_version, bet.requested_odds_version),
        ("market answered", answer["market_id"], bet.market_id),
        ("event answered", answer["event_id"], bet.event_id),
        ("selection answered", answer["selection_id"], bet.selection_id),
        ("odds answered", milli(answer["odds"]), bet.odds_milli),
        ("version answered", answer["odds_version"], bet.odds_version),
        ("currency answered", answer["currency"], bet.currency),
        ("stake answered", minor(answer["stake"], bet.currency), bet.stake_minor),
        ("key answered", answer["idempotency_key"], bet.idempotency_key),
        ("time answered", datetime.fromisoformat(answer["placed_at"]), bet.created_at),
    ]
    return [f"{name} {seen}, on record {held}" for name, seen, held in asked_or_told if seen != held]


def _judge_price(
    bet: RecordedBet, attempts: Sequence[BetAttempt], tolerance: Tolerance
) -> Iterator[Finding | StaleBet]:
    """Judge the price of a bet that one of `attempts` placed."""
    version = f"version {bet.odds_version} of {bet.market_id}"
    if bet.market_status is None or bet.began_at is None:
        yield Rule.PRICES, f"{bet}: taken at {version}, which is not in the history"
        return
    if bet.market_status != "active" or bet.selection_status != "active":
        status = f"market {bet.market_status}, selection {bet.selection_status}"
        yield Rule.PRICES, f"{bet}: taken at {version}, which was not to be bet on ({status})"
    offered = None if bet.offered_odds is None else milli(bet.offered_odds)
    if offered != bet.odds_milli:
        yield Rule.PRICES, f"{bet}: taken at {bet.odds_milli} thousandths, {version} offered {offered}"
    if not any(_agrees(attempt, bet) for attempt in attempts):
        asked = f"{attempts[0].odds} (accept {attempts[0].accept})"
        yield Rule.PRICES, f"{bet}: taken at {bet.odds_milli} thousandths, asked for at {asked}"
    sent = min(attempt.sent_at for attempt in attempts)
    # The first answer that names the bet came after it was placed; no other answer says when.
    answers = [attempt.answered_at for attempt in attempts if outcome_of(attempt) is Outcome.ACKNOWLEDGED]
    answered = min((at for at in answers if at is not None), default=None)
    late = bet.ended_at is not None and sent > bet.ended_at + tolerance.clocks
    if late or (answered is not None and answered < bet.began_at - tolerance.clocks):
        yield StaleBet(bet, sent - tolerance.clocks, None if answered is None else answered + tolerance.clocks)


def _agrees(attempt: BetAttempt, bet: RecordedBet) -> bool:
    """Tell whether the bettor takes the bet's price by what he said beforehand."""
    asked = milli(attempt.odds)
    better = attempt.accept == "better" and bet.odds_milli >= asked
    return attempt.accept == "any" or better or bet.odds_milli == asked


def asks_for(attempt: BetAttempt, bet: RecordedBet) -> bool:
    """Tell whether `bet` is what `attempt` asks for."""
    return (
        attempt.market_id == bet.market_id
        and attempt.selection_id == bet.selection_id
        and attempt.odds_version == bet.requested_odds_version
        and milli(attempt.odds) == bet.requested_odds_milli
        and minor(attempt.stake, bet.currency) == bet.stake_minor
    )


def bet_id_of(attempt: BetAttempt) -> UUID:
    """Return the bet that an attempt was answered with."""
    return UUID(attempt.bet["bet_id"]) if attempt.bet else NO_BET


def milli(odds: str) -> int:
    """Return decimal odds in thousandths."""
    return int(Decimal(odds).scaleb(3))


def minor(amount: str, currency: str) -> int:
    """Return an amount in minor units of its currency."""
    return int(Decimal(amount).scaleb(EXPONENTS.get(currency, 2)))


def _ids(bet_ids: Iterable[UUID]) -> str:
    return ", ".join(sorted(map(str, bet_ids)))
