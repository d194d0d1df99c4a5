"""Where the load ceased to be served, and what ran out there.

Invariant: a step is served only if it kept every bound below, and the knee is the last step before the first that
was not: a step that is served again after one that was not is luck, and does not count.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from touchline.lab.evidence import Evidence
from touchline.lab.markup import listed, milliseconds, number, percent
from touchline.lab.records import Meter, Step, StepResult

POLL_P99_MS_MAX: Final = 200.0  # the seed's own service levels
BET_P99_MS_MAX: Final = 500.0
PRICE_P99_MS_MAX: Final = POLL_P99_MS_MAX  # of a price that is pushed, from when it was made
SERVED_SHARE_MIN: Final = 0.98
LATE_P99_MS_MAX: Final = 50.0  # of the generator itself; beyond it, latencies say something of it too
FULL: Final = 0.9  # of a resource: what is used beyond it has run out, on the average of a step
WORDS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PARTS: Final = {
    "pod": "pods",
    "postgres": "PostgreSQL",
    "valkey": "Valkey",
    "balancer": "balancer",
    "settlement": "settlement worker",
    "feed": "feed worker",
    "supervisor": "supervisor",
    "generator": "load generator",
    "delay": "delaying proxy",
    "gateway": "gateways",
    "writer": "writers",
    "history": "history worker",
    "odds": "Valkey of the odds",
    "relay": "relay to Kafka",
    "others": "other processes",
}
OTHERS: Final = "others"  # what the machine used and no part did
HOST: Final = "host"
GENERATOR: Final = "generator"


@dataclass(frozen=True)
class Judged:
    """A step, and why it was not served: empty where it was."""

    step: Step
    wants: Sequence[str]
    late_ms: float  # the generator, at p99

    @property
    def served(self) -> bool:
        """Whether every bound was kept."""
        return not self.wants


@dataclass(frozen=True)
class Knee:
    """The last step that was served, the first that was not, and what ran out there; None where there is none."""

    last: Judged | None
    first_not: Judged | None
    ran_out: "Resource | None"


@dataclass(frozen=True)
class Resource:
    """What ran out: as a clause with its verb for the headline, and the figures that say so."""

    name: str
    clause: str
    figures: str
    others_percent: float  # of one core, by processes that are no part of the run


def find_knee(evidence: Evidence) -> Knee:
    """Return the knee of a run whose steps differ in their users."""
    last: Judged | None = None
    for step in sorted(evidence.steps, key=lambda step: step.users):
        judged = judge(evidence, step)
        if judged is None:
            continue
        if not judged.served:
            return Knee(last, judged, what_ran_out(evidence, step))
        last = judged
    return Knee(last, None, None)


def judge(evidence: Evidence, step: Step) -> Judged | None:
    """Return the verdict on one step; None where nothing was asked in it."""
    offered = evidence.total(step, lambda result: result.offered_per_s)
    if not offered:
        return None
    wants = []
    share = evidence.total(step, lambda result: result.achieved_per_s) / offered
    if share < SERVED_SHARE_MIN:
        wants.append(f"{percent(share)} of the requests were answered")
    p99 = evidence.of_step(step, lambda result: result.p99_ms)
    for kind, name, bound in (("odds", "polls", POLL_P99_MS_MAX), ("bet", "bets", BET_P99_MS_MAX)):
        took = p99.get(kind)
        if took is not None and took > bound:
            wants.append(f"{name} took {milliseconds(took)} at p99")
    price = evidence.price(step) if evidence.pushed(step) else None
    if price is not None and (price.p99_ms or 0.0) > PRICE_P99_MS_MAX:
        wants.append(f"a new price took {milliseconds(price.p99_ms)} to a bettor at p99")
    return Judged(step, wants, late_ms(evidence, step))


def late_ms(evidence: Evidence, step: Step) -> float:
    """Return the generator's own lateness in a step, at p99, of the kind of request where it was greatest."""
    late = evidence.of_step(step, _late).values()
    return max((value for value in late if value is not None), default=0.0)


def _late(result: StepResult) -> float | None:
    return result.late_p99_ms


def group_of(part: str) -> str:
    """Return `pod` for `pod-2`."""
    return re.sub(r"[-_ .]?\d+$", "", part)


def part_name(group: str) -> str:
    """Return what a group of parts is called."""
    return PARTS.get(group, group)


def cpu_by_group(meters: Sequence[Meter]) -> dict[str, float]:
    """Return the mean CPU of each group of parts, one core being 100; the host is one group."""
    of_part: dict[str, list[float]] = defaultdict(list)
    for meter in meters:
        of_part[meter.part].append(meter.cpu_percent)
    found: dict[str, float] = defaultdict(float)
    for part, values in of_part.items():
        found[group_of(part)] += fmean(values)
    return dict(found)


def extra(meter: Meter, name: str) -> float | None:
    """Return a number of a meter's extras."""
    value = meter.extra.get(name)
    return float(value) if isinstance(value, int | float) else None


def mean_extra(meters: Sequence[Meter], group: str, name: str) -> float | None:
    """Return the mean of one of the extras, over a group's meters; None where there is none."""
    values = [extra(meter, name) for meter in meters if group_of(meter.part) == group]
    found = [value for value in values if value is not None]
    return fmean(found) if found else None


def connections_max(evidence: Evidence, step: Step) -> int | None:
    """Return how many connections to PostgreSQL the pods may hold, by their word or the settings; None without."""
    rooms: dict[str, float] = {}
    for meter in evidence.during(step):
        room = extra(meter, "room")
        if room is not None:
            rooms[meter.part] = room
    if rooms:
        return round(sum(rooms.values()))
    try:
        settings = {**evidence.run.settings, **step.settings}
        return int(settings["pods"]) * int(settings["pool_size"])
    except (KeyError, ValueError):
        return None


def connections_busy(meters: Sequence[Meter]) -> float | None:
    """Return how many connections to PostgreSQL the pods used, as they say or as it says; None without either."""
    pools: dict[str, list[float]] = defaultdict(list)
    for meter in meters:
        used = extra(meter, "in_use")
        if used is not None:
            pools[meter.part].append(used)
    if pools:
        return sum(fmean(values) for values in pools.values())
    return mean_extra(meters, "postgres", "active")


def what_ran_out(evidence: Evidence, step: Step) -> Resource | None:
    """Return the resource that was used up in a step; None where no meter says of one."""
    meters = evidence.during(step)
    cpu = cpu_by_group(meters)
    cores = max(1, evidence.run.hardware.cores)
    parts = {group: value for group, value in cpu.items() if group != HOST}
    used = cpu.get(HOST, sum(parts.values()))
    parts[OTHERS] = others = max(0.0, used - sum(parts.values()))
    busiest = max((fmean(values) for values in _pods(meters).values()), default=0.0)
    busy, room = connections_busy(meters), connections_max(evidence, step)
    locks = mean_extra(meters, "postgres", "waiting_on_locks") or 0.0
    shares = [f"{part_name(group)} {value:.0f} %" for group, value in _largest(parts) if value >= 1]
    figures = f"CPU, one core being 100 %: {', '.join(shares)}; the machine {used:.0f} % of {cores * 100} %."
    if busy is not None and room and busy >= FULL * room:
        clause = "the pods' database connections run out"
        return Resource(
            "database connections", clause, f"{busy:.0f} of {room} connections were busy. {figures}", others
        )
    if parts and used >= FULL * cores * 100:
        return _machine(parts, cores, figures)
    if busiest >= FULL * 100:
        return Resource("the pods' CPU", "the pods' CPU runs out", figures, others)
    if parts.get(GENERATOR, 0.0) >= FULL * 100:
        return Resource(
            "the load generator", "the load generator runs out of CPU, before the platform", figures, others
        )
    if locks >= 1:
        figures = f"{number(locks)} statements waited for a row lock at any time. {figures}"
        return Resource("row locks", "bets wait for each other's row locks", figures, others)
    return None


def _machine(parts: dict[str, float], cores: int, figures: str) -> Resource:
    group, most = _largest(parts)[0]
    owner = part_name(group)
    share = most / sum(parts.values())
    taken = "mostly" if share > 0.5 else f"{percent(share)} of them" if cores > 1 else f"{percent(share)} of it"
    machine = f"the machine's {WORDS[cores] if cores < len(WORDS) else cores} cores run out"
    if cores == 1:
        machine = "the machine's only core runs out"
    place = owner if group in ("postgres", "valkey", OTHERS) else f"the {owner}"
    return Resource("the machine's CPU", f"{machine}, {taken} in {place}", figures, parts[OTHERS])


def _pods(meters: Sequence[Meter]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for meter in meters:
        if group_of(meter.part) == "pod":
            found[meter.part].append(meter.cpu_percent)
    return found


def _largest(parts: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(parts.items(), key=lambda pair: -pair[1])


def wants_text(judged: Judged) -> str:
    """Return why a step was not served, as a sentence's part."""
    return listed(list(judged.wants))
