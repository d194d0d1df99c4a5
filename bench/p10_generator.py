"""P10: requests a second that one process of the lab's bettors sends to a server that does nothing."""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from _load import drive, get
from _servers import process
from touchline.lab.bettors import Player
from touchline.lab.clock import monotonic_s
from touchline.lab.generator import SHARE_OF_POLLS, Orders
from touchline.lab.histograms import percentile_ms
from touchline.lab.samples import Sample
from touchline.runtime.addresses import free_port

BAR = 10_000
OFFERED = (5_000, 10_000, 12_500, 15_000, 20_000)
SECONDS = 6.0
USERS = 2_000
ANSWERED_MIN = 0.99
START_S = 1.5


@dataclass
class Outcome:
    """What a generator told of itself."""

    statuses: Counter[str] = field(default_factory=Counter)
    latencies_us: list[int] = field(default_factory=list)
    late_us: list[int] = field(default_factory=list)
    cpu_s: float = 0.0

    def rate(self) -> float:
        """Return answers a second."""
        return self.statuses.total() / SECONDS

    def kept_up(self, offered: float) -> bool:
        """Tell whether what was due was answered."""
        return self.rate() >= ANSWERED_MIN * offered

    def per_core(self) -> float:
        """Return answers in a second of CPU time."""
        return self.statuses.total() / self.cpu_s


async def generate(port: int, offered: float, history: Path) -> Outcome:
    """Run one generator in a process of its own, in the seed's mix, and return what it did."""
    poll_s = USERS * 1.0 / (offered * SHARE_OF_POLLS)  # so many users, polling so often, in all `offered`
    now = monotonic_s()
    orders = Orders(
        address=f"http://127.0.0.1:{port}",
        run_began_s=now,
        starts_at_s=now + START_S,
        ends_at_s=now + START_S + SECONDS,
        seed=f"{offered}",
        keys=f"{offered}",
        first_user=0,
        users=USERS,
        players=[Player("p", "a token of a usual length " * 12)],
        markets=["m"],
        history=str(history),
        poll_interval_s=poll_s,
        bet_interval_s=poll_s * 7 / 2,
        balance_interval_s=poll_s * 7,
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "touchline.lab.generator",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(msgspec.json.encode(orders) + b"\n")
    outcome, itself = Outcome(), psutil.Process(child.pid)
    async for line in child.stdout:
        times = itself.cpu_times()
        outcome.cpu_s = times.user + times.system
        for sample in msgspec.json.decode(line, type=list[Sample]):
            outcome.statuses.update(sample.statuses)
            outcome.latencies_us += sample.latencies_us
            outcome.late_us += sample.late_us
    assert await child.wait() == 0
    return outcome


async def main() -> None:
    """Measure and print."""
    table = Table(title="P10: one process of bettors against a server that does nothing")
    for column in (
        "offered/s",
        "answered/s",
        "latency p50 ms",
        "p99 ms",
        "own lateness p99 ms",
        "answers a CPU second",
    ):
        table.add_column(column, justify="right")
    best, most, port = 0.0, 0.0, free_port()
    with tempfile.TemporaryDirectory() as folder:
        async with process(str(Path(__file__).with_name("_null_server.py")), str(port), port=port):
            bare = (await drive(port, lambda: get("/odds/m", "a token of a usual length " * 12), 64, 3)).rate(200)
            for offered in track(OFFERED, "P10", transient=True):
                outcome = await generate(port, offered, Path(folder) / f"{offered}.jsonl")
                latencies = sorted(outcome.latencies_us)
                late = sorted(outcome.late_us)
                best = max(best, outcome.rate() if outcome.kept_up(offered) else 0.0)
                most = max(most, outcome.per_core())
                shown = [percentile_ms(latencies, 50), percentile_ms(latencies, 99), percentile_ms(late, 99)]
                table.add_row(
                    f"{offered:,}",
                    f"{outcome.rate():,.0f}",
                    *(f"{value or 0:.2f}" for value in shown),
                    f"{outcome.per_core():,.0f}",
                )
    console = Console()
    console.print(table)
    console.print(
        f"one process kept up with {best:,.0f} requests/s, {best / BAR:.2f} of the bar of {BAR:,}; it has CPU for "
        f"{most:,.0f} on a core of its own; a bare closed loop of GETs gets {bare:,.0f}/s from the same server"
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    asyncio.run(main())
