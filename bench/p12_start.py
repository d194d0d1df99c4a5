"""P12: from a fresh clone to the first odds that a bettor sees, and a second start."""

import argparse
import asyncio
import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console

from touchline.runtime.addresses import free_port

ROOT = Path(__file__).parents[1]
FIRST_BAR_S = 60
SECOND_BAR_S = 5
TIMEOUT_S = 600


async def until_odds(port: int) -> None:
    """Return once a player who has logged in is shown a price."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, asyncio.timeout(TIMEOUT_S):
        while True:
            with contextlib.suppress(httpx.TransportError, KeyError):
                answer = await client.post("/auth/login", json={"username": "alice", "password": "demo"})
                client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
                break
            await asyncio.sleep(0.05)
        while not (await client.get("/odds")).json()["markets"]:  # noqa: ASYNC110  # a poller only has polls
            await asyncio.sleep(0.05)


async def seconds_to_odds(folder: Path, port: int) -> float:
    """Run `make run` in `folder`, and return how long it took to the first odds; it is stopped again."""
    environ = os.environ | {"TOUCHLINE_PORT": str(port)}
    began = time.perf_counter()
    child = await asyncio.create_subprocess_exec(
        "make", "run", cwd=folder, env=environ, start_new_session=True, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until_odds(port)
        return time.perf_counter() - began
    finally:
        os.killpg(child.pid, signal.SIGINT)
        await child.wait()


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "touchline"
        git = await asyncio.create_subprocess_exec("git", "clone", "--quiet", str(ROOT), str(clone))
        await git.wait()
        port = free_port()
        first_s = await seconds_to_odds(clone, port)
        second_s = await seconds_to_odds(clone, port)
    Console().print(
        f"P12: fresh clone to first odds {first_s:.1f} s (bar {FIRST_BAR_S}, {first_s / FIRST_BAR_S:.2f} of it), "
        f"second start {second_s:.1f} s (bar {SECOND_BAR_S}, {second_s / SECOND_BAR_S:.2f} of it)"
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    asyncio.run(main())
