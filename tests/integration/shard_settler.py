"""Settlement and its shards' writers as a process to be killed: `python -m ... DSN VALKEY BETS_AT_ONCE`."""

import asyncio
import sys
from dataclasses import replace

from tests.settling_scene import settling_scene
from touchline.adapters.system import SystemClock
from touchline.core.errors import Outage


async def main(dsn: str, valkey_url: str, bets_at_once: int) -> None:
    """Work for ever; an outage is told and waited out, as the platform's own worker does."""
    async with settling_scene(dsn, valkey_url, clock=SystemClock(), name="settler") as scene:
        settlement = replace(scene.settlement, bets_at_once=bets_at_once)
        while True:
            try:
                await settlement.run()
            except Outage as outage:
                print(f"outage: {outage}", flush=True)
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
