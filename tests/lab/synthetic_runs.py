"""Runs that were never run: plausible records of each scenario, from a small model of a platform with a capacity.

Invariant: the same arguments write the same bytes; the numbers follow from the model, as a test foretells.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from touchline.lab.measures import expected_share
from touchline.lab.records import (
    BETS,
    CHECKS,
    METERS,
    PRICE,
    RUN,
    SECONDS,
    STEPS,
    BetAttempt,
    Checks,
    Fault,
    Hardware,
    Meter,
    RuleCheck,
    Run,
    Second,
    Step,
    StepResult,
    append_lines,
    write_whole,
)

START = datetime(2026, 3, 7, 15, 0, tzinfo=UTC)
MIX = {"odds": 1 / 3, "bet": 2 / 21, "balance": 1 / 21}  # a second and user: a poll every 3 s, then 70 / 20 / 10
SLOWNESS = {"odds": 4.0, "bet": 18.0, "balance": 2.0}  # ms without load
RULES = ("prices", "wallets", "keys", "payouts", "balances", "acknowledged", "refused")
Rate = Callable[[int, str], float]  # of (second, kind): the share of requests that fail


def clean(bets: int = 41_207) -> Checks:
    """A checker's verdict without a violation."""
    return Checks(rules=[RuleCheck(name, bets, []) for name in RULES], ok=True)


def broken(*violations: str) -> Checks:
    """A checker's verdict with these violations of the rule on payouts."""
    rules = [RuleCheck(name, 1000, list(violations) if name == "payouts" else []) for name in RULES]
    return Checks(rules=rules, ok=False)


@dataclass
class Model:
    """A platform that answers `capacity` requests a second, and what a client of it sees."""

    capacity: float = 560.0
    odds_changed: float = 0.06  # of the bets
    slower: float = 1.0
    late_ms: float = 1.2
    pods: int = 3
    cores: int = 2

    def load(self, users: int) -> float:
        """The share of the capacity that is asked for."""
        return users * sum(MIX.values()) / self.capacity

    def latency_ms(self, kind: str, users: int, factor: float) -> float:
        """A latency that rises as a queue does, and without bound beyond the capacity."""
        load = self.load(users)
        wait = 1 / (1 - load) if load < 0.97 else 33 + (load - 0.97) * 4000
        return SLOWNESS[kind] * self.slower * wait * factor


@dataclass
class Recorder:
    """Gathers a run's records, second by second."""

    model: Model = field(default_factory=Model)
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    seconds: list[Second] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)
    meters: list[Meter] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    at: int = 0

    def step(
        self,
        name: str,
        users: int,
        length_s: int = 20,
        settings: dict[str, str] | None = None,
        fails: Rate = lambda at, kind: 0.0,
        done: Callable[[int], tuple[int, int]] | None = None,
        price_ms: float | None = None,
    ) -> None:
        """Add a step; `done` gives (bets settled, bets to settle) at a second, `price_ms` how old new prices are.

        Where the step is on `stream`, nobody polls.
        """
        pushed = (settings or {}).get("architecture") == "stream"
        mix = {kind: rate for kind, rate in MIX.items() if not (pushed and kind == "odds")}
        begin, answered = self.at, dict.fromkeys(mix, 0)
        for at in range(begin, begin + length_s):
            for kind, rate in mix.items():
                answered[kind] += self._second(name, at, kind, users * rate, fails(at, kind))
            self._meters(at, users, None if done is None else done(at))
        self.at += length_s
        self.steps.append(
            Step(name=name, users=users, settings=settings or {}, starts_s=float(begin), ends_s=float(self.at))
        )
        for kind, rate in mix.items():
            self.results.append(self._result(name, kind, users, users * rate, answered[kind] / length_s))
        if price_ms is not None:
            self._prices(name, users, begin, length_s, price_ms)

    def _prices(self, name: str, users: int, begin: int, length_s: int, price_ms: float) -> None:
        p99_ms, each = 2 * price_ms, {"statuses": {"200": users}}
        for at in range(begin, begin + length_s):
            seen = Second(
                t_s=at, step=name, kind=PRICE, offered=users, answered=users, errors=0, p99_ms=p99_ms, **each
            )
            self.seconds.append(seen)
        took = {"p50_ms": price_ms, "p99_ms": p99_ms, "codes": {}}
        self.results.append(msgspec.structs.replace(self.results[-1], kind=PRICE, **took))

    def _second(self, step: str, at: int, kind: str, rate: float, fails: float) -> int:
        users = round(rate / MIX[kind])
        offered = int(rate) + (self.dice.random() < rate % 1)
        lost = round(offered * max(fails, 1 - 1 / max(1.0, self.model.load(users))))
        good = offered - lost
        moved = round(good * self.model.odds_changed * self.dice.uniform(0.6, 1.4)) if kind == "bet" else 0
        suspended = round(good * 0.01) if kind == "bet" else 0
        kept = good - moved - suspended
        statuses = {"201" if kind == "bet" else "200": kept, "409": moved + suspended, "503": lost}
        codes = {"ODDS_CHANGED": moved, "MARKET_SUSPENDED": suspended, "UNAVAILABLE": lost}
        shake = self.dice.uniform(0.8, 1.3)
        p50, p95, p99, most = (self.model.latency_ms(kind, users, f * shake) for f in (1, 2.2, 3.4, 6))
        self.seconds.append(
            Second(
                t_s=at,
                step=step,
                kind=kind,
                offered=offered,
                answered=offered,
                errors=0,
                statuses={name: amount for name, amount in statuses.items() if amount},
                codes={name: amount for name, amount in codes.items() if amount},
                p50_ms=p50 if offered else None,
                p95_ms=p95 if offered else None,
                p99_ms=p99 if offered else None,
                max_ms=most if offered else None,
                late_p99_ms=self.model.late_ms * shake,
            )
        )
        return good

    def _result(self, name: str, kind: str, users: int, rate: float, achieved: float) -> StepResult:
        of_step = [second for second in self.seconds if (second.step, second.kind) == (name, kind)]
        codes: dict[str, int] = {}
        statuses: dict[str, int] = {}
        for second in of_step:
            for total, some in ((codes, second.codes), (statuses, second.statuses)):
                for key, amount in some.items():
                    total[key] = total.get(key, 0) + amount
        p = [self.model.latency_ms(kind, users, factor) for factor in (1, 1.8, 2.2, 3.4, 5, 7)]
        offered = sum(second.offered for second in of_step) / max(1, len(of_step))
        return StepResult(
            step=name,
            kind=kind,
            users=users,
            offered_per_s=offered,
            achieved_per_s=min(achieved, offered),
            p50_ms=p[0],
            p90_ms=p[1],
            p95_ms=p[2],
            p99_ms=p[3],
            p999_ms=p[4],
            max_ms=p[5],
            late_p99_ms=self.model.late_ms,
            codes=codes,
            statuses=statuses,
            histogram="",
        )

    def _meters(self, at: int, users: int, done: tuple[int, int] | None) -> None:
        load, shake = min(1.0, self.model.load(users)), self.dice.uniform(0.92, 1.05)
        used = {"postgres": 44, "balancer": 14, "valkey": 5, "generator-1": 15, "generator-2": 14, "feed": 2}
        for pod in range(1, self.model.pods + 1):
            used[f"pod-{pod}"] = round(100 / self.model.pods)
        total = 0.0
        for part, most in used.items():
            cpu = most * load * shake
            total += cpu
            extra: dict[str, Any] = {}
            if part == "postgres":
                extra = {
                    "active": 24 * load**2 * shake,
                    "idle": 30 - 24 * load**2,
                    "waiting_on_locks": 3 * load**4,
                }
                extra["xact_per_s"] = users * sum(MIX.values()) * shake
            rss = {"postgres": 380, "balancer": 60, "valkey": 14}.get(part, 92) + at * 0.02
            self.meters.append(
                Meter(t_s=at + 0.5, part=part, cpu_percent=cpu, rss_mib=rss, threads=4, extra=extra)
            )
        if done is not None:
            extra = {"bets_done": done[0], "bets_total": done[1]}
            self.meters.append(
                Meter(t_s=at + 0.5, part="settlement", cpu_percent=31 * load, rss_mib=80, threads=3, extra=extra)
            )
        host = min(100.0 * self.model.cores, total * 1.04)
        self.meters.append(Meter(t_s=at + 0.5, part="host", cpu_percent=host, rss_mib=5200, threads=0))

    def write(
        self,
        path: Path,
        scenario: str,
        *,
        complete: bool = True,
        checks: Checks | None = None,
        bets: Sequence[BetAttempt] = (),
        **changes: Any,
    ) -> Path:
        """Write the run's directory, and return it."""
        path.mkdir(parents=True, exist_ok=True)
        fields: dict[str, Any] = {
            "scenario": scenario,
            "size": "full",
            "seed": 20260307,
            "started_at": START,
            "ended_at": START + timedelta(seconds=self.at) if complete else None,
            "complete": complete,
            "architecture": "poll",
            "settings": {"architecture": "poll", "pods": str(self.model.pods), "pool_size": "10"},
            "commit": "39647b1c0de5f00dfeedbeefcafe0123456789ab",
            "versions": {"python": "3.11.2", "postgres": "18.1", "valkey": "9.0.1", "touchline": "0.1.0"},
            "hardware": Hardware(
                cpu="Invented CPU at 2.6 GHz", cores=self.model.cores, memory_mib=24105, os="Linux 6.1"
            ),
            "parameters": {"generators": 2, "poll_interval_s": 3},
            "steps": self.steps,
            "faults": self.faults,
        }
        write_whole(path / RUN, Run(**{**fields, **changes}))
        append_lines(path / SECONDS, self.seconds)
        append_lines(path / METERS, self.meters)
        append_lines(path / BETS, bets)
        write_whole(path / STEPS, self.results)
        if checks is not None:
            write_whole(path / CHECKS, checks)
        return path


def knee_run(path: Path, users: Sequence[int] = (250, 500, 750, 1000, 1250, 1500), **changes: Any) -> Path:
    """A run over rising users; at a capacity of 560 requests a second, 1,000 are served and 1,250 are not."""
    recorder = Recorder()
    for amount in users:
        recorder.step(f"{amount} users", amount)
    return recorder.write(path, "knee", **{"checks": clean(), **changes})


def volatility_run(path: Path, **changes: Any) -> Path:
    """A run over price changes and poll intervals, in which chance alone refuses bets."""
    recorder = Recorder()
    for interval in (1, 3, 5):
        for rate in (0.05, 0.1, 0.5, 1, 2):
            recorder.model = Model(odds_changed=min(0.95, expected_share(rate, interval)))
            name = f"{rate} changes/s, polled every {interval} s"
            recorder.step(name, 300, 6, {"changes_per_s": str(rate), "poll_interval_s": str(interval)})
    return recorder.write(path, "volatility", **{"checks": clean(), "parameters": {}, **changes})


def settlement_run(path: Path, **changes: Any) -> Path:
    """A run in which 50,000 bets are settled, 400 a second, from second 20 on."""
    recorder = Recorder()
    recorder.step("before", 500, 20, done=lambda at: (0, 50_000))
    recorder.model = Model(slower=2.5)
    recorder.step("settling", 500, 130, done=lambda at: (min(50_000, 400 * (at - 20)), 50_000))
    recorder.model = Model()
    recorder.step("after", 500, 20, done=lambda at: (50_000, 50_000))
    return recorder.write(path, "settlement", **{"checks": clean(), **changes})


def ladder_run(path: Path, **changes: Any) -> Path:
    """A run of V0, some rungs and V1, each with its own capacity."""
    recorder = Recorder()
    rungs: list[tuple[str, dict[str, str], Model]] = [
        ("V0", {}, Model()),
        ("B1 odds cache", {"odds_cache": "redis"}, Model(capacity=900, slower=0.6)),
        ("B2 ETag", {"odds_etag": "true"}, Model(capacity=640, slower=0.9)),
        ("B3 tolerance", {"odds_tolerance_pct": "5"}, Model(odds_changed=0.012)),
        ("B4 idempotency", {"idempotency": "true"}, Model(slower=1.02)),
        ("B6 breaker", {"odds_breaker": "true"}, Model(slower=1.01)),
        ("B7 PgBouncer", {"pooler": "pgbouncer"}, Model(capacity=480, slower=1.5)),
        ("all together", {"odds_cache": "redis", "odds_etag": "true"}, Model(capacity=940, odds_changed=0.012)),
        ("V1", {"architecture": "stream"}, Model(capacity=2_000, odds_changed=0.003)),
    ]
    for name, settings, model in rungs:
        recorder.model = model
        recorder.step(name, 1000, 15, settings, price_ms=14 if name == "V1" else 1500)
    return recorder.write(path, "ladder", **{"checks": clean(), **changes})


def faults_run(path: Path, **changes: Any) -> Path:
    """A run in which the database is away for 6 s, the cache unnoticed, and every pod for 5 s."""
    recorder = Recorder()
    away = {(30, 36): {"odds", "bet"}, (110, 115): {"odds", "bet", "balance"}}

    def fails(at: int, kind: str) -> float:
        for (low, high), kinds in away.items():
            if low <= at < high and kind in kinds:
                return 1.0
            if at == high:
                return 0.3
        return 0.0

    recorder.step("faults", 400, 160, fails=fails)
    recorder.faults = [
        Fault(at_s=30.2, until_s=35.8, what="PostgreSQL killed"),
        Fault(at_s=70.0, until_s=72.1, what="Valkey killed"),
        Fault(at_s=110.1, until_s=114.9, what="Every pod unhealthy"),
        Fault(at_s=140.0, what="Settlement worker killed in the midst of an event"),
    ]
    seen = {"looks": 56, "answers": {"200": 4, "503 UNAVAILABLE": 52}, "first_failed_s": 0.1, "whole_again_s": 6.8}
    database = {"fault": "PostgreSQL killed", "kills": 1, "odds": {**seen, "unavailable_s": 5.2, "p99_ms": 31.0}}
    findings = {"postgres-killed": database}
    return recorder.write(
        path, "faults", **{"checks": clean(), "bets": sent_again(), "findings": findings, **changes}
    )


def soak_run(path: Path, length_s: int = 1800, **changes: Any) -> Path:
    """A run of half an hour under one load."""
    recorder = Recorder()
    recorder.step("500 users", 500, length_s)
    return recorder.write(path, "soak", **{"checks": clean(), **changes})


def compare_run(path: Path, **changes: Any) -> Path:
    """A run of V0, which refuses what chance does, and of V1, which refuses a fiftieth of that."""
    recorder = Recorder()
    settlement = {}
    sides = (("poll", "V0", 1500, 1.0, 25), ("stream", "V1", 14, 0.4, 2))
    for architecture, name, price_ms, slower, took_s in sides:
        for rate in (0.1, 0.5):
            share = expected_share(rate, 3) / (1 if architecture == "poll" else 50)
            recorder.model = Model(capacity=6_000, odds_changed=share, slower=slower)
            settings = {"architecture": architecture, "changes_per_s": str(rate)}
            recorder.step(f"{name}, {rate}/s", 4_000, 30, settings, price_ms=price_ms)
        settings = {"architecture": architecture, "settling": "true"}
        recorder.step(f"{name}, settling", 4_000, took_s + 1, settings, price_ms=price_ms)
        found = {"bets": 10_000, "settled": 10_000, "seconds": took_s, "finished": True}
        settlement[f"settlement on {name}"] = found
    both = {"checks": clean(), "architecture": "poll and stream", "findings": settlement}
    return recorder.write(path, "compare", **{**both, **changes})


def sent_again() -> list[BetAttempt]:
    """Bets that were sent twice: ten under a key and placed once, ten without one, of which four placed twice."""
    found = []
    for number in range(20):
        for attempt in (1, 2):
            twice = number >= 16 and attempt == 2
            found.append(
                BetAttempt(
                    user=number,
                    player_id=f"player-{number}",
                    key=f"key-{number}" if number < 10 else None,
                    market_id="market-1",
                    selection_id="home",
                    odds="1.95",
                    odds_version=12,
                    stake="5.00",
                    accept="none",
                    attempt=attempt,
                    intended_s=50.0,
                    sent_at=START + timedelta(seconds=50 + attempt),
                    status=201,
                    bet={"bet_id": f"bet-{number}-{2 if twice else 1}"},
                )
            )
    return found
