"""What a run's directory holds, read for its report: whole, half or torn.

Invariant: what can't be read is told in `problems`, never guessed; without a readable `run.json` there is no run.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Final, TypeVar

from touchline.lab.records import (
    BETS,
    CHECKS,
    METERS,
    PRICE,
    RUN,
    SECONDS,
    STEPS,
    Checks,
    Meter,
    Run,
    Second,
    Step,
    StepResult,
    Struct,
    Unreadable,
    read_lines,
    read_steps,
    read_whole,
)

ARCHITECTURES: Final = {"poll": "V0", "stream": "V1", "global": "V3", "poll and stream": "V0 and V1"}
KINDS: Final = {  # in the order that they are told in
    "odds": "polls",
    "bet": "bets",
    "balance": "balances",
    "reoffer": "re-offered bets",
    "retry": "bets sent again",
    "subscribe": "subscriptions",
    "push": "pushes",
}
WENT_BACK: Final = "VERSION_WENT_BACK"  # a generator's code
POINTS_MAX: Final = 240  # of a chart over time; a longer run is drawn in wider columns

Found = TypeVar("Found")


@dataclass(frozen=True)
class Evidence:
    """A run's records; `problems` has a line for each file that is missing or torn.

    `seconds` and `results` are those of requests; what bettors saw of prices is in `prices` and `price_results`.
    """

    path: Path
    run: Run
    seconds: Sequence[Second]
    results: Sequence[StepResult]
    meters: Sequence[Meter]
    checks: Checks | None
    problems: Sequence[str] = field(default_factory=tuple)
    prices: Sequence[Second] = field(default_factory=tuple)
    price_results: Sequence[StepResult] = field(default_factory=tuple)

    @property
    def platform(self) -> str:
        """What ran, as it is called in a sentence: V0, or the name of an architecture that we don't know."""
        return ARCHITECTURES.get(self.run.architecture, self.run.architecture)

    @cached_property
    def end_s(self) -> float:
        """When the last record was made."""
        ends = [step.ends_s for step in self.run.steps]
        ends += [second.t_s + 1.0 for second in self.seconds[-1:]] + [meter.t_s for meter in self.meters[-1:]]
        return max(ends, default=0.0)

    @cached_property
    def begin_s(self) -> float:
        """The whole second in which the first record was made."""
        begins = [step.starts_s for step in self.run.steps] + [float(second.t_s) for second in self.seconds[:1]]
        begins += [meter.t_s for meter in self.meters[:1]]
        return float(max(0, int(min([*begins, self.end_s]))))

    @property
    def column_s(self) -> int:
        """How many seconds a column of a chart over the run's time stands for."""
        return max(1, math.ceil((self.end_s - self.begin_s) / POINTS_MAX))

    @property
    def column_starts(self) -> list[float]:
        """The second at which each column begins."""
        count = math.ceil((self.end_s - self.begin_s) / self.column_s)
        return [self.begin_s + index * self.column_s for index in range(count)]

    def columns(
        self, pairs: Iterable[tuple[float, float | None]], merge: Callable[[list[float]], float] = fmean
    ) -> list[float | None]:
        """Return a value for each column: those of (second, value) in it, merged, or None."""
        found: dict[int, list[float]] = defaultdict(list)
        for at, value in pairs:
            if value is not None:
                found[int((at - self.begin_s) // self.column_s)].append(value)
        return [merge(found[index]) if index in found else None for index in range(len(self.column_starts))]

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of requests that were made, polls first."""
        made = {second.kind for second in self.seconds} | {result.kind for result in self.results}
        return [kind for kind in KINDS if kind in made] + sorted(made - KINDS.keys())

    @cached_property
    def asked(self) -> int:
        """How many requests were offered in the whole run."""
        return sum(second.offered for second in self.seconds)

    @cached_property
    def went_back(self) -> int:
        """How many polls or pushes had an older version than an earlier one of the same bettor."""
        return sum(second.codes.get(WENT_BACK, 0) for second in (*self.seconds, *self.prices))

    @cached_property
    def steps(self) -> list[Step]:
        """The steps that bettors were at work in."""
        return [step for step in self.run.steps if step.ends_s > step.starts_s and step.users > 0]

    def result(self, step: Step, kind: str) -> StepResult | None:
        """Return what one kind did in one step."""
        return self._results.get((step.name, kind))

    @cached_property
    def _results(self) -> dict[tuple[str, str], StepResult]:
        return {(result.step, result.kind): result for result in self.results}

    def architecture(self, step: Step) -> str:
        """Return on which architecture a step was."""
        return step.settings.get("architecture", self.run.architecture)

    def pushed(self, step: Step) -> bool:
        """Tell whether prices were pushed in a step."""
        return self.architecture(step) == "stream"

    def price(self, step: Step) -> StepResult | None:
        """Return how long after they were made prices were seen in one step; None where none was."""
        return next((result for result in self.price_results if result.step == step.name), None)

    def of_step(self, step: Step, what: Callable[[StepResult], float | None]) -> dict[str, float | None]:
        """Return a figure of each kind in one step."""
        found = {kind: self.result(step, kind) for kind in self.kinds}
        return {kind: None if result is None else what(result) for kind, result in found.items()}

    def total(self, step: Step, what: Callable[[StepResult], float]) -> float:
        """Return a figure of one step, summed over the kinds."""
        return sum(what(result) for result in self.results if result.step == step.name)

    def during(self, step: Step) -> list[Meter]:
        """Return what was metered in one step."""
        return [meter for meter in self.meters if step.starts_s <= meter.t_s <= step.ends_s]

    @cached_property
    def seconds_by_kind(self) -> dict[str, list[Second]]:
        """The seconds of each kind, in the order of time."""
        found: dict[str, list[Second]] = {kind: [] for kind in self.kinds}
        for second in sorted(self.seconds, key=lambda second: second.t_s):
            found[second.kind].append(second)
        return found


def read_evidence(run_dir: Path) -> Evidence:
    """Return what `run_dir` holds.

    Raises:
        Unreadable: it is no run's directory.
    """
    run = read_whole(run_dir / RUN, Run)
    problems: list[str] = []
    seconds = _lines(run_dir / SECONDS, Second, problems)
    meters = _lines(run_dir / METERS, Meter, problems)
    results = _tried(lambda: read_steps(run_dir), problems) or []
    checks = None
    if (run_dir / CHECKS).exists():
        checks = _tried(lambda: read_whole(run_dir / CHECKS, Checks), problems)
    problems += [f"{name} is missing" for name in (STEPS, BETS) if not (run_dir / name).exists()]
    results = [*results, *_summed(run, seconds, results)]
    return Evidence(
        run_dir,
        run,
        [second for second in seconds if second.kind != PRICE],
        [result for result in results if result.kind != PRICE],
        meters,
        checks,
        tuple(problems),
        [second for second in seconds if second.kind == PRICE],
        [result for result in results if result.kind == PRICE],
    )


def _lines(path: Path, kind: type[Struct], problems: list[str]) -> list[Struct]:
    if not path.exists():
        problems.append(f"{path.name} is missing")
        return []
    try:
        return list(read_lines(path, kind))
    except Unreadable as torn:
        problems.append(str(torn))
        return _tried(lambda: list(read_lines(path, kind, torn=True)), problems) or []


def _tried(read: Callable[[], Found], problems: list[str]) -> Found | None:
    try:
        return read()
    except Unreadable as torn:
        problems.append(str(torn))
        return None


def _summed(run: Run, seconds: Sequence[Second], results: Sequence[StepResult]) -> list[StepResult]:
    """Return what can be said from the seconds of steps without a result: a run that was cut off ends in one."""
    known = {result.step for result in results}
    users = {step.name: step.users for step in run.steps}
    found: dict[tuple[str, str], list[Second]] = defaultdict(list)
    for second in seconds:
        if second.step not in known:
            found[second.step, second.kind].append(second)
    summed = []
    for (step, kind), within in found.items():
        length = max(second.t_s for second in within) - min(second.t_s for second in within) + 1
        statuses, codes = _added(second.statuses for second in within), _added(second.codes for second in within)
        summed.append(
            StepResult(
                step=step,
                kind=kind,
                users=users.get(step, 0),
                offered_per_s=sum(second.offered for second in within) / length,
                achieved_per_s=sum(answers(statuses).values()) / length,
                p50_ms=None,
                p90_ms=None,
                p95_ms=None,
                p99_ms=None,
                p999_ms=None,
                max_ms=max((second.max_ms for second in within if second.max_ms is not None), default=None),
                late_p99_ms=None,
                codes=codes,
                statuses=statuses,
                histogram="",
            )
        )
    return summed


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some)
    return dict(total)


def answers(statuses: dict[str, int]) -> dict[str, int]:
    """Return those of `statuses` that are answers: done, or refused for a reason that the client can read."""
    return {status: amount for status, amount in statuses.items() if status < "5"}
