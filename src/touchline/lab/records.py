"""What a run leaves in its directory: the structs of its files, and how they are appended and read.

Invariant: a line is whole or not there. Writers append whole lines in one write, so that several processes may
share a file; `run.json` is replaced whole; a run that was cut off says so by `complete`.
"""

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import msgspec

RUN: Final = "run.json"
SECONDS: Final = "seconds.jsonl"
STEPS: Final = "steps.json"
BETS: Final = "bets.jsonl"
METERS: Final = "meters.jsonl"
CHECKS: Final = "checks.json"
REPORT: Final = "report.html"

BUFFERED_BYTES_MAX: Final = 256 * 1024
PRICE: Final = "price"  # no request: a price that a bettor sees for the first time, as long after it was made

Size = Literal["smoke", "full"]
Struct = TypeVar("Struct", bound=msgspec.Struct)


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that platform and generator shared."""

    cpu: str
    cores: int
    memory_mib: int
    os: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a run under one load and one set of settings; seconds since the run's start."""

    name: str
    users: int
    settings: dict[str, str] = {}
    starts_s: float
    ends_s: float


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was broken on purpose; `until_s` is None where it was an instant, or has not ended."""

    at_s: float
    until_s: float | None = None
    what: str


class Run(msgspec.Struct, kw_only=True):
    """A run: what was run, on what, and how far it came. Seconds `*_s` count from `started_at`."""

    scenario: str
    size: Size
    seed: int
    started_at: datetime
    ended_at: datetime | None = None
    complete: bool = False  # it came to its end; else what follows is half a run
    architecture: str
    settings: dict[str, str] = {}  # of the platform, without secrets
    commit: str
    versions: dict[str, str] = {}
    hardware: Hardware
    parameters: dict[str, Any] = {}  # of the scenario
    steps: list[Step] = []
    faults: list[Fault] = []
    findings: dict[str, Any] = {}  # what the scenario concludes, by name: the knee, the resource that ran out


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of request did in one second: counted at its intended send time, answers included.

    Latency counts from the intended send time; `late_p99_ms` is the generator's own part of it.
    """

    t_s: int
    step: str
    kind: str
    offered: int
    answered: int  # with any status
    errors: int  # without one: refused, reset, timed out, or not sent for want of room
    statuses: dict[str, int] = {}
    codes: dict[str, int] = {}  # of problem documents, and the client's own: TIMEOUT, RESET, REFUSED, DROPPED
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    late_p99_ms: float | None = None


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of request did in one step; `histogram` is HdrHistogram's V2 encoding, of latencies in µs."""

    step: str
    kind: str
    users: int
    offered_per_s: float
    achieved_per_s: float  # answered as they should be: 2xx, 304, and refusals that are answers (4xx)
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    late_p99_ms: float | None
    codes: dict[str, int]
    statuses: dict[str, int]
    histogram: str


class BetAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to place a bet, as its client saw it; what was not answered has no status.

    `sent_at` and `answered_at` are the client's clock, just before the first byte left and after the last came.
    """

    user: int
    player_id: str
    key: str | None
    market_id: str
    selection_id: str
    odds: str
    odds_version: int
    stake: str
    accept: str
    attempt: int  # from 1, under the same key
    intended_s: float
    sent_at: datetime
    answered_at: datetime | None = None
    status: int | None = None
    code: str | None = None  # of the refusal, or the client's own: TIMEOUT, RESET, REFUSED
    bet: dict[str, Any] | None = None  # the answer's body where it is a bet


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """What one part used in one second: its process and those under it; `cpu_percent` of one core is 100."""

    t_s: float
    part: str
    cpu_percent: float
    rss_mib: float
    threads: int
    connections: int | None = None
    extra: dict[str, Any] = {}


class RuleCheck(msgspec.Struct, frozen=True):
    """What one rule of the checker was asked of, and each violation with the bet that it names."""

    name: str
    checked: int
    violations: list[str]


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """The checker's verdict."""

    rules: list[RuleCheck]
    ok: bool


class Unreadable(Exception):
    """A file of a run is missing, or holds what it should not."""


class LineWriter:
    """Appends structs to a file as lines of JSON, some at a time."""

    def __init__(self, path: Path) -> None:
        """Open `path` to append.

        Raises:
            OSError: it can't be opened.
        """
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()

    def append(self, line: msgspec.Struct) -> None:
        """Append one line, now or with the next ones.

        Raises:
            OSError: the disk is full.
        """
        self._buffer += self._encoder.encode(line)
        self._buffer += b"\n"
        if len(self._buffer) >= BUFFERED_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered.

        Raises:
            OSError: the disk is full.
        """
        buffer, self._buffer = memoryview(bytes(self._buffer)), bytearray()
        while buffer:  # one write as a rule; a disk that fills takes a part, and refuses the rest
            buffer = buffer[os.write(self._file, buffer) :]

    def close(self) -> None:
        """Write what is buffered, and close the file."""
        try:
            self.flush()
        finally:
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def append_lines(path: Path, lines: Iterable[msgspec.Struct]) -> None:
    """Append `lines` to `path`.

    Raises:
        OSError: the disk is full.
    """
    with LineWriter(path) as writer:
        for line in lines:
            writer.append(line)


def read_lines(path: Path, kind: type[Struct], *, torn: bool = False) -> Iterator[Struct]:
    """Yield every line of `path`, one at a time; none where there is no file. With `torn`, skip broken lines.

    Raises:
        Unreadable: a line is not a `kind`; it is named.
    """
    decoder = msgspec.json.Decoder(kind)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError as wrong:
                    if not torn:
                        raise Unreadable(f"{path.name}, line {number}: {wrong}") from wrong
    except FileNotFoundError:
        return
    except OSError as failed:
        raise Unreadable(f"{path}: {failed.strerror}") from failed


def write_whole(path: Path, contents: msgspec.Struct | list[StepResult]) -> None:
    """Replace `path`: a reader sees the old file or the new one.

    Raises:
        OSError: the disk is full; the old file stands.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(contents)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_whole(path: Path, kind: type[Struct]) -> Struct:
    """Return what `write_whole` wrote.

    Raises:
        Unreadable: there is no such file, or it holds no `kind`.
    """
    return _decode(path, msgspec.json.Decoder(kind))


def read_steps(run_dir: Path) -> list[StepResult]:
    """Return the results of a run's steps; none where it has not come to one.

    Raises:
        Unreadable: the file holds something else.
    """
    path = run_dir / STEPS
    return _decode(path, msgspec.json.Decoder(list[StepResult])) if path.exists() else []


_Decoded = TypeVar("_Decoded")


def _decode(path: Path, decoder: "msgspec.json.Decoder[_Decoded]") -> _Decoded:
    try:
        return decoder.decode(path.read_bytes())
    except msgspec.DecodeError as wrong:
        raise Unreadable(f"{path}: {wrong}") from wrong
    except OSError as failed:
        raise Unreadable(f"{path}: {failed.strerror}") from failed
