"""Rows to the core's terms and back."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from touchline.core.account import Account
from touchline.core.bet import Accept, Bet, BetResult, BetStatus
from touchline.core.event import Event, EventStatus
from touchline.core.facts import Fact
from touchline.core.funds import FundsMoved
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId, TransferId
from touchline.core.ledger import BOOKS_OWN, Posting, Transfer, TransferKind, Wallet
from touchline.core.limits import Limit, LimitKind, Limits, Period
from touchline.core.market import Market, MarketStatus, Selection
from touchline.core.settlement import Settlement, SettlementKind
from touchline.wire.facts_v1 import body_from_wire
from touchline.wire.feed_v1 import OutcomeV1, outcome_from_wire, outcome_to_wire
from touchline.wire.odds_v1 import SelectionV1, selections_from_wire, selections_to_wire

SELECTIONS_KEPT_MAX: Final = 4_096  # read once for the many bets on one version

_selections = msgspec.json.Decoder(list[SelectionV1])
_limits = msgspec.json.Decoder(dict[LimitKind, dict[Period, Limit]])
_results = msgspec.json.Decoder(dict[str, OutcomeV1])
_encode = msgspec.json.Encoder().encode


def market_of(row: Any, status: str = "status") -> Market:
    """Return the market of an odds row; `status` names the column of its status."""
    return Market(
        market_id=MarketId(row["market_id"]),
        event_id=EventId(row["event_id"]),
        name=row["name"],
        market_type=row["market_type"],
        status=MarketStatus(row[status]),
        odds_version=row["odds_version"],
        selections=selections_of(row["selections"]),
        bet_delay_ms=row["bet_delay_ms"],
        priced_at=row["priced_at"],
        updated_at=row["updated_at"],
    )


@lru_cache(SELECTIONS_KEPT_MAX)
def selections_of(text: str) -> tuple[Selection, ...]:
    """Return the selections of a jsonb column."""
    return selections_from_wire(_selections.decode(text))


def selections_text(market: Market) -> str:
    """Return a market's selections as its row holds them."""
    return _encode(selections_to_wire(market.selections)).decode()


def event_of(row: Any) -> Event:
    """Return the event of a row."""
    return Event(
        event_id=EventId(row["event_id"]),
        name=row["name"],
        sport=row["sport"],
        competition=row["competition"],
        status=EventStatus(row["status"]),
        start_time=row["start_time"],
        score=row["score"],
        clock=row["clock"],
    )


def bet_of(row: Any) -> Bet:
    """Return the bet of a row."""
    return Bet(
        bet_id=BetId(row["bet_id"]),
        player_id=PlayerId(row["user_id"]),
        event_id=EventId(row["event_id"]),
        market_id=MarketId(row["market_id"]),
        selection_id=SelectionId(row["selection_id"]),
        odds_milli=row["odds_milli"],
        odds_version=row["odds_version"],
        stake_minor=row["stake_minor"],
        currency=row["currency"],
        status=BetStatus(row["status"]),
        placed_at=row["created_at"],
        idempotency_key=row["idempotency_key"],
        requested_odds_milli=row["requested_odds_milli"],
        requested_odds_version=row["requested_odds_version"],
        requested_accept=None if row["requested_accept"] is None else Accept(row["requested_accept"]),
        requested_valid_until=row["requested_valid_until"],
        result=None if row["result"] is None else BetResult(row["result"]),
        payout_minor=row["payout_minor"],
        settled_at=row["settled_at"],
        settlement_id=row["settlement_id"],
    )


def account_of(row: Any) -> Account:
    """Return the account of a row that joins player and wallet."""
    return Account(
        player_id=PlayerId(row["user_id"]),
        currency=row["currency"],
        wallet=wallet_of(row),
        locked_until=row["locked_until"],
        excluded_until=row["excluded_until"],
        limits=limits_of(row["limits"]),
    )


def wallet_of(row: Any) -> Wallet:
    """Return the wallet of a row."""
    return Wallet(row["balance_minor"], row["debt_minor"])


def limits_of(text: str) -> Limits:
    """Return the limits of a jsonb column."""
    if text == "{}":
        return {}
    by_kind = _limits.decode(text)
    return {(kind, period): limit for kind, periods in by_kind.items() for period, limit in periods.items()}


def limits_text(limits: Limits) -> str:
    """Return limits as their column holds them."""
    by_kind: dict[LimitKind, dict[Period, Limit]] = {}
    for (kind, period), limit in limits.items():
        by_kind.setdefault(kind, {})[period] = limit
    return _encode(by_kind).decode()


def settlement_of(row: Any) -> Settlement:
    """Return the settlement of a row."""
    results = _results.decode(row["results"])
    return Settlement(
        settlement_id=row["settlement_id"],
        market_id=MarketId(row["market_id"]),
        kind=SettlementKind(row["kind"]),
        results={SelectionId(key): outcome_from_wire(outcome) for key, outcome in results.items()},
        requested_at=row["requested_at"],
        undoes=row["undoes"],
        placed_from=row["placed_from"],
        placed_until=row["placed_until"],
        bets_total=row["bets_total"] or 0,
        bets_done=row["bets_done"],
        finished_at=row["finished_at"],
    )


def results_text(settlement: Settlement) -> str:
    """Return a settlement's results as their column holds them."""
    return _encode({key: outcome_to_wire(outcome) for key, outcome in settlement.results.items()}).decode()


def transfer_of(row: Any) -> Transfer:
    """Return the transfer of a row."""
    return Transfer(
        transfer_id=TransferId(row["transfer_id"]),
        kind=TransferKind(row["kind"]),
        debit=row["debit_account"],
        credit=row["credit_account"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        bet_id=None if row["bet_id"] is None else BetId(row["bet_id"]),
        recorded_at=row["recorded_at"],
    )


def moved_of(row: Any) -> FundsMoved:
    """Return the deposit or withdrawal of a row."""
    return FundsMoved(
        move_id=row["move_id"],
        player_id=PlayerId(row["user_id"]),
        kind=TransferKind(row["kind"]),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        balance_minor=row["balance_minor"],
        idempotency_key=row["idempotency_key"],
        recorded_at=row["recorded_at"],
    )


def fact_of(row: Any) -> Fact:
    """Return the fact of a row."""
    return Fact(
        shard=row["shard"],
        seq=row["seq"],
        epoch=row["epoch"],
        fact_id=row["fact_id"],
        recorded_at=row["recorded_at"],
        body=body_from_wire(row["kind"], row["body"]),
    )


def transfer_columns(postings: Sequence[Posting]) -> tuple[list[object], ...]:
    """Return the transfers of postings column by column, as the statements that insert them take them."""
    transfers = [transfer for posting in postings for transfer in posting.transfers]
    return (
        [transfer.transfer_id for transfer in transfers],
        [transfer.kind.value for transfer in transfers],
        [transfer.debit for transfer in transfers],
        [transfer.credit for transfer in transfers],
        [transfer.amount_minor for transfer in transfers],
        [transfer.currency for transfer in transfers],
        [transfer.bet_id for transfer in transfers],
        [owner for posting in postings for owner in _owners(posting)],
        [transfer.recorded_at for transfer in transfers],
    )


def _owners(posting: Posting) -> list[PlayerId | None]:
    """Return for each transfer the player on whose account it moves, None for those between the book's own."""
    return [
        None if transfer.debit in BOOKS_OWN and transfer.credit in BOOKS_OWN else posting.cause.player_id
        for transfer in posting.transfers
    ]
