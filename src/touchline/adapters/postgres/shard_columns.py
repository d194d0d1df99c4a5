"""What a shard's writer records, column by column, as statements that write many rows take it.

Texts of one column can come joined in one: a driver takes ten times as long over an array of them. So no text that
is recorded may hold the separators, which are no characters of any id or key.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from touchline.adapters.postgres.shard_settling import Work
from touchline.core.batch import Batch, ExposureMoved, Place, WalletMoved
from touchline.core.bet import Bet
from touchline.core.errors import Fault
from touchline.core.facts import (
    AccountOpened,
    BetAccepted,
    BetDecided,
    Body,
    CarriedOver,
    FactKind,
    MarketDecided,
    id_of,
    kind_of,
)
from touchline.core.funds import FundsMoved
from touchline.core.ledger import BOOKS_OWN, Posting
from touchline.core.settlement import BetMove
from touchline.wire.facts_v1 import body_to_wire

Columns = tuple[Any, ...]

SEPARATOR: Final = "\x1f"
NOTHING: Final = "\x1e"


def of_batch(batch: Batch) -> Columns:
    """Return all that a batch records: facts, what they change, bets, movements, and the bound of exposures.

    A column is None where another is the same: the ids of facts, where all are of bets, or what was asked for.
    """
    fact_ids, *facts, fact_bets, bodies = _joined_facts(batch.facts)
    *transfers, transfer_bets, transfer_players = joined_transfers(batch.postings)
    placed = _joined_bets(batch.bets)
    bet_ids, *bets, odds, versions, stakes, currencies, keys, asked, asked_at, accept, until = placed
    return (
        *(fact_ids, *facts, _unless(fact_bets, fact_ids), bodies),
        *(*transfers, _unless(transfer_bets, fact_ids), transfer_players),
        *_joined_wallets(batch.wallets),
        *of_exposures(batch.exposures),
        *(_unless(bet_ids, fact_ids), *bets, odds, versions, stakes, currencies, keys),
        *(_unless(asked, odds), _unless(asked_at, versions), accept, until),
        *of_moves(batch.moves),
        batch.rules.exposure_max_minor,
    )


def of_work(work: Work) -> Columns:
    """Return all that a settlement's work records: facts, what they change, and the bets."""
    return (
        *_joined_facts(work.facts),
        *joined_transfers(work.postings),
        *_joined_wallets(work.wallets),
        *of_exposures(work.exposures),
        *of_decided(work.moves),
    )


def _unless(column: list[Any], other: list[Any]) -> list[Any] | None:
    """Return a column, unless `other` is the same: to compare them costs less than to encode one again."""
    return None if column == other else column


def joined(texts: list[str]) -> str:
    """Return texts as one.

    Raises:
        Fault: one of them holds a separator.
    """
    text = SEPARATOR.join(texts)
    if texts and (text.count(SEPARATOR) != len(texts) - 1 or NOTHING in text or "" in texts):
        raise Fault("a text that is to be recorded is empty, or holds a separator")
    return text


def joined_or_none(texts: list[str | None]) -> str:
    """Return texts, of which some are None, as one.

    Raises:
        Fault: one of them holds a separator.
    """
    text = SEPARATOR.join([NOTHING if text is None else text for text in texts])
    wrong = text.count(SEPARATOR) != len(texts) - 1 or text.count(NOTHING) != texts.count(None) or "" in texts
    if texts and wrong:
        raise Fault("a text that is to be recorded is empty, or holds a separator")
    return text


def _joined_facts(facts: Sequence[Body]) -> Columns:
    about = [_ABOUT[type(fact)](fact) for fact in facts]
    return (
        [id_of(fact) for fact in facts],
        joined([kind for kind, _, _, _ in about]),
        joined_or_none([player_id for _, player_id, _, _ in about]),
        joined_or_none([event_id for _, _, event_id, _ in about]),
        [bet_id for _, _, _, bet_id in about],
        joined([body_to_wire(fact).decode() for fact in facts]),
    )


def _joined_bets(bets: Sequence[Bet]) -> Columns:
    return (
        [bet.bet_id for bet in bets],
        joined([bet.player_id for bet in bets]),
        joined([bet.event_id for bet in bets]),
        joined([bet.market_id for bet in bets]),
        joined([bet.selection_id for bet in bets]),
        [bet.odds_milli for bet in bets],
        [bet.odds_version for bet in bets],
        [bet.stake_minor for bet in bets],
        joined([bet.currency for bet in bets]),
        joined_or_none([bet.idempotency_key for bet in bets]),
        [bet.requested_odds_milli for bet in bets],
        [bet.requested_odds_version for bet in bets],
        joined_or_none([bet.requested_accept for bet in bets]),
        [bet.requested_valid_until for bet in bets],
    )


def joined_transfers(postings: Sequence[Posting]) -> Columns:
    """Return the transfers of postings, all but the instant."""
    pairs = [(transfer, posting.cause.player_id) for posting in postings for transfer in posting.transfers]
    return (
        [transfer.transfer_id for transfer, _ in pairs],
        joined([transfer.kind for transfer, _ in pairs]),
        joined([transfer.debit for transfer, _ in pairs]),
        joined([transfer.credit for transfer, _ in pairs]),
        [transfer.amount_minor for transfer, _ in pairs],
        joined([transfer.currency for transfer, _ in pairs]),
        [transfer.bet_id for transfer, _ in pairs],
        joined_or_none(
            [
                None if transfer.debit in BOOKS_OWN and transfer.credit in BOOKS_OWN else player_id
                for transfer, player_id in pairs
            ]
        ),
    )


def _joined_wallets(wallets: Mapping[Any, WalletMoved]) -> Columns:
    players, *numbers = of_wallets(wallets)
    return joined(players), *numbers


def of_facts(facts: Sequence[Body]) -> Columns:
    """Return ids, kinds, players, events, bets and bodies."""
    about = [_ABOUT[type(fact)](fact) for fact in facts]
    return (
        [id_of(fact) for fact in facts],
        [kind_of(fact).value for fact in facts],
        [player_id for _, player_id, _, _ in about],
        [event_id for _, _, event_id, _ in about],
        [bet_id for _, _, _, bet_id in about],
        [body_to_wire(fact) for fact in facts],
    )


# Of each kind of fact its name, and whom, which event and which bet it is about.
_ABOUT: Final[dict[type, Any]] = {
    AccountOpened: lambda fact: (FactKind.ACCOUNT_OPENED, fact.player_id, None, None),
    FundsMoved: lambda fact: (FactKind.FUNDS_MOVED, fact.player_id, None, None),
    BetAccepted: lambda fact: (FactKind.BET_ACCEPTED, fact.bet.player_id, fact.bet.event_id, fact.bet.bet_id),
    BetDecided: lambda fact: (FactKind.BET_DECIDED, fact.player_id, fact.event_id, fact.bet_id),
    MarketDecided: lambda fact: (FactKind.MARKET_DECIDED, None, fact.event_id, None),
    CarriedOver: lambda fact: (
        FactKind.CARRIED_OVER,
        fact.player_id,
        fact.bet and fact.bet.event_id,
        fact.bet and fact.bet.bet_id,
    ),
}


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


def of_decided(moves: Sequence[BetMove]) -> Columns:
    """Return the instant and the settlement, which are the same for all, and bets as they are left."""
    return (
        moves[0].settled_at,
        moves[0].settlement_id,
        [move.before.bet_id for move in moves],
        joined([move.status for move in moves]),
        joined_or_none([move.result for move in moves]),
        [move.payout_minor for move in moves],
    )
