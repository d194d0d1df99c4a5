"""A settlement worker as a process of its own, to be killed: `python -m ... DSN BETS_AT_ONCE`."""

import asyncio
import sys

from tests.scene import memory_sessions, postgres_stores
from touchline.adapters.memory.meters import MemoryMeter
from touchline.adapters.system import SystemClock
from touchline.core.errors import Outage
from touchline.flows.settle_market import SettlementWork


async def main(dsn: str, bets_at_once: int) -> None:
    """Work for ever; an outage is told and waited out, as the platform's own worker does."""
    async with postgres_stores(dsn, SystemClock(), pool_size=2) as stores:
        work = SettlementWork(stores.settlements, memory_sessions(), stores.clock, MemoryMeter(), bets_at_once)
        while True:
            try:
                await work.run()
            except Outage as outage:
                print(f"outage: {outage}", flush=True)
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
