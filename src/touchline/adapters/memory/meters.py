"""What flows count, in memory."""

from collections import Counter
from datetime import datetime

from touchline.core.feed import AnyMessage
from touchline.core.settlement import Settlement, SettlementKind


class MemoryMeter:
    """The `FeedMeter` and `SettlementMeter` ports."""

    def __init__(self) -> None:
        self.messages: Counter[tuple[str, bool]] = Counter()
        self.bets: Counter[SettlementKind] = Counter()
        self.finished_ids: list[int] = []

    def heard(self, message: AnyMessage, applied: bool) -> None:
        """See `ports.FeedMeter`."""
        self.messages[type(message).__name__, applied] += 1

    def worked(self, settlement: Settlement, bets: int) -> None:
        """See `ports.SettlementMeter`."""
        self.bets[settlement.kind] += bets

    def finished(self, settlement: Settlement, at: datetime) -> None:
        """See `ports.SettlementMeter`."""
        self.finished_ids.append(settlement.settlement_id)
