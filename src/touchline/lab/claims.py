"""What the seed claims of its architectures, as data, each with the function that measures it.

Invariant: a claim is judged by numbers alone; where a run holds none for it, it was not measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from touchline.lab import fault_measures, measures
from touchline.lab.evidence import Evidence
from touchline.lab.markup import milliseconds, number, percent, seconds
from touchline.lab.measured import Measured

BY_NONE: Final = "none: it needs the capacity model"
BY_STREAM: Final = "any run of an architecture that pushes odds"
AGREES_WITHIN: Final = 0.2  # of the claimed value, or of the nearer end of the claimed range


class Verdict(StrEnum):
    """How a measurement stands to a claim."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_MEASURED = "not measured in this run"


@dataclass(frozen=True)
class Claim:
    """One claim: a range of values, low = high where it is one; both None where it is a yes or no."""

    about: str
    claimed: str
    measure: Callable[[Evidence], Measured | None]
    measured_by: str  # the scenario that measures it
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Judgement:
    """A claim beside what was measured; `ratio` is measured to the nearer end of the range, 1 within it."""

    claim: Claim
    measured: Measured | None
    ratio: float | None
    verdict: Verdict


def claims_of(evidence: Evidence) -> tuple[str, Sequence[Claim]]:
    """Return what the claims that a run is held to are of, and the claims; a ladder's are those of its foot."""
    if evidence.run.scenario != "ladder" and any(evidence.pushed(step) for step in evidence.steps):
        return "the streaming architecture", STREAM_CLAIMS
    return "the naive architecture", CLAIMS


def judge_claims(evidence: Evidence) -> list[Judgement]:
    """Return every claim's judgement, those that were measured first."""
    _, claims = claims_of(evidence)
    found = [judge_claim(claim, claim.measure(evidence)) for claim in claims]
    return sorted(found, key=lambda judgement: judgement.verdict is Verdict.NOT_MEASURED)


def judge_claim(claim: Claim, measured: Measured | None) -> Judgement:
    """Return one claim's judgement."""
    if measured is None:
        return Judgement(claim, None, None, Verdict.NOT_MEASURED)
    if measured.holds is not None:
        return Judgement(claim, measured, None, Verdict.AGREES if measured.holds else Verdict.DIFFERS)
    ratio = _ratio(claim, measured)
    if ratio is None or (measured.at_least and ratio < 1):  # what was tried did not reach what is claimed
        return Judgement(claim, measured, None, Verdict.NOT_MEASURED)
    agrees = abs(ratio - 1) <= AGREES_WITHIN
    return Judgement(claim, measured, ratio, Verdict.AGREES if agrees else Verdict.DIFFERS)


def _ratio(claim: Claim, measured: Measured) -> float | None:
    if measured.value is None or claim.low is None or claim.high is None:
        return None
    if measured.value < claim.low:
        return measured.value / claim.low
    return measured.value / claim.high if measured.value > claim.high else 1.0


def _users(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)} users"


CLAIMS: Final = (
    Claim(
        "Each user polls every three seconds",
        "333 polls/s at 1,000 users",
        measures.polls_at_1000,
        "knee",
        333,
        333,
    ),
    Claim(
        "A fifth of the requests are bets", "about 67 bets/s at 1,000 users", measures.bets_at_1000, "knee", 67, 67
    ),
    Claim("What it serves for long", "about 500 requests/s", measures.requests_served, "knee", 500, 500),
    Claim("Where polling becomes too much", _users(1000, 2000), measures.users_served, "knee", 1000, 2000),
    Claim("The ceiling, whatever the pods", _users(3000, 5000), measures.users_ceiling, "knee", 3000, 5000),
    Claim("What runs out first", "the database, by the polls' reads", measures.database_runs_out, "knee"),
    Claim("The load balancer never runs out", "never the bottleneck", measures.balancer_stands, "knee"),
    Claim("A poll, 99 of 100", "50 to 200 ms", measures.poll_p99_ms, "knee", 50, 200),
    Claim("A bet, 99 of 100", "100 to 300 ms", measures.bet_p99_ms, "knee", 100, 300),
    Claim("A poll's read, without load", f"about {milliseconds(15)}", measures.poll_p50_ms, "knee", 15, 15),
    Claim("A bet, without load", f"about {milliseconds(100)}", measures.bet_p50_ms, "knee", 100, 100),
    Claim(
        "Bets refused because the price moved, in volatile moments",
        "10 to 20 % of them",
        measures.volatile_refusals,
        "volatility",
        0.10,
        0.20,
    ),
    Claim("That share at the peak", f"above {percent(0.2)}", measures.peak_refusals, "volatility"),
    Claim(
        "Settling 50,000 open bets one by one",
        f"about {seconds(50)}",
        fault_measures.settlement_s,
        "settlement",
        50,
        50,
    ),
    Claim("Live traffic while an event settles", "suffers", fault_measures.traffic_while_settling, "settlement"),
    Claim(
        "A pod dies while an event settles",
        "some are paid and some never",
        fault_measures.settlement_killed,
        "faults",
    ),
    Claim("A bet sent again after a lost answer", "may be placed twice", fault_measures.bet_sent_again, "faults"),
    Claim("The database dies", "no odds and no bets: all is out", fault_measures.database_dies, "faults"),
    Claim("The session cache dies", "bets and balances go on, more slowly", fault_measures.cache_dies, "faults"),
    Claim("Every pod is unhealthy", "the balancer answers 502 to all", fault_measures.pods_unhealthy, "faults"),
    Claim(
        "Odds cached in Redis", "at least 90 % fewer reads of the database", fault_measures.reads_saved, "ladder"
    ),
    Claim(
        "Availability", "about 99 %: one request of 100 is lost", fault_measures.availability, "soak", 0.01, 0.01
    ),
    Claim(
        "Odds pushed over WebSocket",
        "under 2 % of bets refused for a moved price",
        measures.pushed_refusals,
        BY_STREAM,
    ),
    Claim("The balancer's own delay", f"about {milliseconds(1.5)}", measures.nothing, BY_NONE, 1.5, 1.5),
    Claim("Checking a token", f"about {milliseconds(3)} a request", measures.nothing, BY_NONE, 3, 3),
    Claim("Storage", "about 50 GB a year", measures.nothing, BY_NONE),
    Claim("Cost at 1,000 users", "about $730 a month", measures.nothing, BY_NONE),
)

STREAM_CLAIMS: Final = (
    Claim("A new price reaches a bettor", "in under 100 ms", measures.pushed_price_p99_ms, "compare", 0, 100),
    Claim("A bet", "in under 200 ms", measures.pushed_bet_p99_ms, "compare", 0, 200),
    Claim("Bets refused because the price moved", "under 2 % of them", measures.pushed_refusals, "compare"),
    Claim("The database dies", "odds are served on", fault_measures.odds_go_on, "faults"),
    Claim("A part dies while an event settles", "each bet is paid, once", fault_measures.paid_once, "faults"),
    Claim("A bet sent again after a lost answer", "its key makes it one", fault_measures.placed_once, "faults"),
    Claim("Availability", "99.9 %: one request of 1,000 is lost", fault_measures.availability, "soak", 0, 0.001),
    Claim("Throughput at the peak", "350,000 requests/s", measures.nothing, BY_NONE, 350_000, 350_000),
    Claim("Cost", "$3,500 a month", measures.nothing, BY_NONE),
)
