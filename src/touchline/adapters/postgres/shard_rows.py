"""What a shard's writer records, row by row, as COPY takes it: the cheapest way in, for the server and for us."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from touchline.core.bet import Bet
from touchline.core.facts import AccountOpened, BetAccepted, BetDecided, Body, FactKind, MarketDecided, id_of
from touchline.core.funds import FundsMoved
from touchline.core.ledger import BOOKS_OWN, Posting
from touchline.wire.facts_v1 import body_to_wire

Row = tuple[Any, ...]

FACTS: Final = (
    "shard",
    "seq",
    "epoch",
    "recorded_at",
    "fact_id",
    "kind",
    "player_id",
    "event_id",
    "bet_id",
    "body",
)
BETS: Final = (
    "bet_id",
    "user_id",
    "event_id",
    "market_id",
    "selection_id",
    "odds_milli",
    "odds_version",
    "stake_minor",
    "currency",
    "idempotency_key",
    "created_at",
    "requested_odds_milli",
    "requested_odds_version",
    "requested_accept",
    "requested_valid_until",
)
TRANSFERS: Final = (
    "transfer_id",
    "kind",
    "debit_account",
    "credit_account",
    "amount_minor",
    "currency",
    "bet_id",
    "user_id",
    "recorded_at",
)


def of_facts(facts: Sequence[Body], shard: int, first_seq: int, epoch: int, at: datetime) -> Iterator[Row]:
    """Yield facts in their places."""
    for seq, fact in enumerate(facts, start=first_seq):
        yield (shard, seq, epoch, at, id_of(fact), *_ABOUT[type(fact)](fact), body_to_wire(fact))


# Of each kind its name, and whom, which event and which bet it is about.
_ABOUT: Final[dict[type, Callable[[Any], Row]]] = {
    AccountOpened: lambda fact: (FactKind.ACCOUNT_OPENED, fact.player_id, None, None),
    FundsMoved: lambda fact: (FactKind.FUNDS_MOVED, fact.player_id, None, None),
    BetAccepted: lambda fact: (FactKind.BET_ACCEPTED, fact.bet.player_id, fact.bet.event_id, fact.bet.bet_id),
    BetDecided: lambda fact: (FactKind.BET_DECIDED, fact.player_id, fact.event_id, fact.bet_id),
    MarketDecided: lambda fact: (FactKind.MARKET_DECIDED, None, fact.event_id, None),
}


def of_bets(bets: Sequence[Bet]) -> Iterator[Row]:
    """Yield accepted bets."""
    for bet in bets:
        yield (
            bet.bet_id,
            bet.player_id,
            bet.event_id,
            bet.market_id,
            bet.selection_id,
            bet.odds_milli,
            bet.odds_version,
            bet.stake_minor,
            bet.currency,
            bet.idempotency_key,
            bet.placed_at,
            bet.requested_odds_milli,
            bet.requested_odds_version,
            bet.requested_accept,
            bet.requested_valid_until,
        )


def of_transfers(postings: Sequence[Posting]) -> Iterator[Row]:
    """Yield the transfers of postings; those between the book's own accounts are nobody's."""
    for posting in postings:
        player_id = posting.cause.player_id
        for transfer in posting.transfers:
            yield (
                transfer.transfer_id,
                transfer.kind,
                transfer.debit,
                transfer.credit,
                transfer.amount_minor,
                transfer.currency,
                transfer.bet_id,
                None if transfer.debit in BOOKS_OWN and transfer.credit in BOOKS_OWN else player_id,
                transfer.recorded_at,
            )
