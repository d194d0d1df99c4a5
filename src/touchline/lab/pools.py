"""How full each pod's pool of database connections is, once a second, as the pod's own metrics say.

PostgreSQL can't tell: a connection that a pod holds while its statement is on the way looks idle there.

Invariant: a pod that does not answer in time has no line for that second, and nothing else waits for it.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final

from touchline.lab.clock import monotonic_s
from touchline.lab.records import LineWriter, Meter

INTERVAL_S: Final = 1.0
TIMEOUT_S: Final = 0.9
ANSWER_BYTES_MAX: Final = 2**20
POOL: Final = "pool"  # the part: pool-1 is pod-1's
GAUGES: Final = {
    "touchline_db_connections_in_use": "in_use",
    "touchline_db_connections_max": "room",
    "touchline_db_waiting": "waiting",
    "touchline_replica_lag_seconds": "replica_lag_s",
}
_SAMPLE: Final = re.compile(r"^(\w+) (\S+)$", re.MULTILINE)

Ports = Callable[[], Mapping[str, int]]  # of the pods, by their parts' names


async def meter_pools(out: LineWriter, began_s: float, ports: Ports) -> None:
    """Write a line for each pod's pool every second, until cancelled.

    Raises:
        OSError: the disk is full.
    """
    next_s = monotonic_s()
    while True:
        next_s = max(next_s + INTERVAL_S, monotonic_s())
        await asyncio.sleep(next_s - monotonic_s())
        at_s = round(monotonic_s() - began_s, 3)
        pods = ports()
        found = await asyncio.gather(*(read_pool(port) for port in pods.values()))
        for name, gauges in zip(pods, found, strict=True):
            if gauges:
                part = f"{POOL}-{name.rpartition('-')[2]}"
                out.append(Meter(t_s=at_s, part=part, cpu_percent=0.0, rss_mib=0.0, threads=0, extra=gauges))
        out.flush()


async def read_pool(port: int) -> dict[str, float]:
    """Return a pod's `in_use`, `room` and `waiting`; nothing where it does not answer."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            text = await _get(port)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return {}
    samples = {name: value for name, value in _SAMPLE.findall(text) if name in GAUGES}
    return {GAUGES[name]: float(value) for name, value in samples.items()}


async def _get(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=ANSWER_BYTES_MAX)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        return body.decode("utf-8", "replace") if b" 200 " in head.partition(b"\r\n")[0] else ""
    finally:
        writer.close()
