"""Whether a bet is taken: one pure function for every architecture.

Invariant: checks run in the published order of `Code`, so that the first that applies is the answer.
"""

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from touchline.core.account import Account
from touchline.core.bet import Accept, Bet, BetStatus, PlaceBet
from touchline.core.errors import Code, Rejection
from touchline.core.ledger import STAKES, Cause, Posting, TransferKind
from touchline.core.limits import LimitKind, Spent, breach
from touchline.core.market import Market, MarketStatus, Selection, SelectionStatus
from touchline.core.money import format_minor, payout_minor
from touchline.core.odds import is_backable
from touchline.core.price import format_odds
from touchline.core.values import value

BET_LIMITS = frozenset({LimitKind.STAKE, LimitKind.LOSS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The book's own bounds, in minor units. `exposure_max_minor` bounds what one selection may cost it.

    `odds_tolerance_pct` is how far a price may have moved, in percent of the one asked for, so that a bet on a
    version that has passed is honoured; 0 honours none.
    """

    stake_min_minor: int
    stake_max_minor: int
    exposure_max_minor: int
    odds_tolerance_pct: Fraction = Fraction(0)


@value(frozen=True, slots=True, kw_only=True)
class Position:
    """All that a decision depends on, looked up at one instant.

    `exposure_minor` is the summed liability of the selection's open bets; `earlier` the bet on record under the
    request's idempotency key; `asked_milli` what the requested version, where it has passed, offered to be bet on.
    Only a tolerance asks for it. `barred` says that the player has placed too many bets of late.
    """

    account: Account
    market: Market | None
    rules: Rules
    now: datetime
    exposure_minor: int = 0
    spent: Spent = field(default_factory=dict)
    earlier: Bet | None = None
    asked_milli: int | None = None
    barred: Rejection | None = None


@value(frozen=True, slots=True)
class Offer:
    """Odds in thousandths, and the version of the market that offered them."""

    odds_milli: int
    odds_version: int


@value(frozen=True, slots=True)
class Acceptance:
    """The bet as it is taken and the posting of its stake; a retry has the first bet and no posting."""

    bet: Bet
    posting: Posting | None


def decide(request: PlaceBet, position: Position) -> Acceptance | Rejection:
    """Return the bet that `request` becomes at `position`, or the first refusal that applies."""
    if position.earlier is not None:
        if position.earlier.answers(request):
            return Acceptance(position.earlier, None)
        return position.barred or Rejection(Code.IDEMPOTENCY_CONFLICT, "the key was used for another bet")
    refusal = position.barred or _refuse_account(position)
    if refusal is not None:
        return refusal
    market = position.market
    if market is None:
        return Rejection(Code.MARKET_NOT_FOUND, f"no market {request.market_id}")
    selection = market.selection(request.selection_id)
    if selection is None or selection.status is SelectionStatus.REMOVED:
        return Rejection(Code.SELECTION_NOT_FOUND, f"no selection {request.selection_id} to back")
    refusal = _refuse_market(request, market, selection, position.now)
    if refusal is not None:
        return refusal
    offer = choose_offer(request, Offer(selection.odds_milli or 0, market.odds_version), position)
    if offer is None:
        return Rejection(
            Code.ODDS_CHANGED,
            "the odds have changed since you saw them",
            current_odds=format_odds(selection.odds_milli or 0),
            current_odds_version=market.odds_version,
        )
    return _refuse_money(request, offer, position) or _accept(request, market, offer, position)


def choose_offer(request: PlaceBet, current: Offer, position: Position) -> Offer | None:
    """Return what the bet is taken at: of the offers open to him the one that pays more, None where none is.

    The current offer is open where the bettor takes it: it is the one he asked for, or `accept` lets him. The one
    he asked for is open as well while the price is within the tolerance of it, if it ever was offered.
    """
    if request.odds_version == current.odds_version and request.odds_milli == current.odds_milli:
        return current
    asked = Offer(request.odds_milli, request.odds_version)
    tolerance = position.rules.odds_tolerance_pct
    moved = current.odds_milli - asked.odds_milli
    near = tolerance > 0 and abs(moved) * 100 <= tolerance * asked.odds_milli
    better = moved >= 0 and request.accept is Accept.BETTER
    takes_current = better or request.accept is Accept.ANY or (near and moved == 0)
    honoured = near and position.asked_milli == asked.odds_milli
    if takes_current and (moved >= 0 or not honoured):
        return current
    return asked if honoured else None


def _refuse_account(position: Position) -> Rejection | None:
    account, now = position.account, position.now
    if account.is_excluded(now):
        return Rejection(
            Code.SELF_EXCLUDED,
            "you have excluded yourself from betting",
            until=account.excluded_until,
        )
    if account.is_locked(now):
        return Rejection(Code.ACCOUNT_LOCKED, "the account is locked for a while", until=account.locked_until)
    return None


def _refuse_market(request: PlaceBet, market: Market, selection: Selection, now: datetime) -> Rejection | None:
    if market.status not in (MarketStatus.ACTIVE, MarketStatus.SUSPENDED):
        return Rejection(Code.MARKET_CLOSED, f"market is {market.status.value}")
    if market.status is MarketStatus.SUSPENDED or not is_backable(market, selection):
        return Rejection(Code.MARKET_SUSPENDED, "betting is suspended; try again when prices are back")
    if request.valid_until is not None and now > request.valid_until:
        return Rejection(Code.BET_EXPIRED, "the bet came after its valid_until")
    return None


def _refuse_money(request: PlaceBet, offer: Offer, position: Position) -> Rejection | None:
    account, rules, stake = position.account, position.rules, request.stake_minor
    currency = account.currency
    if not rules.stake_min_minor <= stake <= rules.stake_max_minor:
        return Rejection(
            Code.STAKE_OUT_OF_RANGE,
            "the stake is outside what this market takes",
            min=format_minor(rules.stake_min_minor, currency),
            max=format_minor(rules.stake_max_minor, currency),
        )
    broken = breach(account.limits, position.spent, BET_LIMITS, stake, position.now)
    if broken is not None:
        return Rejection(
            Code.LIMIT_EXCEEDED,
            f"the stake would break your {broken.kind.value} limit of the {broken.period.value}",
            limit=broken.kind.value,
            period=broken.period.value,
            left=format_minor(broken.left_minor, currency),
        )
    liability = payout_minor(stake, offer.odds_milli) - stake
    if position.exposure_minor + liability > rules.exposure_max_minor:
        return Rejection(Code.EXPOSURE_EXCEEDED, "the book takes no more on this selection")
    if stake > account.wallet.balance_minor:
        return Rejection(Code.INSUFFICIENT_BALANCE, "the stake is more than your balance")
    return None


def _accept(request: PlaceBet, market: Market, offer: Offer, position: Position) -> Acceptance:
    account, now = position.account, position.now
    bet = Bet(
        bet_id=request.bet_id,
        player_id=request.player_id,
        event_id=market.event_id,
        market_id=market.market_id,
        selection_id=request.selection_id,
        odds_milli=offer.odds_milli,
        odds_version=offer.odds_version,
        stake_minor=request.stake_minor,
        currency=account.currency,
        status=BetStatus.PLACED,
        placed_at=now,
        idempotency_key=request.idempotency_key,
        requested_odds_milli=request.odds_milli,
        requested_odds_version=request.odds_version,
        requested_accept=request.accept,
        requested_valid_until=request.valid_until,
    )
    cause = Cause(str(bet.bet_id), bet.player_id, bet.currency, now, bet_id=bet.bet_id)
    posting = Posting(cause, account.wallet)
    posting.take(TransferKind.STAKE, STAKES, bet.stake_minor)
    return Acceptance(bet, posting)
