"""The changes at the authority on odds that wait to be recorded, oldest first.

Invariant: an entry stands here from the step that made its change until somebody has said that it is on record.
"""

from collections.abc import Sequence
from typing import Final

from touchline.adapters.valkey import records
from touchline.adapters.valkey.connection import Valkey
from touchline.core.errors import Fault, Outage
from touchline.ports.history import ENTRIES_AT_ONCE_MAX, HistoryEntry

WAIT_MS: Final = 500


class ValkeyHistory:
    """The `OddsHistory` port, on a connection of its own: others would wait behind its waiting."""

    def __init__(self, url: str, timeout_ms: int) -> None:
        self._valkey = Valkey(url, timeout_ms + WAIT_MS)

    async def close(self) -> None:
        """Close the connection."""
        await self._valkey.close()

    async def waiting(self, limit: int) -> list[HistoryEntry]:
        """See `ports.history.OddsHistory`. What is recorded is gone, so the oldest are always at the head.

        Raises:
            Outage: nothing waits, and there is no authority that anything could come from.
        """
        most = min(limit, ENTRIES_AT_ONCE_MAX)
        command = ("XREAD", "COUNT", most, "BLOCK", WAIT_MS, "STREAMS", records.HISTORY, "0-0")
        answer = await self._valkey.call(*command)
        if answer is not None:
            return [_entry(name, fields) for name, fields in answer[0][1]]
        if await self._valkey.call("GET", records.EPOCH) is None:
            raise Outage("the odds' authority")
        return []

    async def forget(self, entries: Sequence[HistoryEntry]) -> None:
        """See `ports.history.OddsHistory`."""
        if entries:
            await self._valkey.call("XDEL", records.HISTORY, *(entry.entry_id for entry in entries))

    async def length(self) -> int:
        """Return how many entries wait."""
        return int(await self._valkey.call("XLEN", records.HISTORY))


def _entry(name: bytes, fields: Sequence[bytes]) -> HistoryEntry:
    by_name = dict(zip(fields[::2], fields[1::2], strict=True))
    record, at = by_name[b"record"], records.instant_of(by_name[b"at"])
    if at is None:
        raise Fault(f"entry {name!r} of the odds' history has no instant")
    changed = records.market_of(record) if by_name[b"kind"] == b"m" else records.event_of(record)
    return HistoryEntry(name.decode(), records.cursor_of(record), at, changed)
