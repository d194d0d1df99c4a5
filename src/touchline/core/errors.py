"""The three kinds of no: an answer (`Rejection`), a dependency away (`Outage`), a broken invariant (`Fault`).

Nothing else is raised across a layer.
"""

from collections.abc import Mapping
from enum import StrEnum


class Code(StrEnum):
    """Why a request is refused, in order of precedence: the first that applies is the answer."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    MALFORMED = "MALFORMED"
    RATE_LIMITED = "RATE_LIMITED"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    SELF_EXCLUDED = "SELF_EXCLUDED"
    ACCOUNT_LOCKED = "ACCOUNT_LOCKED"
    JURISDICTION_REFUSED = "JURISDICTION_REFUSED"
    MARKET_NOT_FOUND = "MARKET_NOT_FOUND"
    SELECTION_NOT_FOUND = "SELECTION_NOT_FOUND"
    MARKET_CLOSED = "MARKET_CLOSED"
    MARKET_SUSPENDED = "MARKET_SUSPENDED"
    BET_EXPIRED = "BET_EXPIRED"
    ODDS_CHANGED = "ODDS_CHANGED"
    STAKE_OUT_OF_RANGE = "STAKE_OUT_OF_RANGE"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    EXPOSURE_EXCEEDED = "EXPOSURE_EXCEEDED"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    # Answers that are no refusal of a bet; they stand behind the published order.
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


class Rejection(Exception):
    """An answer: the request was understood and refused; nothing was recorded.

    `extra` holds what the client needs to go on (`current_odds`, `min`, `max`, `left`, ...), as it goes out
    on the wire.
    """

    def __init__(self, code: Code, detail: str, **extra: object) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.extra: Mapping[str, object] = extra


class Outage(Exception):
    """A dependency is away; the same request with the same key may be sent again after `retry_after_s`."""

    def __init__(self, dependency: str, retry_after_s: int = 1) -> None:
        super().__init__(f"{dependency} is away")
        self.dependency = dependency
        self.retry_after_s = retry_after_s


class Fault(Exception):
    """An invariant is broken: stop, and keep the evidence."""
