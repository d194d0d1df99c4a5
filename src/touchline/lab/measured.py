"""What a run says of one claim.

Invariant: `why` names what was measured or how the thing works, and praises nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A value, or whether the claim holds; `at_least` where the true value is above what was tried."""

    text: str
    why: str
    value: float | None = None
    holds: bool | None = None
    at_least: bool = False
