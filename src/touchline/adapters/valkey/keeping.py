"""Whether a Valkey (or Redis) that somebody else runs keeps what an authority on odds has answered.

Invariant: what can't be found out is said, never taken for right.
"""

from dataclasses import dataclass

from touchline.adapters.valkey.connection import Refused, Valkey
from touchline.core.errors import Outage


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a server keeps what it holds; `fsync` is None where it does not say."""

    policy: str
    appends: bool
    fsync: str | None

    @property
    def evicts(self) -> bool:
        """Whether a full server forgets rather than refuses."""
        return self.policy != "noeviction"

    @property
    def doubts(self) -> list[str]:
        """What may be lost, one line for each reason."""
        found = []
        if self.evicts:
            found.append(f"it forgets markets once it is full (maxmemory-policy {self.policy}, not noeviction)")
        if not self.appends:
            found.append("a restart of it loses all odds (appendonly no, not yes)")
        elif self.fsync is None:
            found.append("whether its appendfsync is always could not be checked: it refuses CONFIG GET")
        elif self.fsync != "always":
            found.append(f"a crash can lose odds that bettors have seen (appendfsync {self.fsync}, not always)")
        return found


async def read_keeping(url: str, timeout_ms: int) -> Keeping:
    """Return how the server at `url` keeps what it holds.

    Raises:
        Outage: it gives no answer.
    """
    valkey = Valkey(url, timeout_ms)
    try:
        told = await valkey.figures()
        policy, appends = told.get("maxmemory_policy", "unknown"), told.get("aof_enabled") == "1"
        return Keeping(policy, appends, await _fsync(valkey))
    finally:
        await valkey.close()


async def _fsync(valkey: Valkey) -> str | None:
    try:
        answer = await valkey.call("CONFIG", "GET", "appendfsync")
    except Outage as outage:
        if isinstance(outage.__cause__, Refused):  # as a service that somebody manages may
            return None
        raise
    return answer[1].decode() if len(answer) == 2 else None
