"""Where the writers of shards are, as they put it on record when they took them."""

from collections.abc import Mapping
from typing import Final

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries

_ADDRESSES: Final = Queries("shard_directory.sql")["addresses"]


async def writers_at(database: Database) -> Mapping[int, str]:
    """Return the address (HOST:PORT) of each shard's latest writer, whether it still lives or not."""
    return {row["shard"]: row["address"] for row in await database.fetch(_ADDRESSES)}
