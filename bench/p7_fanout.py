"""P7: pushes to 1,000 clients from one gateway on one core, against a loop in C; at least 0.7 of it.

Beside it nginx with nchan where that module is installed. The receivers have the other core of the machine; where
it has no other, or others work on it too, the frames a second of the sender's own CPU time are what to look at.
"""

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from _fanout import GATEWAY, Run, compiled, listen, sender
from _load import drive
from touchline.runtime.addresses import free_port

CLIENTS = 1_000
FRAME_BYTES = 200
SECONDS = 4.0
ROUNDS = 3
BAR = 0.7
NCHAN_MODULE = os.environ.get("NCHAN_MODULE", "/usr/lib/nginx/modules/ngx_nchan_module.so")
NCHAN = """
load_module %(module)s;
daemon off; master_process off; worker_processes 1; pid %(folder)s/pid; error_log %(folder)s/errors crit;
events { worker_connections 4096; }
http {
  access_log off; client_body_temp_path %(folder)s/bodies; keepalive_requests 10000000;
  nchan_shared_memory_size 64m;
  server {
    listen 127.0.0.1:%(port)d;
    location = /stream {
      nchan_subscriber websocket; nchan_channel_id odds; nchan_subscriber_first_message newest;
    }
    location = /publish { nchan_publisher; nchan_channel_id odds; nchan_message_buffer_length 4; }
  }
}
"""


async def c_loop(program: str) -> Run:
    """Measure the yardstick."""
    port = free_port()
    argv = (program, "serve", str(port), str(CLIENTS), str(10 * SECONDS), str(FRAME_BYTES))
    async with sender(*argv) as sending:
        return await listen(program, port, CLIENTS, SECONDS, sending)


async def gateway(program: str) -> Run:
    """Measure ours."""
    port = free_port()
    argv = (sys.executable, str(GATEWAY), str(port), str(CLIENTS), str(FRAME_BYTES), "")
    async with sender(*argv) as sending:
        return await listen(program, port, CLIENTS, SECONDS, sending)


async def nchan(program: str, nginx: str) -> Run:
    """Measure nginx with nchan, one worker, told by as many publishers as keep it busy."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = Path(folder) / "nginx.conf"
        settings.write_text(NCHAN % {"module": NCHAN_MODULE, "folder": folder, "port": port}, "utf-8")
        body = b'{"op":"change"' + b" " * (FRAME_BYTES - 15) + b"}"
        head = f"POST /publish HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        async with sender(nginx, "-p", folder, "-c", str(settings)) as sending:
            receiving = asyncio.create_task(listen(program, port, CLIENTS, SECONDS, sending, ""))
            while not receiving.done():
                try:
                    await drive(port, lambda: head + body, 2, 1.0)
                except OSError:
                    await asyncio.sleep(0.05)  # it does not listen yet
            return receiving.result()


async def main() -> None:
    """Measure in turns and print."""
    nginx = shutil.which("nginx")
    with compiled() as program:
        measures = {"a loop in C": lambda: c_loop(program), "the gateway": lambda: gateway(program)}
        if nginx and os.access(NCHAN_MODULE, os.R_OK):
            measures["nginx with nchan"] = lambda: nchan(program, nginx)
        else:
            Console().print("nginx with nchan is not installed (libnginx-mod-nchan): not measured")
        runs: dict[str, list[Run]] = {name: [] for name in measures}
        for _ in range(ROUNDS):
            for name, measure in measures.items():
                runs[name].append(await measure())
    table = Table(title=f"P7: pushes of {FRAME_BYTES} bytes to {CLIENTS:,} clients, one core")
    for column in ("", "median a second", "lowest", "highest", "ratio", "a CPU second", "ratio", "bar"):
        table.add_column(column, justify="right" if column else "left")
    rates = {name: statistics.median(run.rate for run in some) for name, some in runs.items()}
    cores = {name: statistics.median(run.rate_of_a_core for run in some) for name, some in runs.items()}
    first = next(iter(runs))
    for name, some in runs.items():
        table.add_row(
            name,
            f"{rates[name]:,.0f}",
            f"{min(run.rate for run in some):,.0f}",
            f"{max(run.rate for run in some):,.0f}",
            f"{rates[name] / rates[first]:.2f}",
            f"{cores[name]:,.0f}",
            f"{cores[name] / cores[first]:.2f}",
            f"{BAR:.2f}" if name == "the gateway" else "",
        )
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
