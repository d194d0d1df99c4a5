"""What a pod asks of a ledger, done: a call off the wire in, its answer for the wire out."""

import logging
from typing import Final

from touchline.core.errors import Outage, Rejection
from touchline.core.facts import shard_of
from touchline.ports import Balance, Credentials, Placed
from touchline.ports.stream import Ledger
from touchline.wire.shards_v1 import (
    WORK_BETS_MAX,
    AnswerV1,
    BalanceAtV1,
    BrokenV1,
    CallV1,
    CountedV1,
    MoveV1,
    PingV1,
    PlacedV1,
    PlaceV1,
    PongV1,
    RegisteredV1,
    RegisterV1,
    ToWorkV1,
    WorkedV1,
    WorkV1,
    bet_to_wire,
    move_from_wire,
    moved_to_wire,
    outage_to_wire,
    place_from_wire,
    rejection_to_wire,
    settlement_from_wire,
)

BROKEN: Final = BrokenV1()
PONG: Final = PongV1()
_log = logging.getLogger("touchline.shards")


def shard_of_call(call: CallV1, shards: int) -> int | None:
    """Return the shard that a call is for, None where any will do."""
    if isinstance(call, PingV1):
        return None
    if isinstance(call, ToWorkV1 | WorkV1):
        return call.shard
    return shard_of(call.player_id, shards)


async def perform(ledger: Ledger, call: CallV1) -> AnswerV1:
    """Return what `ledger` answers; what it raises is an answer as well."""
    try:
        if isinstance(call, PlaceV1):
            return await _place(ledger, call)
        if isinstance(call, MoveV1):
            return await _move(ledger, call)
        if isinstance(call, RegisterV1):
            return await _register(ledger, call)
        if isinstance(call, WorkV1):
            return await _work(ledger, call)
        if isinstance(call, ToWorkV1):
            return CountedV1(await ledger.to_work(call.shard, settlement_from_wire(call.settlement)))
        return PONG
    except Rejection as refused:
        return rejection_to_wire(refused, raised=True)
    except Outage as outage:
        return outage_to_wire(outage)
    except Exception:  # a `Fault`, or what should have been one: whoever asked hears that much
        _log.exception("a call of a pod's failed")
        return BROKEN


async def _place(ledger: Ledger, call: PlaceV1) -> AnswerV1:
    answer = await ledger.place(place_from_wire(call))
    if isinstance(answer, Placed):
        return PlacedV1(bet_to_wire(answer.bet), _balance(answer.balance))
    return rejection_to_wire(answer, raised=False)


async def _move(ledger: Ledger, call: MoveV1) -> AnswerV1:
    answer = await ledger.move_funds(move_from_wire(call))
    if isinstance(answer, Rejection):
        return rejection_to_wire(answer, raised=False)
    moved, balance = answer
    return moved_to_wire(moved, _balance(balance))


async def _register(ledger: Ledger, call: RegisterV1) -> AnswerV1:
    credentials = Credentials(call.player_id, call.role, call.password_hash, call.locked_until)
    return RegisteredV1(await ledger.register(credentials, call.username, call.currency, call.at))


async def _work(ledger: Ledger, call: WorkV1) -> AnswerV1:
    settlement = settlement_from_wire(call.settlement)
    worked = await ledger.work(call.shard, settlement, call.at, min(call.limit, WORK_BETS_MAX))
    balances = {
        player_id: BalanceAtV1(balance.balance_minor, balance.currency, balance.version)
        for player_id, balance in worked.balances.items()
    }
    return WorkedV1(worked.bets, balances)


def _balance(balance: Balance | None) -> BalanceAtV1 | None:
    return None if balance is None else BalanceAtV1(balance.balance_minor, balance.currency, balance.version)
