"""What generators count, made into the run's seconds and the steps' results.

Invariant: a second is written once, when nothing can be added to it any more; a step's result counts what was
meant for its own time, without the warming up before and the retries after it.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from touchline.lab.generator import DRAIN_S, TELL_S
from touchline.lab.histograms import Latencies, percentile_ms
from touchline.lab.records import PRICE, SECONDS, STEPS, LineWriter, Second, Step, StepResult, write_whole
from touchline.lab.samples import Sample, merge

RIPE_AFTER_S: Final = int(DRAIN_S + 2 * TELL_S + 1)  # nothing comes later than that
LIVE_S: Final = 3


@dataclass
class Sum:
    """One kind of request in one step, so far."""

    offered: int = 0
    answered: int = 0  # with what is an answer: below 500
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)
    late: Latencies = field(default_factory=Latencies)

    def add(self, sample: Sample) -> None:
        """Add a second."""
        self.offered += sample.offered
        self.answered += answered(sample)
        self.statuses.update(sample.statuses)
        self.codes.update(sample.codes)
        self.latencies.add(sample.latencies_us)
        self.late.add(sample.late_us)

    def result(self, step: Step, kind: str) -> StepResult:
        """Return it as a run records it."""
        length_s = step.ends_s - step.starts_s
        took = self.latencies
        return StepResult(
            step=step.name,
            kind=kind,
            users=step.users,
            offered_per_s=round(self.offered / length_s, 2),
            achieved_per_s=round(self.answered / length_s, 2),
            p50_ms=took.percentile_ms(50),
            p90_ms=took.percentile_ms(90),
            p95_ms=took.percentile_ms(95),
            p99_ms=took.percentile_ms(99),
            p999_ms=took.percentile_ms(99.9),
            max_ms=took.max_ms(),
            late_p99_ms=self.late.percentile_ms(99),
            codes=dict(self.codes),
            statuses=dict(self.statuses),
            histogram=took.encode(),
        )


@dataclass(frozen=True)
class Live:
    """How a step goes, over the last seconds."""

    offered_per_s: float
    achieved_per_s: float
    p99_ms: float | None


class Recorder:
    """Writes the seconds of a run, and the results of its steps."""

    def __init__(self, run_dir: Path) -> None:
        """Open the files.

        Raises:
            OSError: they can't be.
        """
        self._run_dir = run_dir
        self._seconds = LineWriter(run_dir / SECONDS)
        self._pending: dict[tuple[int, str], Sample] = {}
        self._sums: dict[str, Sum] = {}
        self._step: Step | None = None
        self._recent: deque[tuple[int, int, int, list[int]]] = deque(maxlen=1_000)
        self.results: list[StepResult] = []  # of requests
        self.prices: list[StepResult] = []  # of prices that were seen

    def begin(self, step: Step) -> None:
        """Take what comes as a step's; its end may be put off until it ends."""
        self._step, self._sums, self._pending = step, {}, {}
        self._recent.clear()

    def add(self, samples: Sequence[Sample]) -> None:
        """Add what a generator told."""
        for sample in samples:
            if sample.kind != PRICE:
                took = list(sample.latencies_us)
                self._recent.append((sample.t_s, sample.offered, answered(sample), took))
            pending = self._pending.setdefault((sample.t_s, sample.kind), sample)
            if pending is not sample:
                merge(pending, sample)

    def ripen(self, now_s: float) -> None:
        """Write the seconds that are over.

        Raises:
            OSError: the disk is full.
        """
        ripe = sorted(key for key in self._pending if key[0] < now_s - RIPE_AFTER_S)
        for key in ripe:
            self._write(self._pending.pop(key))
        self._seconds.flush()

    def end(self, step: Step) -> list[StepResult]:
        """Write what is left of a step and its results; return those of requests.

        Raises:
            OSError: the disk is full.
        """
        self._step = step
        self._write_pending()
        made = {kind: summed.result(step, kind) for kind, summed in sorted(self._sums.items())}
        results = [result for kind, result in made.items() if kind != PRICE]
        self.results += results
        self.prices += [result for kind, result in made.items() if kind == PRICE]
        write_whole(self._run_dir / STEPS, [*self.results, *self.prices])
        return results

    def close(self) -> None:
        """Write what is left of a step that was cut off, and close the files."""
        try:
            self._write_pending()
        finally:
            self._seconds.close()

    def live(self, now_s: float) -> Live:
        """Return how the step goes."""
        recent = [one for one in self._recent if now_s - LIVE_S - 1 <= one[0] < now_s - 1]
        took = sorted(value for one in recent for value in one[3])
        offered, done = sum(one[1] for one in recent), sum(one[2] for one in recent)
        return Live(offered / LIVE_S, done / LIVE_S, percentile_ms(took, 99))

    def _write_pending(self) -> None:
        pending, self._pending = self._pending, {}
        for key in sorted(pending):
            self._write(pending[key])
        self._seconds.flush()

    def _write(self, sample: Sample) -> None:
        step = self._step
        if step is None:
            return
        took, late = sorted(sample.latencies_us), sorted(sample.late_us)
        self._seconds.append(
            Second(
                t_s=sample.t_s,
                step=step.name,
                kind=sample.kind,
                offered=sample.offered,
                answered=sum(sample.statuses.values()),
                errors=sample.errors,
                statuses=sample.statuses,
                codes=sample.codes,
                p50_ms=percentile_ms(took, 50),
                p95_ms=percentile_ms(took, 95),
                p99_ms=percentile_ms(took, 99),
                max_ms=percentile_ms(took, 100),
                late_p99_ms=percentile_ms(late, 99),
            )
        )
        if step.starts_s <= sample.t_s < step.ends_s:
            self._sums.setdefault(sample.kind, Sum()).add(sample)


def answered(sample: Sample) -> int:
    """Return how many were answered as they should be: done, or refused for a reason that the client can read."""
    return sum(amount for status, amount in sample.statuses.items() if status < "500")
