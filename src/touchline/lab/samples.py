"""What a generator counted, handed to the runner a moment at a time.

Invariant: a request is counted in the second in which it was meant to be sent, once when it is offered and once
when it is over.
"""

from collections import Counter

import msgspec


class Sample(msgspec.Struct):
    """What has become known since the last sample of one kind of request meant for one second of the run."""

    t_s: int
    kind: str
    offered: int = 0
    errors: int = 0
    statuses: dict[str, int] = {}
    codes: dict[str, int] = {}
    latencies_us: list[int] = []  # of the answered ones, from the intended send time
    late_us: list[int] = []  # of the offered ones: what the generator itself was late by


class Tally:
    """Samples in the making."""

    def __init__(self, run_began_s: float) -> None:
        """Count seconds from `run_began_s`, an instant of the monotonic clock."""
        self._began_s = run_began_s
        self._samples: dict[tuple[int, str], Sample] = {}

    def offer(self, kind: str, due_s: float, late_s: float) -> None:
        """Count a request that was meant for `due_s` and is sent `late_s` later, for want of a free generator."""
        sample = self._sample(kind, due_s)
        sample.offered += 1
        sample.late_us.append(int(late_s * 1e6))

    def answer(self, kind: str, due_s: float, answered_s: float, status: int, code: str | None) -> None:
        """Count an answer."""
        sample = self._sample(kind, due_s)
        sample.statuses[str(status)] = sample.statuses.get(str(status), 0) + 1
        if code is not None:
            sample.codes[code] = sample.codes.get(code, 0) + 1
        sample.latencies_us.append(int((answered_s - due_s) * 1e6))

    def lose(self, kind: str, due_s: float, code: str) -> None:
        """Count a request that ended without an answer."""
        sample = self._sample(kind, due_s)
        sample.errors += 1
        sample.codes[code] = sample.codes.get(code, 0) + 1

    def see(self, kind: str, seen_s: float, after_s: float) -> None:
        """Count something that nobody asked for, and that came `after_s` after it was made."""
        sample = self._sample(kind, seen_s)
        sample.offered += 1
        sample.statuses["200"] = sample.statuses.get("200", 0) + 1
        sample.latencies_us.append(int(after_s * 1e6))

    def notice(self, kind: str, due_s: float, code: str) -> None:
        """Count something else about a request that is counted already."""
        sample = self._sample(kind, due_s)
        sample.codes[code] = sample.codes.get(code, 0) + 1

    def take(self) -> list[Sample]:
        """Return what was counted since the last call."""
        taken, self._samples = self._samples, {}
        return list(taken.values())

    def _sample(self, kind: str, due_s: float) -> Sample:
        key = (int(due_s - self._began_s), kind)
        found = self._samples.get(key)
        if found is None:
            found = self._samples[key] = Sample(*key, statuses={}, codes={}, latencies_us=[], late_us=[])
        return found


def merge(into: Sample, more: Sample) -> None:
    """Add a sample of the same second and kind to another."""
    into.offered += more.offered
    into.errors += more.errors
    into.statuses = dict(Counter(into.statuses) + Counter(more.statuses))
    into.codes = dict(Counter(into.codes) + Counter(more.codes))
    into.latencies_us.extend(more.latencies_us)
    into.late_us.extend(more.late_us)
