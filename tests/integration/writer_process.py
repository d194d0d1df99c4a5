"""Writers of a ledger's shards as a process of their own, to be killed: `python -m ... DSN SHARDS SILENT_MAX_S`.

They stand by where others write the shards; whatever is asked of them comes over TCP, as it does from pods.
"""

import asyncio
import logging
import sys

from tests.ledger_scene import authority_of
from tests.scene import RULES, postgres_stores
from touchline.adapters.postgres.shards import PostgresShard
from touchline.adapters.system import SystemClock
from touchline.edge.shard_server import ShardServer
from touchline.flows.local_ledger import LocalLedger
from touchline.flows.write_shard import ShardWriter

SECRET = "s" * 40


async def main(dsn: str, shards: int, silent_max_s: float) -> None:
    """Write for ever; each shard that is taken is told."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    clock = SystemClock()
    async with postgres_stores(dsn, clock, pool_size=2) as stores:
        stored = [PostgresShard(dsn, n, shards, silent_max_s=silent_max_s) for n in range(1, shards + 1)]
        authority = authority_of(stores.markets)
        writers = [ShardWriter(shard, authority, RULES, clock, batch_bets_max=20) for shard in stored]
        ledger = LocalLedger(writers, shards)
        for shard in stored:
            shard.address = await ShardServer(ledger, shard.shard, SECRET).start()
        running = asyncio.create_task(ledger.run())
        await ledger.ready()
        print("ready", flush=True)
        await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
