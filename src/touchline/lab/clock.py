"""The lab's clocks: what time it is, and how long something took.

Invariant: nothing else in the lab reads a clock, so that every process of a run counts the same seconds.
"""

import time
from datetime import UTC, datetime

monotonic_s = time.monotonic  # of one machine: every process that the runner starts sees the same


def utc_now() -> datetime:
    """Return the instant, as clients write it into histories."""
    return datetime.now(UTC)
