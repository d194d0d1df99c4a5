"""Requests of pods to the writers of shards, and their answers, in MessagePack.

Invariant: what is sent comes back the same in the core's terms, to the last field; a field is only ever added at
the end, with a default, so that pods and writers of two releases understand each other.
"""

from datetime import datetime
from fractions import Fraction
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import msgspec

from touchline.core.account import Role
from touchline.core.bet import Accept, Bet, BetResult, BetStatus, PlaceBet
from touchline.core.errors import Code, Outage, Rejection
from touchline.core.funds import FundsMoved, MoveFunds
from touchline.core.ids import BetId, EventId, MarketId, PlayerId, SelectionId
from touchline.core.ledger import TransferKind
from touchline.core.settlement import Outcome, Settlement, SettlementKind

WORK_BETS_MAX: Final = 10_000  # of one `work`: the balances that it leaves changed fit a frame


class RegisterV1(msgspec.Struct, frozen=True, array_like=True, tag="register"):
    """`Ledger.register`."""

    player_id: PlayerId
    role: Role
    password_hash: str
    locked_until: datetime | None
    username: str
    currency: str
    at: datetime


class PlaceV1(msgspec.Struct, frozen=True, array_like=True, tag="place"):
    """`Ledger.place`."""

    bet_id: BetId
    player_id: PlayerId
    market_id: MarketId
    selection_id: SelectionId
    odds_milli: int
    odds_version: int
    stake_minor: int
    idempotency_key: str | None
    accept: Accept
    valid_until: datetime | None


class MoveV1(msgspec.Struct, frozen=True, array_like=True, tag="move"):
    """`Ledger.move_funds`."""

    move_id: UUID
    player_id: PlayerId
    kind: TransferKind
    amount_minor: int
    idempotency_key: str


class SettlementV1(msgspec.Struct, frozen=True, array_like=True):
    """A settlement. `results` has of each selection its result, void factor and dead heat factor, as fractions."""

    settlement_id: int
    market_id: MarketId
    kind: SettlementKind
    results: dict[SelectionId, tuple[BetResult, str, str]]
    requested_at: datetime
    undoes: int | None
    placed_from: datetime | None
    placed_until: datetime | None
    bets_total: int
    bets_done: int
    finished_at: datetime | None


class ToWorkV1(msgspec.Struct, frozen=True, array_like=True, tag="to_work"):
    """`Ledger.to_work`."""

    shard: int
    settlement: SettlementV1


class WorkV1(msgspec.Struct, frozen=True, array_like=True, tag="work"):
    """`Ledger.work`."""

    shard: int
    settlement: SettlementV1
    at: datetime
    limit: int


class PingV1(msgspec.Struct, frozen=True, array_like=True, tag="ping"):
    """Is anybody there? Asked where answers are owed and nothing was heard for a while."""


class BalanceAtV1(msgspec.Struct, frozen=True, array_like=True):
    """A wallet's balance at its version."""

    balance_minor: int
    currency: str
    version: int


class RecordedBetV1(msgspec.Struct, frozen=True, array_like=True):
    """A bet with all that is on record of it."""

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
    requested_accept: Accept | None
    requested_valid_until: datetime | None
    result: BetResult | None
    payout_minor: int | None
    settled_at: datetime | None
    settlement_id: int | None


class RegisteredV1(msgspec.Struct, frozen=True, array_like=True, tag="registered"):
    """The answer of `register`."""

    opened: bool


class PlacedV1(msgspec.Struct, frozen=True, array_like=True, tag="placed"):
    """The answer of `place` where there is a bet."""

    bet: RecordedBetV1
    balance: BalanceAtV1 | None


class MovedV1(msgspec.Struct, frozen=True, array_like=True, tag="moved"):
    """The answer of `move_funds` where money was moved."""

    move_id: UUID
    player_id: PlayerId
    kind: TransferKind
    amount_minor: int
    currency: str
    balance_minor: int
    idempotency_key: str
    recorded_at: datetime
    balance: BalanceAtV1 | None


class CountedV1(msgspec.Struct, frozen=True, array_like=True, tag="counted"):
    """The answer of `to_work`."""

    bets: int


class WorkedV1(msgspec.Struct, frozen=True, array_like=True, tag="worked"):
    """The answer of `work`."""

    bets: int
    balances: dict[PlayerId, BalanceAtV1]


class RejectedV1(msgspec.Struct, frozen=True, array_like=True, tag="rejected"):
    """A `Rejection`, returned or raised."""

    code: Code
    detail: str
    extra: dict[str, Any]
    raised: bool


class AwayV1(msgspec.Struct, frozen=True, array_like=True, tag="away"):
    """An `Outage` of what stands behind the writer: nothing was recorded, or the same key tells."""

    dependency: str
    retry_after_s: int


class NotBegunV1(msgspec.Struct, frozen=True, array_like=True, tag="not_begun"):
    """The request was not looked at: this process is not the shard's writer, or not for long."""


class LostV1(msgspec.Struct, frozen=True, array_like=True, tag="lost"):
    """The request was begun, and this process is the shard's writer no more: the key tells, at the next one."""


class BrokenV1(msgspec.Struct, frozen=True, array_like=True, tag="broken"):
    """A `Fault`; what it is stays in the writer's log."""


class PongV1(msgspec.Struct, frozen=True, array_like=True, tag="pong"):
    """The answer of `PingV1`."""


CallV1 = RegisterV1 | PlaceV1 | MoveV1 | ToWorkV1 | WorkV1 | PingV1
AnswerV1 = (
    RegisteredV1
    | PlacedV1
    | MovedV1
    | CountedV1
    | WorkedV1
    | RejectedV1
    | AwayV1
    | NotBegunV1
    | LostV1
    | BrokenV1
    | PongV1
)


class RequestV1(msgspec.Struct, frozen=True, array_like=True):
    """A call under a number of its connection's own."""

    number: int
    call: CallV1


class ReplyV1(msgspec.Struct, frozen=True, array_like=True):
    """The answer to the request of that number."""

    number: int
    answer: AnswerV1


decode_request: Final = msgspec.msgpack.Decoder(RequestV1).decode
decode_reply: Final = msgspec.msgpack.Decoder(ReplyV1).decode
_recorded: Final = attrgetter(*RecordedBetV1.__struct_fields__)


def place_to_wire(request: PlaceBet) -> PlaceV1:
    """Return a bet's request as it goes out."""
    return PlaceV1(
        request.bet_id,
        request.player_id,
        request.market_id,
        request.selection_id,
        request.odds_milli,
        request.odds_version,
        request.stake_minor,
        request.idempotency_key,
        request.accept,
        request.valid_until,
    )


def place_from_wire(call: PlaceV1) -> PlaceBet:
    """Return a bet's request as it came in."""
    return PlaceBet(
        bet_id=call.bet_id,
        player_id=call.player_id,
        market_id=call.market_id,
        selection_id=call.selection_id,
        odds_milli=call.odds_milli,
        odds_version=call.odds_version,
        stake_minor=call.stake_minor,
        idempotency_key=call.idempotency_key,
        accept=call.accept,
        valid_until=call.valid_until,
    )


def move_to_wire(request: MoveFunds) -> MoveV1:
    """Return a request to move money as it goes out."""
    return MoveV1(
        request.move_id, request.player_id, request.kind, request.amount_minor, request.idempotency_key
    )


def move_from_wire(call: MoveV1) -> MoveFunds:
    """Return a request to move money as it came in."""
    return MoveFunds(
        move_id=call.move_id,
        player_id=call.player_id,
        kind=call.kind,
        amount_minor=call.amount_minor,
        idempotency_key=call.idempotency_key,
    )


def settlement_to_wire(settlement: Settlement) -> SettlementV1:
    """Return a settlement as it goes out."""
    return SettlementV1(
        settlement.settlement_id,
        settlement.market_id,
        settlement.kind,
        {
            selection_id: (outcome.result, str(outcome.void_factor), str(outcome.dead_heat_factor))
            for selection_id, outcome in settlement.results.items()
        },
        settlement.requested_at,
        settlement.undoes,
        settlement.placed_from,
        settlement.placed_until,
        settlement.bets_total,
        settlement.bets_done,
        settlement.finished_at,
    )


def settlement_from_wire(settlement: SettlementV1) -> Settlement:
    """Return a settlement as it came in.

    Raises:
        Rejection: MALFORMED: a factor that is none.
    """
    try:
        results = {
            selection_id: Outcome(result, Fraction(void_factor), Fraction(dead_heat_factor))
            for selection_id, (result, void_factor, dead_heat_factor) in settlement.results.items()
        }
    except (ValueError, ZeroDivisionError):
        raise Rejection(Code.MALFORMED, "a factor of a settlement is no fraction") from None
    return Settlement(
        settlement_id=settlement.settlement_id,
        market_id=settlement.market_id,
        kind=settlement.kind,
        results=results,
        requested_at=settlement.requested_at,
        undoes=settlement.undoes,
        placed_from=settlement.placed_from,
        placed_until=settlement.placed_until,
        bets_total=settlement.bets_total,
        bets_done=settlement.bets_done,
        finished_at=settlement.finished_at,
    )


def bet_to_wire(bet: Bet) -> RecordedBetV1:
    """Return a bet on record as it goes out."""
    return RecordedBetV1(*_recorded(bet))


def bet_from_wire(bet: RecordedBetV1) -> Bet:
    """Return a bet on record as it came in."""
    return Bet(**msgspec.structs.asdict(bet))


def moved_to_wire(moved: FundsMoved, balance: BalanceAtV1 | None) -> MovedV1:
    """Return money that was moved as it goes out."""
    return MovedV1(
        moved.move_id,
        moved.player_id,
        moved.kind,
        moved.amount_minor,
        moved.currency,
        moved.balance_minor,
        moved.idempotency_key,
        moved.recorded_at,
        balance,
    )


def moved_from_wire(answer: MovedV1) -> FundsMoved:
    """Return money that was moved as it came in."""
    return FundsMoved(
        move_id=answer.move_id,
        player_id=answer.player_id,
        kind=answer.kind,
        amount_minor=answer.amount_minor,
        currency=answer.currency,
        balance_minor=answer.balance_minor,
        idempotency_key=answer.idempotency_key,
        recorded_at=answer.recorded_at,
    )


def rejection_to_wire(rejection: Rejection, *, raised: bool) -> RejectedV1:
    """Return a refusal as it goes out. What its extra holds is what JSON can say, and instants."""
    extra = msgspec.to_builtins(dict(rejection.extra), builtin_types=(datetime,))
    return RejectedV1(rejection.code, rejection.detail, extra, raised)


def rejection_from_wire(answer: RejectedV1) -> Rejection:
    """Return a refusal as it came in."""
    return Rejection(answer.code, answer.detail, **answer.extra)


def outage_to_wire(outage: Outage) -> AwayV1:
    """Return an outage as it goes out."""
    return AwayV1(outage.dependency, outage.retry_after_s)


def outage_from_wire(answer: AwayV1) -> Outage:
    """Return an outage as it came in."""
    return Outage(answer.dependency, answer.retry_after_s)
