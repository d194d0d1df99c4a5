"""Which processes each architecture is made of, and where they listen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from touchline.architectures.settings import Settings

PREPARE: Final = "prepare"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where one process listens: `service_port` for HTTP, `stream_port` for what a gateway pushes; 0 is none."""

    service_port: int
    stream_port: int = 0
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its name on this machine, and the role that it plays."""

    name: str
    role: str
    streams: bool = False  # whether it has a `stream_port`, to which the balancer sends
    shard: int = 0  # the one that it writes


Serve = Callable[[Settings, Listening], None]  # blocks until the process is told to stop


def workers_of(settings: Settings) -> list[Process]:
    """Return what works behind the pods, in the order in which they are restarted."""
    workers = [Process("settlement", "settlement")]
    if settings.architecture == "stream":
        workers += [Process(f"writer-{n}", "writer", shard=n) for n in range(1, settings.shards + 1)]
        workers.append(Process("history", "history"))
        if settings.kafka:
            workers.append(Process("relay", "relay"))
    if settings.feed != "none":
        workers.append(Process("feed", "feed"))
    return workers


def pods_of(settings: Settings) -> list[Process]:
    """Return what answers HTTP."""
    return [Process(f"pod-{number}", "pod") for number in range(1, settings.pods + 1)]


def gateways_of(settings: Settings) -> list[Process]:
    """Return what pushes odds."""
    if settings.architecture != "stream":
        return []
    return [Process(f"gateway-{number}", "gateway", streams=True) for number in range(1, settings.gateways + 1)]
