"""`python -m tests.integration.snapshotter DSN EVERY`: keeps snapshots every so many facts, without rest."""

import asyncio
import sys

from tests.clock import HandClock
from touchline.adapters.postgres.archive import PostgresArchiveStore
from touchline.flows import rebuild_state

if __name__ == "__main__":
    rebuild_state.SNAPSHOT_LOOK_S = 0  # type: ignore[misc,assignment]  # so that it is mostly at work when killed
    store = PostgresArchiveStore(sys.argv[1])
    asyncio.run(rebuild_state.keep_snapshots(store, HandClock(), int(sys.argv[2])))
