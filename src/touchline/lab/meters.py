"""What the platform's processes, PostgreSQL, the host and the generators use, once a second.

Invariant: a part is its process and all under it but for other parts, so that nothing counts twice; what ended
meanwhile is left out, and a part that is started again is found again. Memory that processes share is counted in
each of them.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import asyncpg
import psutil

from touchline.lab.clock import monotonic_s
from touchline.lab.records import LineWriter, Meter
from touchline.lab.statements import read_statements

INTERVAL_S: Final = 1.0
SQL_TIMEOUT_S: Final = 2.0
HOST: Final = "host"
POSTGRES: Final = "postgres"
MIB: Final = 2**20
_SQL: Final = read_statements("meters.sql")

Pids = Callable[[], Mapping[str, int]]


class Processes:
    """The CPU time of process trees between one look and the next."""

    def __init__(self) -> None:
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._seen: dict[tuple[int, float], psutil.Process] = {}
        self._looked_s = monotonic_s()
        psutil.cpu_percent(percpu=True)  # the first call has nothing to compare with

    def look(self, pids: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        """Return what each part used since the last look, and the host; it takes some milliseconds."""
        now = monotonic_s()
        since_s, self._looked_s = max(1e-3, now - self._looked_s), now
        children = _children()
        cpu_s: dict[tuple[int, float], float] = {}
        parts: dict[str, dict[str, Any]] = {}
        for part, pid in pids.items():
            used = [self._used(each, cpu_s) for each in _tree(pid, children, others=set(pids.values()))]
            found = [one for one in used if one is not None]
            if found:
                parts[part] = {
                    "cpu_percent": round(100 * sum(one[0] for one in found) / since_s, 1),
                    "rss_mib": round(sum(one[1] for one in found) / MIB, 1),
                    "threads": sum(one[2] for one in found),
                }
        self._cpu_s = cpu_s
        self._seen = {key: process for key, process in self._seen.items() if key in cpu_s}
        cores = psutil.cpu_percent(percpu=True)
        memory = psutil.virtual_memory()
        parts[HOST] = {
            "cpu_percent": round(sum(cores), 1),
            "rss_mib": round((memory.total - memory.available) / MIB, 1),
            "threads": 0,
            "extra": {"cores": cores, "load": psutil.getloadavg()[0]},
        }
        return parts

    def _used(
        self, process: psutil.Process, cpu_s: dict[tuple[int, float], float]
    ) -> tuple[float, int, int] | None:
        try:
            key = (process.pid, process.create_time())
            process = self._seen.setdefault(key, process)
            with process.oneshot():
                times = process.cpu_times()
                cpu_s[key] = times.user + times.system
                return (
                    cpu_s[key] - self._cpu_s.get(key, cpu_s[key]),
                    process.memory_info().rss,
                    process.num_threads(),
                )
        except psutil.Error:
            return None


def _children() -> dict[int, list[psutil.Process]]:
    found: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter(["ppid"]):
        found.setdefault(process.info["ppid"], []).append(process)
    return found


def _tree(pid: int, children: Mapping[int, list[psutil.Process]], others: set[int]) -> list[psutil.Process]:
    """Return a process and all under it, without `others` and what is under them."""
    try:
        tree = [psutil.Process(pid)]
    except psutil.Error:
        return []
    for process in tree:  # it grows meanwhile
        tree += [child for child in children.get(process.pid, []) if child.pid not in others]
    return tree


class Database:
    """What PostgreSQL says of itself; nothing while it is away."""

    def __init__(self, dsn: Callable[[], str]) -> None:
        self._dsn = dsn
        self._connection: Any = None
        self._last: tuple[float, int] | None = None

    async def look(self) -> dict[str, Any] | None:
        """Return its activity; None while it is away."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await _connect(self._dsn())
            row = dict(await self._connection.fetchrow(_SQL["activity"], timeout=SQL_TIMEOUT_S))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            self._last = None
            await self.close()  # nobody knows what state it is in
            return None
        now, transactions = monotonic_s(), row.pop("transactions")
        last, self._last = self._last, (now, transactions)
        row["xact_per_s"] = None if last is None else round((transactions - last[1]) / (now - last[0]), 1)
        return row

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def server_version(dsn: str) -> str:
    """Return the version of the PostgreSQL at `dsn`, or why it can't be had."""
    try:
        connection = await _connect(dsn)
        try:
            return str(await connection.fetchval(_SQL["version"]))
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError) as failed:
        return f"unknown ({type(failed).__name__})"


async def _connect(dsn: str) -> Any:
    settings = {"application_name": "touchline lab"}
    return await asyncpg.connect(dsn, timeout=SQL_TIMEOUT_S, server_settings=settings)


async def meter(out: LineWriter, began_s: float, pids: Pids, dsn: Callable[[], str]) -> None:
    """Write a line for each part every second, until cancelled.

    Raises:
        OSError: the disk is full.
    """
    processes, database = Processes(), Database(dsn)
    next_s = monotonic_s()
    try:
        while True:
            next_s = max(next_s + INTERVAL_S, monotonic_s())
            await asyncio.sleep(next_s - monotonic_s())
            at_s = round(monotonic_s() - began_s, 3)
            parts = await asyncio.to_thread(processes.look, pids())
            activity = await database.look()
            if activity is not None:
                server = parts.setdefault(POSTGRES, {"cpu_percent": 0.0, "rss_mib": 0.0, "threads": 0})
                server |= {"connections": activity.pop("connections"), "extra": activity}
            for part, used in parts.items():
                out.append(Meter(t_s=at_s, part=part, **used))
            out.flush()
    finally:
        await database.close()
