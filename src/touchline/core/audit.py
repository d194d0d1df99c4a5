"""What a decided bet must look like, worked out anew from the settlement that decided it."""

from touchline.core.bet import Bet, BetResult, BetStatus
from touchline.core.settlement import ROLLBACKS, VOIDED, Settlement, SettlementKind, settled_payout_minor


def judge(bet: Bet, settlement: Settlement | None, *, taken_back: bool) -> str | None:
    """Return in words what is wrong with a bet that is no longer open, or None.

    `taken_back` tells that a rollback of `settlement` is carried out already.
    """
    if settlement is None or settlement.kind in ROLLBACKS:
        return f"{bet.status.value} by no settlement"
    number = settlement.settlement_id
    if settlement.market_id != bet.market_id or not settlement.spans(bet.placed_at):
        return f"{bet.status.value} by settlement {number}, which does not touch it"
    if taken_back:
        return f"still {bet.status.value} though settlement {number} was rolled back"
    outcome = VOIDED
    if settlement.kind is SettlementKind.SETTLE:
        found = settlement.results.get(bet.selection_id)
        if found is None:
            return f"settlement {number} has no result for {bet.selection_id}"
        outcome = found
    paid = settled_payout_minor(bet.stake_minor, bet.odds_milli, outcome)
    voids = outcome.result is BetResult.VOID or outcome.void_factor == 1
    status = BetStatus.VOID if voids else BetStatus.SETTLED
    result = BetResult.VOID if voids else outcome.result
    if (bet.payout_minor, bet.status, bet.result) == (paid, status, result):
        return None
    stands = f"{bet.status.value} {bet.result and bet.result.value} {bet.payout_minor}"
    return f"{stands}, but settlement {number} says {status.value} {result.value} {paid}"
