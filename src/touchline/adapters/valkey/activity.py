"""What each Valkey (or Redis) says of itself, for whoever watches the platform."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from touchline.adapters.valkey.connection import Valkey
from touchline.core.errors import Outage

TIMEOUT_MS: Final = 250  # of one server; less than a scrape waits for all


@dataclass(frozen=True, slots=True)
class ValkeyActivity:
    """Clients, bytes (at most: 0 where there is no bound), and since its start reads of keys and keys evicted."""

    clients: int
    memory_bytes: int
    memory_max_bytes: int
    hits: int
    misses: int
    evicted: int


class ValkeyServers:
    """Servers by what each is for, over a connection of its own to each."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._servers = {name: Valkey(url, TIMEOUT_MS) for name, url in urls.items()}

    async def read(self) -> dict[str, ValkeyActivity | None]:
        """Return what each is busy with; None of one that gives no answer."""
        found = await asyncio.gather(*map(_read, self._servers.values()))
        return dict(zip(self._servers, found, strict=True))


async def _read(server: Valkey) -> ValkeyActivity | None:
    try:
        values = await server.figures()
    except Outage:
        return None
    return ValkeyActivity(
        clients=int(values["connected_clients"]),
        memory_bytes=int(values["used_memory"]),
        memory_max_bytes=int(values["maxmemory"]),
        hits=int(values["keyspace_hits"]),
        misses=int(values["keyspace_misses"]),
        evicted=int(values["evicted_keys"]),
    )
