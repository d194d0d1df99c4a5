"""`python -m tests.integration.carrier DSN FACTS`: carries books over, and stands still after so many facts."""

import asyncio
import sys
import time
from collections.abc import Iterator

from tests.clock import NOON
from touchline.adapters.postgres import archive
from touchline.adapters.postgres.archive import PostgresArchiveStore
from touchline.core.facts import Body
from touchline.flows.carry_over import carried_over
from touchline.ports.archive import PlayerState


def main(dsn: str, facts: int) -> None:
    """Carry the books at `dsn` over."""
    archive.FACTS_AT_ONCE = 1  # type: ignore[misc]  # so that each is with the server before the next is asked for
    told = 0

    def carried(state: PlayerState) -> Iterator[Body]:
        nonlocal told
        for fact in carried_over(state):
            if told >= facts:
                print("stands still", flush=True)
                time.sleep(3600)
            told += 1
            yield fact

    asyncio.run(PostgresArchiveStore(dsn).carry_over(2, carried, NOON))
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
