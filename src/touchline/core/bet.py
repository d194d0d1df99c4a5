"""A bet, what is asked of it, and its life as a table."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from touchline.core.errors import Fault
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId
from touchline.core.money import payout_minor
from touchline.core.values import value


class BetStatus(StrEnum):
    """Where a bet stands; each member names the steps that leave it."""

    PLACED = "PLACED"  # win, lose, void
    WON = "WON"  # pay
    LOST = "LOST"  # pay
    SETTLED = "SETTLED"  # roll back
    VOID = "VOID"  # roll back


class BetResult(StrEnum):
    """What became of a bet; it stays on record once the bet is settled."""

    WON = "won"
    LOST = "lost"
    VOID = "void"


class BetStep(StrEnum):
    """What can happen to a bet."""

    WIN = "win"
    LOSE = "lose"
    VOID = "void"
    PAY = "pay"
    ROLLBACK = "rollback"


_S, _T = BetStatus, BetStep
BET_LIFECYCLE: Final[dict[tuple[BetStatus, BetStep], BetStatus]] = {
    (_S.PLACED, _T.WIN): _S.WON,
    (_S.PLACED, _T.LOSE): _S.LOST,
    (_S.PLACED, _T.VOID): _S.VOID,
    (_S.WON, _T.PAY): _S.SETTLED,
    (_S.LOST, _T.PAY): _S.SETTLED,
    (_S.SETTLED, _T.ROLLBACK): _S.PLACED,
    (_S.VOID, _T.ROLLBACK): _S.PLACED,
}


def step_bet(status: BetStatus, step: BetStep) -> BetStatus:
    """Return the status after `step`.

    Raises:
        Fault: the lifecycle has no such step from here.
    """
    after = BET_LIFECYCLE.get((status, step))
    if after is None:
        raise Fault(f"a bet that is {status.value} can't {step.value}")
    return after


class Accept(StrEnum):
    """Which other price than the one he saw the bettor takes."""

    NONE = "none"
    BETTER = "better"
    ANY = "any"


@value(frozen=True, slots=True, kw_only=True)
class PlaceBet:
    """A bettor's request. `bet_id` names the bet if it is accepted; `idempotency_key` is the client's."""

    bet_id: BetId
    player_id: PlayerId
    market_id: MarketId
    selection_id: SelectionId
    odds_milli: int
    odds_version: int
    stake_minor: int
    idempotency_key: str | None = None
    accept: Accept = Accept.NONE
    valid_until: datetime | None = None


@value(frozen=True, slots=True, kw_only=True)
class Bet:
    """An accepted bet. `settlement_id` names the settlement that decided it, None while it is open.

    What is `requested` is what the bettor asked for: with it and the rest a retry under the same key can be told
    from another request. `requested_accept` is None where it is not on record, nor how long the request was valid.
    """

    bet_id: BetId
    player_id: PlayerId
    event_id: EventId
    market_id: MarketId
    selection_id: SelectionId
    odds_milli: int
    odds_version: int
    stake_minor: int
    currency: str
    status: BetStatus
    placed_at: datetime
    idempotency_key: str | None
    requested_odds_milli: int
    requested_odds_version: int
    requested_accept: Accept | None = None
    requested_valid_until: datetime | None = None
    result: BetResult | None = None
    payout_minor: int | None = None
    settled_at: datetime | None = None
    settlement_id: int | None = None

    @property
    def potential_payout_minor(self) -> int:
        """What the bet pays if it wins, stake included."""
        return payout_minor(self.stake_minor, self.odds_milli)

    @property
    def liability_minor(self) -> int:
        """What the book loses if it wins."""
        return self.potential_payout_minor - self.stake_minor

    def answers(self, request: PlaceBet) -> bool:
        """Tell whether `request` asks for just this bet, so that it is a retry and no second bet."""
        return (
            self.player_id == request.player_id
            and self.market_id == request.market_id
            and self.selection_id == request.selection_id
            and self.requested_odds_milli == request.odds_milli
            and self.requested_odds_version == request.odds_version
            and self.stake_minor == request.stake_minor
            and (
                self.requested_accept is None
                or (self.requested_accept, self.requested_valid_until) == (request.accept, request.valid_until)
            )
        )
