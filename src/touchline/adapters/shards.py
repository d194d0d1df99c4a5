"""A ledger whose shards are in other processes: each request goes to the writer of its shard, over one connection.

Invariant: a request that may have been begun is sent again only where a second answer is as good as the first: a
bet and a movement of money under their keys, an account under its player, a settlement's work. An answer that is
not had in time is an `Outage`, wherever it was lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from touchline.adapters.shard_line import Line, Lost, connect
from touchline.core.bet import PlaceBet
from touchline.core.errors import Fault, Outage, Rejection
from touchline.core.facts import shard_of
from touchline.core.funds import FundsMoved, MoveFunds
from touchline.core.settlement import Settlement
from touchline.ports import Balance, Credentials, Placed, Worked
from touchline.wire.hello_v1 import hello_key
from touchline.wire.shards_v1 import (
    WORK_BETS_MAX,
    AnswerV1,
    AwayV1,
    BalanceAtV1,
    BrokenV1,
    CallV1,
    CountedV1,
    LostV1,
    MovedV1,
    NotBegunV1,
    PlacedV1,
    RegisteredV1,
    RegisterV1,
    RejectedV1,
    ToWorkV1,
    WorkedV1,
    WorkV1,
    bet_from_wire,
    move_to_wire,
    moved_from_wire,
    outage_from_wire,
    place_to_wire,
    rejection_from_wire,
    settlement_to_wire,
)

WAITING_MAX: Final = 8_192  # requests of one process that wait for an answer; more are an outage at once
ANSWER_S: Final = 5.0  # for an answer, however often the request has to be sent for it
WORK_S: Final = 30.0  # ... where it is a settlement's work
CONNECT_S: Final = 1.0
AGAIN_S: Final = 0.05  # before a request is sent again, twice as long each time, up to the most
AGAIN_S_MAX: Final = 0.4
DOUBT_S: Final = 0.25  # between two looks at where a shard's writer is, while it does not do what it is asked

Addresses = Callable[[], Awaitable[Mapping[int, str]]]  # of each shard's writer, HOST:PORT


class RemoteLedger:
    """The `Ledger` port, over the writers of `shards` shards, found through `addresses`."""

    def __init__(
        self,
        shards: int,
        addresses: Addresses,
        secret: str,
        *,
        answer_s: float = ANSWER_S,
        work_s: float = WORK_S,
    ) -> None:
        self._shards = shards
        self._addresses = addresses
        self._key = hello_key(secret)
        self._answer_s = answer_s
        self._work_s = work_s
        self._waiting = 0
        self._lines: dict[int, Line] = {}
        self._reaching: dict[int, asyncio.Task[Line | None]] = {}
        self._doubts: dict[int, asyncio.Task[None]] = {}
        self._known: dict[int, str] = {}  # where each writer was last

    @property
    def shards(self) -> int:
        """See `ports.Ledger`."""
        return self._shards

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.Ledger`."""
        call = RegisterV1(
            credentials.player_id,
            credentials.role,
            credentials.password_hash,
            credentials.locked_until,
            username,
            currency,
            at,
        )
        answer = await self._ask(shard_of(credentials.player_id, self._shards), call, self._answer_s)
        if isinstance(answer, RegisteredV1):
            return answer.opened
        raise _unexpected(answer)

    async def place(self, request: PlaceBet) -> Placed | Rejection:
        """See `ports.Ledger`. A bet without a key is sent once."""
        answer = await self._ask(
            shard_of(request.player_id, self._shards),
            place_to_wire(request),
            self._answer_s,
            repeatable=request.idempotency_key is not None,
        )
        if isinstance(answer, PlacedV1):
            return Placed(bet_from_wire(answer.bet), _balance(answer.balance))
        if isinstance(answer, RejectedV1):
            return rejection_from_wire(answer)
        raise _unexpected(answer)

    async def move_funds(self, request: MoveFunds) -> tuple[FundsMoved, Balance | None] | Rejection:
        """See `ports.Ledger`."""
        shard = shard_of(request.player_id, self._shards)
        answer = await self._ask(shard, move_to_wire(request), self._answer_s)
        if isinstance(answer, MovedV1):
            return moved_from_wire(answer), _balance(answer.balance)
        if isinstance(answer, RejectedV1):
            return rejection_from_wire(answer)
        raise _unexpected(answer)

    async def to_work(self, shard: int, settlement: Settlement) -> int:
        """See `ports.Ledger`."""
        answer = await self._ask(shard, ToWorkV1(shard, settlement_to_wire(settlement)), self._work_s)
        if isinstance(answer, CountedV1):
            return answer.bets
        raise _unexpected(answer)

    async def work(self, shard: int, settlement: Settlement, at: datetime, limit: int) -> Worked:
        """See `ports.Ledger`. Of bets whose answer was lost it tells nothing: they are worked, and not counted."""
        call = WorkV1(shard, settlement_to_wire(settlement), at, min(limit, WORK_BETS_MAX))
        answer = await self._ask(shard, call, self._work_s)
        if isinstance(answer, WorkedV1):
            balances = {
                player_id: Balance(balance.balance_minor, balance.currency, balance.version)
                for player_id, balance in answer.balances.items()
            }
            return Worked(answer.bets, balances)
        raise _unexpected(answer)

    async def close(self) -> None:
        """Let go of all writers."""
        tasks = [*self._reaching.values(), *self._doubts.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in self._lines.values():
            line.give_up()
        self._lines.clear()

    async def _ask(self, shard: int, call: CallV1, within_s: float, *, repeatable: bool = True) -> AnswerV1:
        """Return the writer's answer, one that a `Ledger` can give."""
        if self._waiting >= WAITING_MAX:
            raise Outage(f"shard {shard}, for so many at once")
        self._waiting += 1
        try:
            due = asyncio.get_running_loop().time() + within_s
            pause_s = AGAIN_S
            while True:
                line = self._lines.get(shard)
                if line is None or line.lost:
                    line = await self._reached(shard, due)
                try:
                    answer = self._answer(shard, line, await line.ask(call, due))
                except Outage:
                    self._doubt(shard, line)
                    raise
                except Lost as lost:
                    if lost.begun and not repeatable:
                        raise Outage(f"shard {shard}") from None
                else:
                    return answer
                if asyncio.get_running_loop().time() + pause_s >= due:
                    raise Outage(f"shard {shard}")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, AGAIN_S_MAX)
        finally:
            self._waiting -= 1

    def _answer(self, shard: int, line: Line, answer: AnswerV1) -> AnswerV1:
        """Return what a `Ledger` can give of what a writer answered.

        Raises:
            Lost: the writer lost it, or did not begin it: it may be asked for again.
            Outage, Rejection, Fault: as the writer met it.
        """
        if isinstance(answer, PlacedV1):
            return answer
        if isinstance(answer, NotBegunV1 | LostV1):
            self._doubt(shard, line)
            raise Lost(begun=isinstance(answer, LostV1))
        if isinstance(answer, RejectedV1) and answer.raised:
            raise rejection_from_wire(answer)
        if isinstance(answer, AwayV1):
            raise outage_from_wire(answer)
        if isinstance(answer, BrokenV1):
            raise Fault(f"the writer of shard {shard} met a fault, and has it on record")
        return answer

    async def _reached(self, shard: int, due: float) -> Line:
        """Return a line to the shard's writer; one attempt is under way for all who wait for it."""
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < due:
            task = self._reaching.get(shard)
            if task is None:
                task = self._reaching[shard] = loop.create_task(self._reach(shard))
                task.add_done_callback(lambda _: self._reaching.pop(shard, None))
            await asyncio.wait({task}, timeout=due - now)
            if task.cancelled():  # by `close`
                break
            if task.done() and (line := task.result()) is not None:
                return line
        raise Outage(f"shard {shard}")

    async def _reach(self, shard: int) -> Line | None:
        """Try to connect to the shard's writer for as long as anybody would wait for it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._answer_s
        while True:
            try:
                address = await self._address(shard)
                async with asyncio.timeout(CONNECT_S):
                    line = await connect(address, shard, self._shards, self._key)
                self._lines[shard] = line
                return line
            except (OSError, TimeoutError, Lost, Outage):
                if loop.time() >= until:
                    return None
            await asyncio.sleep(AGAIN_S)

    async def _address(self, shard: int) -> str:
        with suppress(Outage, TimeoutError):  # then where it was last
            async with asyncio.timeout(CONNECT_S):
                self._known = dict(await self._addresses())
        if shard not in self._known:
            raise Outage(f"shard {shard}")
        return self._known[shard]

    def _doubt(self, shard: int, line: Line) -> None:
        """Look whether the shard's writer is another by now, as one that was replaced may not know it."""
        if shard not in self._doubts:
            task = self._doubts[shard] = asyncio.get_running_loop().create_task(self._look(shard, line))
            task.add_done_callback(lambda _: self._doubts.pop(shard, None))

    async def _look(self, shard: int, line: Line) -> None:
        try:
            if (await self._addresses()).get(shard, line.address) != line.address:
                self._leave(shard, line)
        except Outage:
            return
        finally:
            await asyncio.sleep(DOUBT_S)

    def _leave(self, shard: int, line: Line) -> None:
        """Ask nothing more on a line; what was asked may still be answered."""
        if self._lines.get(shard) is line:
            del self._lines[shard]
        line.retire()


def _balance(balance: BalanceAtV1 | None) -> Balance | None:
    return None if balance is None else Balance(balance.balance_minor, balance.currency, balance.version)


def _unexpected(answer: AnswerV1) -> Fault:
    return Fault(f"a writer answered with {type(answer).__name__}")
