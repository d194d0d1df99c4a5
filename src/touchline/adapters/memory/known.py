"""What pods know of odds, in memory."""

from collections.abc import Collection, Mapping, Sequence

from touchline.core.ids import MarketId
from touchline.ports.ladder import Known


class MemoryKnownOdds:
    """The `KnownOdds` port."""

    def __init__(self) -> None:
        self._known: dict[MarketId, Known] = {}

    async def tell(self, known: Sequence[Known]) -> None:
        """See `ports.ladder.KnownOdds`."""
        for one in known:
            if one.is_above(self._known.get(one.market.market_id)):
                self._known[one.market.market_id] = one

    async def newest(self, market_ids: Collection[MarketId]) -> Mapping[MarketId, Known]:
        """See `ports.ladder.KnownOdds`."""
        return {market_id: self._known[market_id] for market_id in market_ids if market_id in self._known}
