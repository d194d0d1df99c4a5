"""What a shard's writer records, column by column, as the statements that insert many rows take it."""

from collections.abc import Mapping, Sequence
from typing import Any

from touchline.adapters.postgres.rows import transfer_columns
from touchline.core.batch import ExposureMoved, Place, WalletMoved
from touchline.core.bet import Bet
from touchline.core.facts import AccountOpened, BetAccepted, BetDecided, Body, MarketDecided, id_of, kind_of
from touchline.core.funds import FundsMoved
from touchline.core.ledger import Posting
from touchline.core.settlement import BetMove
from touchline.wire.facts_v1 import body_to_wire

Columns = tuple[list[Any], ...]


def of_facts(facts: Sequence[Body]) -> Columns:
    """Return ids, kinds, players, events, bets and bodies."""
    about = [_about(fact) for fact in facts]
    return (
        [id_of(fact) for fact in facts],
        [kind_of(fact).value for fact in facts],
        [player_id for player_id, _, _ in about],
        [event_id for _, event_id, _ in about],
        [bet_id for _, _, bet_id in about],
        [body_to_wire(fact) for fact in facts],
    )


def _about(fact: Body) -> tuple[Any, Any, Any]:
    """Return whom, which event and which bet a fact is about."""
    match fact:
        case BetAccepted():
            return fact.bet.player_id, fact.bet.event_id, fact.bet.bet_id
        case BetDecided():
            return fact.player_id, fact.event_id, fact.bet_id
        case FundsMoved() | AccountOpened():
            return fact.player_id, None, None
        case MarketDecided():
            return None, fact.event_id, None


def of_bets(bets: Sequence[Bet]) -> Columns:
    """Return accepted bets, all but the instant."""
    return (
        [bet.bet_id for bet in bets],
        [bet.player_id for bet in bets],
        [bet.event_id for bet in bets],
        [bet.market_id for bet in bets],
        [bet.selection_id for bet in bets],
        [bet.odds_milli for bet in bets],
        [bet.odds_version for bet in bets],
        [bet.stake_minor for bet in bets],
        [bet.currency for bet in bets],
        [bet.idempotency_key for bet in bets],
        [bet.requested_odds_milli for bet in bets],
        [bet.requested_odds_version for bet in bets],
        [bet.requested_accept and bet.requested_accept.value for bet in bets],
        [bet.requested_valid_until for bet in bets],
    )


def of_moves(moves: Sequence[FundsMoved]) -> Columns:
    """Return accepted deposits and withdrawals, all but the instant."""
    return (
        [moved.move_id for moved in moves],
        [moved.player_id for moved in moves],
        [moved.kind.value for moved in moves],
        [moved.amount_minor for moved in moves],
        [moved.currency for moved in moves],
        [moved.balance_minor for moved in moves],
        [moved.idempotency_key for moved in moves],
    )


def of_wallets(wallets: Mapping[Any, WalletMoved]) -> Columns:
    """Return players, balances, debts, versions as they are left, and versions as they were found."""
    moved = wallets.values()
    return (
        list(wallets),
        [wallet.wallet.balance_minor for wallet in moved],
        [wallet.wallet.debt_minor for wallet in moved],
        [wallet.version for wallet in moved],
        [wallet.found for wallet in moved],
    )


def of_transfers(postings: Sequence[Posting]) -> Columns:
    """Return the transfers of postings."""
    return transfer_columns(postings)


def of_exposures(exposures: Mapping[Place, ExposureMoved]) -> Columns:
    """Return by how much exposures moved, sorted, so that shards wait for one another in one order."""
    moved = sorted(exposures.items())
    return (
        [market_id for (market_id, _), _ in moved],
        [selection_id for (_, selection_id), _ in moved],
        [exposure.bets for _, exposure in moved],
        [exposure.stakes_minor for _, exposure in moved],
        [exposure.liability_minor for _, exposure in moved],
    )


def of_decided(moves: Sequence[BetMove]) -> tuple[Any, ...]:
    """Return the instant and the settlement, which are the same for all, and bets as they are left."""
    bets = [move.bet for move in moves]
    return (
        bets[0].settled_at,
        bets[0].settlement_id,
        [bet.bet_id for bet in bets],
        [bet.status.value for bet in bets],
        [bet.result and bet.result.value for bet in bets],
        [bet.payout_minor for bet in bets],
    )
