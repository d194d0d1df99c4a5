"""What a pod asks of a ledger, done: a call off the wire in, its answer for the wire out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from touchline.core.errors import Outage, Rejection
from touchline.core.facts import shard_of
from touchline.core.funds import FundsMoved
from touchline.ports import Balance, Credentials, Placed, Worked
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


def asked(ledger: Ledger, call: CallV1) -> "asyncio.Future[Any]":
    """Ask `ledger` what a call asks; its answer, or what it raises, is for `answer_to`."""
    return asyncio.ensure_future(_FORMS[type(call)].ask(ledger, call))


def answer_to(call: CallV1, done: "asyncio.Future[Any]") -> AnswerV1:
    """Return the answer to a call that is `done`; what was raised is an answer as well."""
    try:
        answer = done.result()
    except Rejection as refused:
        return rejection_to_wire(refused, raised=True)
    except Outage as outage:
        return outage_to_wire(outage)
    except Exception:  # a `Fault`, or what should have been one: whoever asked hears that much
        _log.exception("a call of a pod's failed")
        return BROKEN
    if isinstance(answer, Rejection):
        return rejection_to_wire(answer, raised=False)
    return _FORMS[type(call)].to_wire(answer)


class _Form(NamedTuple):
    """How a ledger is asked what a call asks, and its answer, where that is no refusal, on the wire."""

    ask: Callable[[Ledger, Any], Awaitable[Any]]
    to_wire: Callable[[Any], AnswerV1]


def _place(ledger: Ledger, call: PlaceV1) -> Awaitable[Placed | Rejection]:
    return ledger.place(place_from_wire(call))


def _placed(placed: Placed) -> AnswerV1:
    return PlacedV1(bet_to_wire(placed.bet), _balance(placed.balance))


def _move(ledger: Ledger, call: MoveV1) -> Awaitable[tuple[FundsMoved, Balance | None] | Rejection]:
    return ledger.move_funds(move_from_wire(call))


def _moved(answer: tuple[FundsMoved, Balance | None]) -> AnswerV1:
    moved, balance = answer
    return moved_to_wire(moved, _balance(balance))


def _register(ledger: Ledger, call: RegisterV1) -> Awaitable[bool]:
    credentials = Credentials(call.player_id, call.role, call.password_hash, call.locked_until)
    return ledger.register(credentials, call.username, call.currency, call.at)


async def _to_work(ledger: Ledger, call: ToWorkV1) -> int:
    return await ledger.to_work(call.shard, settlement_from_wire(call.settlement))


async def _work(ledger: Ledger, call: WorkV1) -> Worked:
    settlement = settlement_from_wire(call.settlement)
    return await ledger.work(call.shard, settlement, call.at, min(call.limit, WORK_BETS_MAX))


def _worked(worked: Worked) -> AnswerV1:
    balances = {
        player_id: BalanceAtV1(balance.balance_minor, balance.currency, balance.version)
        for player_id, balance in worked.balances.items()
    }
    return WorkedV1(worked.bets, balances)


def _balance(balance: Balance | None) -> BalanceAtV1 | None:
    return None if balance is None else BalanceAtV1(balance.balance_minor, balance.currency, balance.version)


_FORMS: Final[dict[type[CallV1], _Form]] = {
    PlaceV1: _Form(_place, _placed),
    MoveV1: _Form(_move, _moved),
    RegisterV1: _Form(_register, RegisteredV1),
    ToWorkV1: _Form(_to_work, CountedV1),
    WorkV1: _Form(_work, _worked),
}
