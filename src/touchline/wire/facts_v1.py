"""Facts as they are kept and told: a body is JSON that names its version, one struct for each kind.

Invariant: what was written can be read for ever, so that a struct here is never changed; a fact that has to hold
more gets a new version beside it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from touchline.core.bet import Accept, Bet, BetResult, BetStatus
from touchline.core.errors import Fault, Rejection
from touchline.core.facts import (
    AccountOpened,
    BetAccepted,
    BetDecided,
    Body,
    CarriedOver,
    Fact,
    FactKind,
    FoldedWallet,
    MarketDecided,
    kind_of,
)
from touchline.core.funds import FundsMoved
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId, TransferId
from touchline.core.ledger import Transfer, TransferKind, Wallet
from touchline.core.settlement import Settlement, SettlementKind
from touchline.wire.feed_v1 import OutcomeV1, outcome_from_wire, outcome_to_wire

VERSION: Final = 1


class _Body(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    v: Literal[1]


class AccountOpenedV1(_Body, frozen=True, kw_only=True):
    """See `core.facts.AccountOpened`."""

    player_id: PlayerId
    currency: str
    opened_at: datetime


class FundsMovedV1(_Body, frozen=True, kw_only=True):
    """See `core.funds.FundsMoved`; amounts in minor units."""

    move_id: UUID
    player_id: PlayerId
    kind: TransferKind
    amount_minor: int
    currency: str
    balance_minor: int
    idempotency_key: str
    recorded_at: datetime


class BetAcceptedV1(_Body, frozen=True, kw_only=True):
    """See `core.bet.Bet`; amounts in minor units, odds in thousandths. What is left out is as it is by default."""

    bet_id: UUID
    player_id: PlayerId
    event_id: EventId
    market_id: MarketId
    selection_id: SelectionId
    odds_milli: int
    odds_version: int
    stake_minor: int
    currency: str
    placed_at: datetime
    requested_odds_milli: int
    requested_odds_version: int
    idempotency_key: str | None = None
    requested_accept: Accept | None = None
    requested_valid_until: datetime | None = None
    status: BetStatus = BetStatus.PLACED
    result: BetResult | None = None
    payout_minor: int | None = None
    settled_at: datetime | None = None
    settlement_id: int | None = None


class BetDecidedV1(_Body, frozen=True, kw_only=True):
    """See `core.facts.BetDecided`; amounts in minor units."""

    bet_id: UUID
    player_id: PlayerId
    event_id: EventId
    settlement_id: int
    kind: SettlementKind
    status: BetStatus
    decided_at: datetime
    result: BetResult | None = None
    payout_minor: int | None = None


class MarketDecidedV1(_Body, frozen=True, kw_only=True):
    """See `core.facts.MarketDecided`; a settlement with its results by selection, factors as exact fractions."""

    event_id: EventId
    settlement_id: int
    market_id: MarketId
    kind: SettlementKind
    results: dict[str, OutcomeV1]
    requested_at: datetime
    undoes: int | None = None
    placed_from: datetime | None = None
    placed_until: datetime | None = None
    bets_total: int = 0
    bets_done: int = 0
    finished_at: datetime | None = None


class WalletV1(msgspec.Struct, frozen=True):
    """See `core.facts.FoldedWallet`; amounts in minor units."""

    balance_minor: int
    debt_minor: int
    currency: str
    version: int


class TransferV1(msgspec.Struct, frozen=True, omit_defaults=True):
    """See `core.ledger.Transfer`; the amount in minor units."""

    transfer_id: UUID
    kind: TransferKind
    debit: str
    credit: str
    amount_minor: int
    currency: str
    recorded_at: datetime
    bet_id: UUID | None = None


class CarriedOverV1(_Body, frozen=True, kw_only=True):
    """See `core.facts.CarriedOver`."""

    player_id: PlayerId
    part: int
    wallet: WalletV1 | None = None
    bet: BetAcceptedV1 | None = None
    moves: tuple[FundsMovedV1, ...] = ()
    transfers: tuple[TransferV1, ...] = ()


class FactV1(msgspec.Struct, frozen=True):
    """A fact outside the database, whole; its body is as it is kept there."""

    shard: int
    seq: int
    epoch: int
    fact_id: UUID
    kind: FactKind
    recorded_at: datetime
    body: msgspec.Raw


class _Form(NamedTuple):
    body: type[Any]
    struct: type[Any]
    to_wire: Callable[[Any], _Body]
    from_wire: Callable[[Any], Body]


def _bet_to_wire(accepted: BetAccepted) -> BetAcceptedV1:
    bet = accepted.bet
    return BetAcceptedV1(
        v=1,
        bet_id=bet.bet_id,
        player_id=bet.player_id,
        event_id=bet.event_id,
        market_id=bet.market_id,
        selection_id=bet.selection_id,
        odds_milli=bet.odds_milli,
        odds_version=bet.odds_version,
        stake_minor=bet.stake_minor,
        currency=bet.currency,
        placed_at=bet.placed_at,
        requested_odds_milli=bet.requested_odds_milli,
        requested_odds_version=bet.requested_odds_version,
        idempotency_key=bet.idempotency_key,
        requested_accept=bet.requested_accept,
        requested_valid_until=bet.requested_valid_until,
        status=bet.status,
        result=bet.result,
        payout_minor=bet.payout_minor,
        settled_at=bet.settled_at,
        settlement_id=bet.settlement_id,
    )


def _bet_from_wire(wire: BetAcceptedV1) -> BetAccepted:
    fields = _fields(wire)
    return BetAccepted(bet=Bet(**fields | {"bet_id": BetId(wire.bet_id)}))


def _market_to_wire(decided: MarketDecided) -> MarketDecidedV1:
    settlement = decided.settlement
    return MarketDecidedV1(
        v=1,
        event_id=decided.event_id,
        settlement_id=settlement.settlement_id,
        market_id=settlement.market_id,
        kind=settlement.kind,
        results={key: outcome_to_wire(outcome) for key, outcome in settlement.results.items()},
        requested_at=settlement.requested_at,
        undoes=settlement.undoes,
        placed_from=settlement.placed_from,
        placed_until=settlement.placed_until,
        bets_total=settlement.bets_total,
        bets_done=settlement.bets_done,
        finished_at=settlement.finished_at,
    )


def _market_from_wire(wire: MarketDecidedV1) -> MarketDecided:
    fields = _fields(wire)
    del fields["event_id"]
    fields["results"] = {SelectionId(key): outcome_from_wire(outcome) for key, outcome in wire.results.items()}
    return MarketDecided(event_id=wire.event_id, settlement=Settlement(**fields))


def _carried_to_wire(carried: CarriedOver) -> CarriedOverV1:
    held = carried.wallet
    return CarriedOverV1(
        v=1,
        player_id=carried.player_id,
        part=carried.part,
        wallet=None
        if held is None
        else WalletV1(held.wallet.balance_minor, held.wallet.debt_minor, held.currency, held.version),
        bet=None if carried.bet is None else _bet_to_wire(BetAccepted(bet=carried.bet)),
        moves=tuple(_MOVED.to_wire(moved) for moved in carried.moves),  # type: ignore[misc]  # its own struct
        transfers=tuple(
            TransferV1(**{name: getattr(transfer, name) for name in TransferV1.__struct_fields__})
            for transfer in carried.transfers
        ),
    )


def _carried_from_wire(wire: CarriedOverV1) -> CarriedOver:
    held = wire.wallet
    return CarriedOver(
        player_id=wire.player_id,
        part=wire.part,
        wallet=None
        if held is None
        else FoldedWallet(Wallet(held.balance_minor, held.debt_minor), held.currency, held.version),
        bet=None if wire.bet is None else _bet_from_wire(wire.bet).bet,
        moves=tuple(FundsMoved(**_fields(moved)) for moved in wire.moves),
        transfers=tuple(
            Transfer(
                transfer_id=TransferId(one.transfer_id),
                kind=one.kind,
                debit=one.debit,
                credit=one.credit,
                amount_minor=one.amount_minor,
                currency=one.currency,
                bet_id=None if one.bet_id is None else BetId(one.bet_id),
                recorded_at=one.recorded_at,
            )
            for one in wire.transfers
        ),
    )


def _fields(wire: _Body) -> dict[str, Any]:
    return {name: getattr(wire, name) for name in wire.__struct_fields__ if name != "v"}


def _alike(body: type[Any], struct: type[Any]) -> _Form:
    """Return the form of a body whose fields are the struct's."""
    names = [name for name in struct.__struct_fields__ if name != "v"]

    def to_wire(told: Any) -> Any:
        return struct(v=1, **{name: getattr(told, name) for name in names})

    return _Form(body, struct, to_wire, lambda wire: body(**_fields(wire)))


_MOVED: Final = _alike(FundsMoved, FundsMovedV1)
_FORMS: Final = {
    FactKind.ACCOUNT_OPENED: _alike(AccountOpened, AccountOpenedV1),
    FactKind.FUNDS_MOVED: _MOVED,
    FactKind.BET_ACCEPTED: _Form(BetAccepted, BetAcceptedV1, _bet_to_wire, _bet_from_wire),
    FactKind.BET_DECIDED: _alike(BetDecided, BetDecidedV1),
    FactKind.MARKET_DECIDED: _Form(MarketDecided, MarketDecidedV1, _market_to_wire, _market_from_wire),
    FactKind.CARRIED_OVER: _Form(CarriedOver, CarriedOverV1, _carried_to_wire, _carried_from_wire),
}
_TO_WIRE: Final = {form.body: form.to_wire for form in _FORMS.values()}
_FROM_WIRE: Final = {kind: form.from_wire for kind, form in _FORMS.items()}
_DECODERS: Final = {kind: msgspec.json.Decoder(form.struct) for kind, form in _FORMS.items()}
_fact_decoder = msgspec.json.Decoder(FactV1)
_encode = msgspec.json.Encoder().encode


def body_to_wire(body: Body) -> bytes:
    """Return a fact's body as it is kept; `body_from_wire` reads it back the same."""
    return _encode(_TO_WIRE[type(body)](body))


def body_from_wire(kind: str, body: bytes) -> Body:
    """Return the body of a fact of `kind`.

    Raises:
        Fault: the kind or the version is none of ours, or it is no such body.
    """
    try:
        known = FactKind(kind)
        return _FROM_WIRE[known](_DECODERS[known].decode(body))
    except (ValueError, Rejection) as wrong:  # msgspec's errors are ValueErrors
        raise Fault(f"a fact {kind} can't be read as version {VERSION}: {wrong}") from wrong


def fact_to_wire(fact: Fact) -> bytes:
    """Return a whole fact; `fact_from_wire` reads it back the same."""
    body = msgspec.Raw(body_to_wire(fact.body))
    kind = kind_of(fact.body)
    return _encode(FactV1(fact.shard, fact.seq, fact.epoch, fact.fact_id, kind, fact.recorded_at, body))


def fact_from_wire(text: bytes) -> Fact:
    """Return a whole fact.

    Raises:
        Fault: it is none, or of a kind or version that is none of ours.
    """
    try:
        wire = _fact_decoder.decode(text)
    except ValueError as wrong:
        raise Fault(f"no fact can be read from {text[:100]!r}: {wrong}") from wrong
    return Fact(
        shard=wire.shard,
        seq=wire.seq,
        epoch=wire.epoch,
        fact_id=wire.fact_id,
        recorded_at=wire.recorded_at,
        body=body_from_wire(wire.kind, bytes(wire.body)),
    )
