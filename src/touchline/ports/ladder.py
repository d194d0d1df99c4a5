"""The door that the ladder opens beside the others: odds that pods know of and tell each other.

Any method may raise `Outage`, as in `touchline.ports`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from touchline.core.ids import MarketId
from touchline.wire.odds_v1 import PolledMarketV1

KNOWN_AT_ONCE_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Known:
    """A market as its authority had it at the instant `at`."""

    market: PolledMarketV1
    at: datetime

    def is_above(self, other: "Known | None") -> bool:
        """Tell whether this is a newer version than `other`, or the same, known to stand later."""
        if other is None:
            return True
        mine, theirs = self.market.odds_version, other.market.odds_version
        return mine > theirs or (mine == theirs and self.at > other.at)


class KnownOdds(Protocol):
    """The newest version of each market that any pod has answered with, for when their authority is away."""

    async def tell(self, known: Sequence[Known]) -> None:
        """Keep each market but where a newer version is kept; at most `KNOWN_AT_ONCE_MAX`."""

    async def newest(self, market_ids: Collection[MarketId]) -> Mapping[MarketId, Known]:
        """Return what is kept of markets; those of which nothing is kept are left out."""
