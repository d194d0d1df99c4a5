"""The record of a running platform, in its data directory: what runs, where, and under which process ids.

Invariant: it is readable by its owner alone, and replaced whole: a reader never sees half of it.
"""

import signal
from pathlib import Path
from typing import Final

import msgspec
import psutil

from touchline.runtime import discovery
from touchline.runtime.files import write_private
from touchline.runtime.process import same_process

FILE: Final = "instance.json"
LEFTOVER_TIMEOUT_S: Final = 20


class PartRecord(msgspec.Struct, frozen=True):
    """A part's process; pid and start time together name it for good."""

    name: str
    port: int
    pid: int
    started_at: float
    restarts: int


class Instance(msgspec.Struct, frozen=True):
    """A running platform."""

    architecture: str
    address: str  # where clients connect: the load balancer
    pid: int  # the supervisor's
    started_at: float
    control: str  # the supervisor's socket
    parts: list[PartRecord]
    postgres: str  # the DSN, with its password
    valkey: str  # the URL, with its password
    token_secret_file: str  # empty where the secret was given as a setting
    demo: bool
    ready: bool


def read_instance(data_dir: Path) -> Instance | None:
    """Return the record in `data_dir`; None where there is none. Whether it still runs, `is_running` tells."""
    try:
        return msgspec.json.decode(data_dir.joinpath(FILE).read_bytes(), type=Instance)
    except (FileNotFoundError, msgspec.DecodeError):  # one of another version is as good as none
        return None


def write_instance(data_dir: Path, instance: Instance) -> None:
    """Replace the record."""
    write_private(data_dir / FILE, msgspec.json.format(msgspec.json.encode(instance)))


def forget_instance(data_dir: Path) -> None:
    """Remove the record, and what tells where its metrics were."""
    for file in (FILE, discovery.FILE):
        data_dir.joinpath(file).unlink(missing_ok=True)


def is_running(instance: Instance) -> bool:
    """Tell whether its supervisor is alive."""
    return same_process(instance.pid, instance.started_at) is not None


def end_stale(instance: Instance) -> list[str]:
    """End what is left of a platform whose supervisor was killed, and return the names of those parts.

    PostgreSQL's own processes are ended by its launcher, which knows their directory.
    """
    left = [
        (part.name, process)
        for part in reversed(instance.parts)
        if (process := same_process(part.pid, part.started_at)) is not None
    ]
    for name, process in left:
        _send(process, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs([process for _, process in left], LEFTOVER_TIMEOUT_S)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, LEFTOVER_TIMEOUT_S)
    return [name for name, _ in left]


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
