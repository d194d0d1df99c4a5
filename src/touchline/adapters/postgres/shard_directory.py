"""Whether books are kept in shards, and where their writers are, as they put it on record when they took them."""

from collections.abc import Mapping
from typing import Final

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries

_QUERIES: Final = Queries("shard_directory.sql")


async def writers_at(database: Database) -> Mapping[int, str]:
    """Return the address (HOST:PORT) of each shard's latest writer, whether it still lives or not."""
    return {row["shard"]: row["address"] for row in await database.fetch(_QUERIES["addresses"])}


async def has_facts(database: Database) -> bool:
    """Tell whether anything is on record as facts: then money may be moved by the writers of shards alone."""
    return bool(await database.value(_QUERIES["has_facts"]))
