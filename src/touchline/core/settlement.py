"""What a result does to a bet and to the money: settle, void, and take either back.

Invariant: each step is decided from the bet as it stands, so that doing it again is refused by the bet's
lifecycle and no bet is paid twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Final, NamedTuple

from touchline.core.bet import Bet, BetResult, BetStatus, BetStep, step_bet
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.ids import MarketId, SelectionId
from touchline.core.ledger import HOUSE, STAKES, Cause, Posting, TransferKind, Wallet
from touchline.core.market import Market, MarketStatus, MarketStep, SelectionStatus, step_market
from touchline.core.money import payout_minor, round_half_up


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a selection.

    `void_factor` is the part of the stake that is given back, 0 to 1; `dead_heat_factor` the part of the odds
    that stands where winners tie, above 0 to 1. Both exact, as in the Unified Odds Feed.
    """

    result: BetResult
    void_factor: Fraction = Fraction(0)
    dead_heat_factor: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        if not 0 <= self.void_factor <= 1:
            raise Rejection(Code.MALFORMED, "void_factor must be from 0 to 1", field="void_factor")
        if not 0 < self.dead_heat_factor <= 1:
            raise Rejection(
                Code.MALFORMED, "dead_heat_factor must be above 0 and at most 1", field="dead_heat_factor"
            )


Results = Mapping[SelectionId, Outcome]
VOIDED: Final = Outcome(BetResult.VOID, void_factor=Fraction(1))


class SettlementKind(StrEnum):
    """What a settlement does to a market's bets."""

    SETTLE = "settle"
    VOID = "void"
    ROLLBACK_SETTLEMENT = "rollback_settlement"
    ROLLBACK_VOID = "rollback_void"


STEP_OF_KIND: Final = {
    SettlementKind.SETTLE: MarketStep.SETTLE,
    SettlementKind.VOID: MarketStep.VOID,
    SettlementKind.ROLLBACK_SETTLEMENT: MarketStep.ROLLBACK_SETTLEMENT,
    SettlementKind.ROLLBACK_VOID: MarketStep.ROLLBACK_VOID,
}
ROLLBACKS: Final = frozenset({SettlementKind.ROLLBACK_SETTLEMENT, SettlementKind.ROLLBACK_VOID})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One decision on a market, and how far it has been carried out.

    `undoes` names the settlement that a rollback takes back. `placed_from` and `placed_until` bound, half open,
    the bets that a windowed void touches; the market itself then stays as it is.
    """

    settlement_id: int
    market_id: MarketId
    kind: SettlementKind
    results: Results
    requested_at: datetime
    undoes: int | None = None
    placed_from: datetime | None = None
    placed_until: datetime | None = None
    bets_total: int = 0
    bets_done: int = 0
    finished_at: datetime | None = None

    @property
    def windowed(self) -> bool:
        """Tell whether only bets placed within a window are touched."""
        return self.placed_from is not None or self.placed_until is not None

    def spans(self, placed_at: datetime) -> bool:
        """Tell whether bets placed at `placed_at` are touched."""
        after = self.placed_from is None or placed_at >= self.placed_from
        return after and (self.placed_until is None or placed_at < self.placed_until)

    def has_to_work(self, bet: Bet) -> bool:
        """Tell whether `bet`, one of the market's, is still to be worked."""
        if self.kind in ROLLBACKS:
            return bet.settlement_id == self.undoes
        return bet.status is BetStatus.PLACED and self.spans(bet.placed_at)


class BetMove(NamedTuple):
    """A bet before a step, what the step makes of it, and the money that moves."""

    before: Bet
    posting: Posting
    status: BetStatus
    result: BetResult | None = None
    payout_minor: int | None = None
    settled_at: datetime | None = None
    settlement_id: int | None = None

    @property
    def bet(self) -> Bet:
        """The bet after the step, made when it is asked for: what records thousands of moves has no use for it."""
        return replace(
            self.before,
            status=self.status,
            result=self.result,
            payout_minor=self.payout_minor,
            settled_at=self.settled_at,
            settlement_id=self.settlement_id,
        )


def check_results(market: Market, results: Results) -> Results:
    """Return `results` with a void for each removed selection that they leave out.

    Raises:
        Rejection: SELECTION_NOT_FOUND: a result for a selection the market hasn't; MALFORMED: one is missing.
    """
    known = {selection.selection_id for selection in market.selections}
    strangers = sorted(set(results) - known)
    if strangers:
        raise Rejection(Code.SELECTION_NOT_FOUND, f"market has no selection {strangers[0]}")
    complete = dict(results)
    for selection in market.selections:
        if selection.selection_id not in complete:
            if selection.status is not SelectionStatus.REMOVED:
                raise Rejection(
                    Code.MALFORMED, f"results lack selection {selection.selection_id}", field="results"
                )
            complete[selection.selection_id] = VOIDED
    return complete


def settled_payout_minor(stake_minor: int, odds_milli: int, outcome: Outcome) -> int:
    """Return what a bet pays, in minor units, rounded once, half up.

    stake × (void_factor + (1 - void_factor) × result × odds × dead_heat_factor), the Unified Odds Feed's rule.
    """
    if outcome.result is BetResult.VOID:
        return stake_minor
    won = int(outcome.result is BetResult.WON)
    if not outcome.void_factor and outcome.dead_heat_factor == 1:  # nearly every bet, without a fraction
        return won * payout_minor(stake_minor, odds_milli)
    stands = (1 - outcome.void_factor) * won * Fraction(odds_milli, 1000) * outcome.dead_heat_factor
    return round_half_up(stake_minor * (outcome.void_factor + stands))


def carry_out(settlement: Settlement, bet: Bet, wallet: Wallet, at: datetime) -> BetMove:
    """Return what `settlement` does to one of the bets it touches.

    Raises:
        Fault: the bet is in no state that the settlement could meet it in.
    """
    cause = Cause(f"{bet.bet_id}/{settlement.settlement_id}", bet.player_id, bet.currency, at, bet_id=bet.bet_id)
    posting = Posting(cause, wallet)
    if settlement.kind in ROLLBACKS:
        return _roll_back(settlement, bet, posting)
    outcome = VOIDED
    if settlement.kind is SettlementKind.SETTLE:
        if bet.selection_id not in settlement.results:
            raise Fault(f"settlement {settlement.settlement_id} has no result for {bet.selection_id}")
        outcome = settlement.results[bet.selection_id]
    return _settle(settlement, bet, outcome, posting)


def _settle(settlement: Settlement, bet: Bet, outcome: Outcome, posting: Posting) -> BetMove:
    paid = settled_payout_minor(bet.stake_minor, bet.odds_milli, outcome)
    voids = outcome.result is BetResult.VOID or outcome.void_factor == 1
    return close_bet(bet, settlement.settlement_id, BetResult.VOID if voids else outcome.result, paid, posting)


def close_bet(bet: Bet, settlement_id: int, result: BetResult, payout: int, posting: Posting) -> BetMove:
    """Return an open bet as decided, `payout` in minor units, with the money that moves for it.

    Raises:
        Fault: it is not open.
    """
    if result is BetResult.VOID:
        status = step_bet(bet.status, BetStep.VOID)
        posting.give(TransferKind.REFUND, STAKES, bet.stake_minor)
    else:
        step = BetStep.WIN if result is BetResult.WON else BetStep.LOSE
        status = step_bet(step_bet(bet.status, step), BetStep.PAY)
        posting.move(TransferKind.STAKE_RELEASED, STAKES, HOUSE, bet.stake_minor)
        posting.give(TransferKind.PAYOUT, HOUSE, payout)
    return BetMove(bet, posting, status, result, payout, posting.cause.at, settlement_id)


def _roll_back(settlement: Settlement, bet: Bet, posting: Posting) -> BetMove:
    if bet.settlement_id != settlement.undoes:
        raise Fault(f"settlement {settlement.settlement_id} can't undo bet {bet.bet_id}")
    return reopen_bet(bet, posting)


def reopen_bet(bet: Bet, posting: Posting) -> BetMove:
    """Return a decided bet as open again, with the money that moves back.

    Raises:
        Fault: it is not decided.
    """
    if bet.payout_minor is None:
        raise Fault(f"bet {bet.bet_id} is not decided")
    if bet.status is BetStatus.VOID:
        posting.take(TransferKind.ROLLBACK, STAKES, bet.stake_minor, may_owe=True)
    else:
        posting.take(TransferKind.ROLLBACK, HOUSE, bet.payout_minor, may_owe=True)
        posting.move(TransferKind.ROLLBACK, HOUSE, STAKES, bet.stake_minor)
    return BetMove(bet, posting, step_bet(bet.status, BetStep.ROLLBACK))


@dataclass(frozen=True, slots=True)
class Plan:
    """A market after a decision, and the settlements to carry out, in order; their ids are 0 until recorded."""

    market: Market
    settlements: tuple[Settlement, ...]


def plan_settle(
    market: Market, standing: Sequence[Settlement], results: Results, at: datetime, *, corrects: bool
) -> Plan | None:
    """Return how to settle `market`, None where it is settled so already.

    Other results than the standing ones are a correction: the first settlement is rolled back, then the market
    settled anew, where `corrects`.

    Raises:
        Rejection: MARKET_CLOSED: the market is void, or settled otherwise and not `corrects`; MALFORMED or
            SELECTION_NOT_FOUND: see `check_results`.
    """
    complete = check_results(market, results)
    if market.status is MarketStatus.SETTLED:
        settled = _newest(standing, SettlementKind.SETTLE)
        if settled.results == complete:
            return None
        if not corrects:
            raise Rejection(
                Code.MARKET_CLOSED, "market is settled with other results: roll it back first", status="settled"
            )
        # The market itself stays settled, and so does its version.
        anew = _draft(market, SettlementKind.SETTLE, at, results=complete)
        return Plan(market, (*_take_back_settling(market, standing, at), anew))
    market = step_market(market, MarketStep.SETTLE, at)
    return Plan(market, (_draft(market, SettlementKind.SETTLE, at, results=complete),))


def plan_void(
    market: Market,
    standing: Sequence[Settlement],
    at: datetime,
    window: tuple[datetime | None, datetime | None] = (None, None),
) -> Plan | None:
    """Return how to void `market`, or only its bets placed within `window` (half open); None where it is void.

    A settlement that stands is rolled back first. A window leaves the market's status as it is; it can't be
    applied to a market that is settled already.

    Raises:
        Rejection: MARKET_CLOSED: a window on a settled market.
    """
    if market.status is MarketStatus.VOID:
        return None
    draft = _draft(market, SettlementKind.VOID, at, window=window)
    if draft.windowed:
        if market.status is MarketStatus.SETTLED:
            raise Rejection(Code.MARKET_CLOSED, "market is settled: roll it back first", status="settled")
        return Plan(market, (draft,))
    first = _take_back_settling(market, standing, at) if market.status is MarketStatus.SETTLED else ()
    open_again = replace(market, status=MarketStatus.SUSPENDED) if first else market
    return Plan(step_market(open_again, MarketStep.VOID, at), (*first, draft))


def plan_rollback(market: Market, standing: Sequence[Settlement], kind: SettlementKind, at: datetime) -> Plan:
    """Return how to take back the newest standing settlement or void of `market`.

    Raises:
        Rejection: MARKET_CLOSED: there is none.
    """
    undone = SettlementKind.VOID if kind is SettlementKind.ROLLBACK_VOID else SettlementKind.SETTLE
    newest = next((settlement for settlement in standing if settlement.kind is undone), None)
    if newest is None:
        raise Rejection(
            Code.MARKET_CLOSED, f"market has no {undone.value} to roll back", status=market.status.value
        )
    if undone is SettlementKind.SETTLE:
        return Plan(step_market(market, STEP_OF_KIND[kind], at), _take_back_settling(market, standing, at))
    rollback = _draft(market, kind, at, undoes=newest.settlement_id)
    if not newest.windowed:
        return Plan(step_market(market, STEP_OF_KIND[kind], at), (rollback,))
    if market.status is not MarketStatus.SETTLED:
        return Plan(market, (rollback,))
    # The bets that it gives back stand on a settled market: they get the result that the others got.
    settled = _newest(standing, SettlementKind.SETTLE)
    return Plan(market, (rollback, _draft(market, SettlementKind.SETTLE, at, results=settled.results)))


def _take_back_settling(market: Market, standing: Sequence[Settlement], at: datetime) -> tuple[Settlement, ...]:
    """Return the rollbacks of all that settled the market; more than one where a windowed void was taken back."""
    return tuple(
        _draft(market, SettlementKind.ROLLBACK_SETTLEMENT, at, undoes=settlement.settlement_id)
        for settlement in standing
        if settlement.kind is SettlementKind.SETTLE
    )


def _newest(standing: Sequence[Settlement], kind: SettlementKind) -> Settlement:
    found = next((settlement for settlement in standing if settlement.kind is kind), None)
    if found is None:
        raise Fault(f"a market stands as decided without a {kind.value} on record")
    return found


def _draft(
    market: Market,
    kind: SettlementKind,
    at: datetime,
    *,
    results: Results | None = None,
    undoes: int | None = None,
    window: tuple[datetime | None, datetime | None] = (None, None),
) -> Settlement:
    return Settlement(
        settlement_id=0,
        market_id=market.market_id,
        kind=kind,
        results=results or {},
        requested_at=at,
        undoes=undoes,
        placed_from=window[0],
        placed_until=window[1],
    )
