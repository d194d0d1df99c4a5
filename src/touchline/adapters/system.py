"""The machine's own clock and randomness: the only place that asks for either."""

import secrets
import time
from datetime import UTC, datetime
from uuid import UUID


class SystemClock:
    """The `Clock` port."""

    def now(self) -> datetime:
        """See `ports.Clock`."""
        return datetime.now(UTC)


class SystemChance:
    """The `Chance` port."""

    def uuid(self) -> UUID:
        """Return a UUID of version 7 (RFC 9562, section 5.7), so that newer rows stand together in an index."""
        stamp_ms = time.time_ns() // 1_000_000
        random = secrets.randbits(74)
        high, low = random >> 62, random & (1 << 62) - 1
        return UUID(int=stamp_ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)
