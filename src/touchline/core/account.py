"""A player's account, as a decision sees it."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from touchline.core.ids import PlayerId
from touchline.core.ledger import Wallet
from touchline.core.limits import Limits
from touchline.core.values import value


class Role(StrEnum):
    """What a token may do."""

    PLAYER = "player"
    TRADER = "trader"
    FEED = "feed"


@value(frozen=True, slots=True, kw_only=True)
class Account:
    """One player: his money, and what keeps him from betting. Times are None where nothing does."""

    player_id: PlayerId
    currency: str
    wallet: Wallet
    locked_until: datetime | None = None
    excluded_until: datetime | None = None
    limits: Limits = field(default_factory=dict)

    def is_locked(self, now: datetime) -> bool:
        """Tell whether too many wrong passwords have locked the account for now."""
        return self.locked_until is not None and now < self.locked_until

    def is_excluded(self, now: datetime) -> bool:
        """Tell whether the player has excluded himself."""
        return self.excluded_until is not None and now < self.excluded_until


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a verified token speaks for, and until when."""

    player_id: PlayerId
    role: Role
    token_id: UUID
    issued_at: datetime
    expires_at: datetime
