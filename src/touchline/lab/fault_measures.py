"""Measures of what was broken on purpose, of settlement, and of long runs.

Invariant: a measure reads the run's records alone, and is None where they don't hold it.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any, Final

from touchline.lab.evidence import Evidence, answers
from touchline.lab.markup import count, milliseconds, number, percent, seconds
from touchline.lab.measured import Measured
from touchline.lab.records import BETS, BetAttempt, Fault, Second, Unreadable, read_lines
from touchline.lab.saturation import extra, mean_extra

SHOWS_S: Final = 10.0  # after a fault without an end, at most
SUFFERS: Final = 1.2  # times slower
ON_MIN: Final = 0.95
PAYOUTS: Final = "payouts"  # the checker's rule
SETTLEMENT_BETS: Final = 50_000


def window(fault: Fault) -> tuple[float, float]:
    """Return the seconds in which a fault shows."""
    until = fault.at_s + SHOWS_S if fault.until_s is None else fault.until_s
    return fault.at_s, max(until, fault.at_s + 1)


def stretch(fault: Fault) -> tuple[float, float]:
    """Return the seconds that a fault lasted; an instant is nothing wide."""
    return fault.at_s, fault.at_s if fault.until_s is None else fault.until_s


def share_answered(evidence: Evidence, kind: str, low_s: float, high_s: float) -> float | None:
    """Return the share of a kind's requests in a stretch that had an answer; None where none was made."""
    within = [second for second in evidence.seconds_by_kind.get(kind, []) if low_s <= second.t_s < high_s]
    offered = sum(second.offered for second in within)
    return sum(answered(second) for second in within) / offered if offered else None


def answered(second: Second) -> int:
    """Return how many of a second's requests were done, or refused for a reason that the client can read."""
    return min(second.offered, sum(answers(second.statuses).values()))


def faults_of(evidence: Evidence, *words: str) -> list[Fault]:
    """Return the faults that name one of `words`."""
    return [fault for fault in evidence.run.faults if any(word in fault.what.lower() for word in words)]


def noted(evidence: Evidence, fault: Fault) -> dict[str, Any]:
    """Return what the scenario noted of a fault in the run's findings, by its name; nothing where it did not."""
    for finding in evidence.run.findings.values():
        for one in finding if isinstance(finding, list) else [finding]:
            if isinstance(one, dict) and one.get("fault") == fault.what:
                return one
    return {}


def out_s(evidence: Evidence, fault: Fault, kind: str) -> float | None:
    """Return for how long requests of a kind failed in a fault: as noted, else by seconds; None without any."""
    seen = noted(evidence, fault).get(kind)
    if isinstance(seen, dict) and isinstance(seen.get("unavailable_s"), int | float):
        return float(seen["unavailable_s"])
    low, high = window(fault)
    within = [
        second
        for second in evidence.seconds_by_kind.get(kind, [])
        if int(low) <= second.t_s < high and second.offered
    ]
    return float(sum(answered(second) < second.offered for second in within)) if within else None


def database_dies(evidence: Evidence) -> Measured | None:
    """Return for how long polls and bets failed when PostgreSQL was killed, in the fault where it was longest."""
    found = [
        (polls, bets)
        for fault in faults_of(evidence, "postgres", "database")
        if (polls := out_s(evidence, fault, "odds")) is not None
        and (bets := out_s(evidence, fault, "bet")) is not None
    ]
    if not found:
        return None
    polls, bets = max(found)
    why = "Every poll reads the database, and so does every bet; it is started again by itself."
    return Measured(
        f"polls failed for {seconds(polls)}, bets for {seconds(bets)}", why, holds=min(polls, bets) > 0
    )


def odds_go_on(evidence: Evidence) -> Measured | None:
    """Return for how long polls and pushes failed while PostgreSQL was away, in the fault where it was longest."""
    found = [
        (polls or 0.0, pushes)
        for fault in faults_of(evidence, "postgres", "database")
        if (polls := out_s(evidence, fault, "odds")) is not None
        and (pushes := out_s(evidence, fault, "push")) is not None
    ]
    if not found:
        return None
    polls, pushes = max(found)
    why = "Polls and pushes are served from memory, and prices change at an authority of their own."
    text = f"polls failed for {seconds(polls)}, pushes for {seconds(pushes)}"
    return Measured(text, why, holds=max(polls, pushes) == 0)


def paid_once(evidence: Evidence) -> Measured | None:
    """Return how many bets were paid wrongly after parts were killed while they were paid."""
    found = settlement_killed(evidence)
    return None if found is None else Measured(found.text, found.why, holds=not found.holds)


def placed_once(evidence: Evidence) -> Measured | None:
    """Return how many bets that were sent again under their keys were placed twice."""
    for fault in evidence.run.faults:
        keyed = noted(evidence, fault).get("with_key")
        if isinstance(keyed, dict) and {"meant", "placed_twice"} <= keyed.keys():
            text = f"{keyed['placed_twice']} of {number(keyed['meant'])} placed twice"
            return Measured(text, "A bet has a key, or it is refused.", holds=not keyed["placed_twice"])
    return None


def cache_dies(evidence: Evidence) -> Measured | None:
    """Return what was still answered while Valkey was away."""
    found = _shares(evidence, "valkey", "redis")
    if found is None:
        return None
    bets, balances = found.get("bet"), found.get("balance")
    rest = [share for share in (bets, balances) if share is not None]
    text = f"{percent(bets)} of the bets and {percent(balances)} of the balances were answered"
    why = "Balances are read from PostgreSQL instead, and a bet is decided there anyway."
    return Measured(text, why, holds=bool(rest) and min(rest) >= ON_MIN)


def pods_unhealthy(evidence: Evidence) -> Measured | None:
    """Return what the balancer said while no pod was healthy."""
    faults = faults_of(evidence, "every pod", "all pods")
    statuses: Counter[str] = Counter()
    for fault in faults:
        low, high = window(fault)
        for second in evidence.seconds:
            if low + 1 <= second.t_s < high - 1:  # whole seconds of it
                statuses.update(second.statuses)
    if not statuses:
        return None
    share = statuses["502"] / statuses.total()
    told = ", ".join(f"{number(amount)} × {status}" for status, amount in statuses.most_common(3))
    return Measured(
        f"{percent(share)} of the answers were 502", f"In the whole seconds of it: {told}.", holds=share > 0.95
    )


def _shares(evidence: Evidence, *words: str) -> dict[str, float] | None:
    """Return the share of each kind that was answered in the faults that name one of `words`, the worst one's."""
    found: dict[str, float] = {}
    for fault in faults_of(evidence, *words):
        for kind in evidence.kinds:
            share = share_answered(evidence, kind, *window(fault))
            if share is not None:
                found[kind] = min(share, found.get(kind, 1.0))
    return found or None


def bet_sent_again(evidence: Evidence) -> Measured | None:
    """Return how many bets that were sent again were placed twice, with a key and without one."""
    sorts = _noted_again(evidence) or _sent_again(evidence)
    if sorts is None:
        return None
    (keyed, keyed_twice), (bare, bare_twice) = sorts
    text = f"{keyed_twice} of {number(keyed)} with a key, {bare_twice} of {number(bare)} without"
    why = "Under a key, a bet that is sent again is answered with the first one; without a key nothing can tell."
    return Measured(f"placed twice: {text}", why, holds=bare_twice > 0)


Sorts = tuple[tuple[int, int], tuple[int, int]]  # with a key and without one: bets sent again, those placed twice


def _noted_again(evidence: Evidence) -> Sorts | None:
    for fault in evidence.run.faults:
        sorts = [noted(evidence, fault).get(name) for name in ("with_key", "without_key")]
        if all(isinstance(sort, dict) and {"meant", "placed_twice"} <= sort.keys() for sort in sorts):
            keyed, bare = ((int(sort["meant"]), int(sort["placed_twice"])) for sort in sorts if sort)
            return keyed, bare
    return None


def _sent_again(evidence: Evidence) -> Sorts | None:
    """Return what clients saw of bets that they sent again; None where none was."""
    again: set[tuple[str, ...]] = set()
    bets: dict[tuple[str, ...], set[str]] = {}
    try:
        for attempt in read_lines(evidence.path / BETS, BetAttempt, torn=True):
            name = _intention(attempt)
            if attempt.attempt > 1:
                again.add(name)
            if attempt.bet is not None:
                bets.setdefault(name, set()).add(str(attempt.bet.get("bet_id")))
    except Unreadable:
        return None
    keyed = [name for name in again if name[1]]
    bare = [name for name in again if not name[1]]
    if not again:
        return None
    return (
        (len(keyed), sum(len(bets.get(name, ())) > 1 for name in keyed)),
        (len(bare), sum(len(bets.get(name, ())) > 1 for name in bare)),
    )


def _intention(attempt: BetAttempt) -> tuple[str, ...]:
    """Return what makes attempts one bet that somebody meant."""
    if attempt.key is not None:
        return attempt.player_id, attempt.key
    return attempt.player_id, "", attempt.market_id, attempt.selection_id, attempt.stake, f"{attempt.intended_s}"


def progress(evidence: Evidence) -> list[tuple[float, float, float]]:
    """Return (second, bets done, bets in all) of settlement, in the order of time."""
    found = []
    for meter in evidence.meters:
        done, total = extra(meter, "bets_done"), extra(meter, "bets_total")
        if done is not None and total:
            found.append((meter.t_s, done, total))
    return sorted(found)


@dataclass(frozen=True)
class Settling:
    """A settlement: from when to when, and how many bets."""

    begin_s: float
    end_s: float
    bets: float

    @property
    def took_s(self) -> float:
        """How long it took."""
        return self.end_s - self.begin_s


def settling(evidence: Evidence) -> Settling | None:
    """Return when bets were settled, as the scenario noted or as its progress shows; None where none were."""
    points = progress(evidence)
    most = max((done for _, done, _ in points), default=0.0)
    if not most:
        return None
    end_s = next(at for at, done, _ in points if done == most)
    noted_s = evidence.run.findings.get("settlement")
    if isinstance(noted_s, dict) and isinstance(noted_s.get("seconds"), int | float) and noted_s["seconds"] > 0:
        return Settling(end_s - noted_s["seconds"], end_s, most)
    for before, after in pairwise(points):
        if after[1] > before[1]:
            return Settling(before[0], end_s, most - before[1])
    return None


def settlement_s(evidence: Evidence) -> Measured | None:
    """Return how long 50,000 bets take, at the rate that was measured."""
    found = settling(evidence)
    if found is None or evidence.run.scenario != "settlement":
        return None
    bets, took_s = found.bets, found.took_s
    whole = took_s * SETTLEMENT_BETS / bets
    each = milliseconds(1000 * took_s / bets)
    why = f"{number(bets)} bets in {seconds(took_s)}, {each} each: one transaction a bet, each committed to disk."
    return Measured(seconds(whole), why, whole)


def slowed(evidence: Evidence, kind: str = "odds") -> tuple[float, float] | None:
    """Return a kind's p99 in ms before a settlement and during it, means over the seconds; None without both."""
    found = settling(evidence)
    if found is None:
        return None
    low, high = found.begin_s - 1, found.end_s
    seconds_of = evidence.seconds_by_kind.get(kind, [])
    seen = [(second.t_s, second.p99_ms) for second in seconds_of if second.p99_ms is not None]
    before = [value for at, value in seen if at < low]
    during = [value for at, value in seen if low <= at <= high]
    return (fmean(before), fmean(during)) if before and during else None


def traffic_while_settling(evidence: Evidence) -> Measured | None:
    """Return how much slower polls are while an event settles."""
    found = slowed(evidence)
    if found is None or evidence.run.scenario != "settlement":
        return None
    before, during = found
    text = f"polls' p99 {milliseconds(before)} before, {milliseconds(during)} meanwhile"
    why = "Settlement is a process of its own; it shares the database and the cores."
    return Measured(text, why, holds=during > SUFFERS * before)


def settlement_killed(evidence: Evidence) -> Measured | None:
    """Return how many bets were paid wrongly after settlement was killed."""
    if evidence.checks is None or not faults_of(evidence, "settl"):
        return None
    rule = next((rule for rule in evidence.checks.rules if rule.name == PAYOUTS), None)
    if rule is None or not rule.checked:
        return None
    wrong = len(rule.violations)
    why = "A bet's status and its money change in one transaction; what is left to do is read off the bets."
    return Measured(f"{number(wrong)} wrong of {count(rule.checked, 'bet')}", why, holds=wrong > 0)


def reads_saved(evidence: Evidence) -> Measured | None:
    """Return the share of PostgreSQL's transactions that caching odds in Redis saves."""
    if evidence.run.scenario != "ladder":
        return None
    plain = next((step for step in evidence.steps if not step.settings), None)
    cached = next((step for step in evidence.steps if set(step.settings) == {"odds_cache"}), None)
    if plain is None or cached is None:
        return None
    rates = [mean_extra(evidence.during(step), "postgres", "xact_per_s") for step in (plain, cached)]
    if rates[0] is None or rates[1] is None or rates[0] <= 0:
        return None
    saved = 1 - rates[1] / rates[0]
    why = (
        f"{number(rates[0])} transactions/s without, {number(rates[1])} with; bets and the feed still need theirs."
    )
    return Measured(f"{percent(max(0.0, saved))} fewer transactions", why, holds=saved >= 0.9)


def availability(evidence: Evidence) -> Measured | None:
    """Return the share of all requests that had an answer."""
    if evidence.run.scenario != "soak" or not evidence.asked:
        return None
    share = sum(answered(second) for second in evidence.seconds) / evidence.asked
    asked = count(evidence.asked, "request")
    why = f"Of {asked} in {seconds(evidence.end_s)}, without a fault; the seed counts a year's."
    return Measured(percent(share), why, 1 - share)
