"""The one writer of an account shard: takes what waits, decides it in order, records it durably, then answers.

Invariants: nothing is answered before all that it rests on is durable; a batch is decided while the one before it
is being recorded, and sees it; bets and the other work on a shard take turns, so that neither starves.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from touchline.core.acceptance import Rules
from touchline.core.batch import Batch
from touchline.core.bet import PlaceBet
from touchline.core.errors import Fault, Outage, Rejection
from touchline.core.funds import FundsMoved, MoveFunds
from touchline.core.rates import RateRules
from touchline.core.settlement import Settlement
from touchline.flows.decide_batch import Deciding, Raised
from touchline.flows.pace import Pace
from touchline.flows.read_balance import keep_balances
from touchline.ports import Balance, Clock, Credentials, Placed, SessionCache, Worked
from touchline.ports.shards import Authority, Request, ShardRecords, ShardStore

BATCH_BETS_MAX: Final = 500
WAITING_MAX: Final = 10_000  # requests of one shard; more are an outage at once
JOBS_MAX: Final = 1_000  # registrations and settlements' work that wait, likewise
AHEAD_MIN: Final = 64  # fewer that wait are not decided before what is being recorded is on record
CROWD_MIN: Final = 10  # after a batch of so many the next one gathers: of a few each bet costs more
GATHER_S: Final = 0.01  # ... at most so long, and until as many wait as are decided ahead
TRIES_MAX: Final = 5  # to record what other shards leave less and less room for
WORK_BETS_MAX: Final = 500  # of a settlement, in one transaction
TAKEN_AGAIN_AFTER_S: Final = 0.2

_log = logging.getLogger("touchline.shards")

Job = Callable[[ShardRecords], Awaitable[Any]]


class Asked(NamedTuple):
    """A request, and where its answer goes."""

    request: Request
    answer: "asyncio.Future[Any]"


class Recording(NamedTuple):
    """A batch that is being recorded; `done` is False where it has to be decided anew."""

    asked: Sequence[Asked]
    batch: Batch
    done: "asyncio.Task[bool]"


class ShardWriter:
    """Writes the shard of `store` while `run` runs; while it is not to be had, every answer is an outage.

    Players' bets are held to `rate`, and `sessions` have their balances before they have their answers; None of
    either is for where nobody bets, or nobody asks.
    """

    def __init__(
        self,
        store: ShardStore,
        authority: Authority,
        rules: Rules,
        clock: Clock,
        *,
        rate: RateRules | None = None,
        sessions: SessionCache | None = None,
        batch_bets_max: int = BATCH_BETS_MAX,
        waiting_max: int = WAITING_MAX,
        gather_s: float = GATHER_S,
    ) -> None:
        self.shard = store.shard
        self.batches = 0  # recorded since this began, and the bets in them
        self.bets = 0
        self._store = store
        self._authority = authority
        self._rules = rules
        self._clock = clock
        self._rate = rate
        self._sessions = sessions
        self._batch_bets_max = batch_bets_max
        self._ahead_min = min(AHEAD_MIN, batch_bets_max)
        self._waiting_max = waiting_max
        self._gather_s = gather_s
        self._pace = Pace(WORK_BETS_MAX)
        self._waiting: deque[Asked] = deque()
        self._jobs: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        self._in_hand: list[Sequence[Asked]] = []  # no longer waiting, and not answered yet
        self._recording: Recording | None = None
        self._telling: set[asyncio.Task[None]] = set()  # batches on record whose answers are on their way
        self._gathering = False
        self._woken = asyncio.Event()
        self._ours = asyncio.Event()

    @property
    def serving(self) -> bool:
        """Whether the shard is this writer's just now."""
        return self._ours.is_set()

    async def ready(self) -> None:
        """Wait until the shard is this writer's."""
        await self._ours.wait()

    @property
    def waiting(self) -> int:
        """How many requests wait to be decided."""
        return len(self._waiting)

    def place(self, request: PlaceBet) -> Awaitable[Placed | Rejection]:
        """See `ports.stream.Ledger`."""
        return self._ask(request)

    async def move_funds(self, request: MoveFunds) -> tuple[FundsMoved, Balance | None] | Rejection:
        """See `ports.stream.Ledger`."""
        answer: tuple[FundsMoved, Balance | None] | Rejection = await self._ask(request)
        return answer

    async def register(self, credentials: Credentials, username: str, currency: str, at: datetime) -> bool:
        """See `ports.stream.Ledger`."""
        return bool(await self._do(lambda records: records.register(credentials, username, currency, at)))

    async def to_work(self, settlement: Settlement) -> int:
        """See `ports.stream.Ledger`."""
        return int(await self._do(lambda records: records.to_work(settlement)))

    async def work(self, settlement: Settlement, at: datetime, limit: int) -> Worked:
        """See `ports.stream.Ledger`; as many at a time as hold bets up for a short while."""
        worked: Worked = await self._do(lambda records: self._work_some(records, settlement, at, limit))
        return worked

    async def _work_some(
        self, records: ShardRecords, settlement: Settlement, at: datetime, limit: int
    ) -> Worked:
        began = self._clock.now()
        worked = await records.work(settlement, at, min(limit, self._pace.bets))
        self._pace.took(worked.bets, self._clock.now() - began)
        return worked

    def _ask(self, request: Request) -> "asyncio.Future[Any]":
        answer = asyncio.get_running_loop().create_future()
        if not self.serving:
            answer.set_exception(self._away())
        elif len(self._waiting) >= self._waiting_max:
            answer.set_exception(Outage(f"shard {self.shard}: too many requests wait; it"))
        else:
            self._waiting.append(Asked(request, answer))
            self._woken.set()
        return answer

    def _do(self, job: Job) -> "asyncio.Future[Any]":
        if not self.serving or len(self._jobs) >= JOBS_MAX:
            raise self._away()
        done = asyncio.get_running_loop().create_future()
        self._jobs.append((job, done))
        self._woken.set()
        return done

    def _away(self) -> Outage:
        return Outage(f"shard {self.shard}")

    async def run(self) -> None:
        """Write the shard, for ever; after an outage it is taken anew, when it is to be had.

        Raises:
            Fault: an invariant of the shard itself is broken.
        """
        while True:
            try:
                async with self._store.taken() as records:
                    await self._serve_while_ours(records)
            except Outage as outage:
                _log.warning("shard %s is let go of: %s", self.shard, outage)
            finally:
                self._give_up()
            await asyncio.sleep(TAKEN_AGAIN_AFTER_S)

    async def _serve_while_ours(self, records: ShardRecords) -> None:
        deciding = Deciding(records, self._authority, self._rules, self._clock, self._rate)
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._serve(deciding)),
            asyncio.create_task(records.lost()),
        ]
        self._ours.set()
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ours.clear()
            for task in tasks:
                task.cancel()
            if self._recording is not None:
                self._recording.done.cancel()
                tasks.append(self._recording.done)
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    def _give_up(self) -> None:
        """Answer all who are not answered yet: the key tells what became of what was being recorded."""
        unanswered = [one.answer for asked in (*self._in_hand, self._waiting) for one in asked]
        for answer in (*unanswered, *(done for _, done in self._jobs)):
            _tell(answer, Raised(self._away()))
        self._in_hand.clear()
        self._waiting.clear()
        self._jobs.clear()
        self._recording = None

    async def _serve(self, deciding: Deciding) -> None:
        while True:
            self._woken.clear()
            if self._jobs or (self._recording is not None and self._recording.done.done()):
                await self._finish(deciding)
            if self._jobs:
                await self._do_next(deciding)
            enough = 1 if self._recording is None and not self._gathering else self._ahead_min
            if len(self._waiting) >= enough:
                await self._next_batch(deciding)
            elif not self._jobs:
                await self._woken.wait()

    async def _do_next(self, deciding: Deciding) -> None:
        """Do one job, while nothing is being recorded."""
        job, done = self._jobs.popleft()
        try:
            _tell(done, await job(deciding.records))
        except Fault as fault:
            _tell(done, Raised(fault))
        except Outage:
            _tell(done, Raised(self._away()))
            raise

    async def _next_batch(self, deciding: Deciding) -> None:
        """Decide the next requests, and begin to record them once those before are on record."""
        asked = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_bets_max))]
        self._in_hand.append(asked)
        if len(asked) >= CROWD_MIN and not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_later(self._gather_s, self._gathered)
        try:
            batch, answers = await self._decide(deciding, asked, self._recording)
            if not await self._finish(deciding):  # what it was decided on did not come to be
                batch, answers = await self._decide(deciding, asked, None)
        except Fault as fault:
            await self._finish(deciding)
            await self._part(deciding, asked, fault)
            return
        done = asyncio.create_task(self._record(deciding, asked, batch, answers))
        done.add_done_callback(lambda _: self._woken.set())
        self._recording = Recording(asked, batch, done)

    def _gathered(self) -> None:
        self._gathering = False
        self._woken.set()

    async def _decide(
        self, deciding: Deciding, asked: Sequence[Asked], recording: Recording | None
    ) -> tuple[Batch, Sequence[Any]]:
        requests = [one.request for one in asked]
        if recording is None:
            return await deciding.decide(requests, None, None)
        return await deciding.decide(requests, recording.batch, recording.done)

    async def _record(
        self, deciding: Deciding, asked: Sequence[Asked], batch: Batch, answers: Sequence[Any]
    ) -> bool:
        """Record a batch, then answer; False, and nothing is done, where it has to be decided anew."""
        if batch.facts and not await deciding.record(batch):
            return False
        self.batches += 1
        self.bets += len(batch.bets)
        self._in_hand.remove(asked)
        if self._sessions is None or not batch.bets:
            _tell_all(asked, answers)
        else:
            telling = asyncio.create_task(_keep_and_tell(self._sessions, asked, answers))
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)
        return True

    async def _finish(self, deciding: Deciding) -> bool:
        """Wait for what is being recorded; False where it came to something else than was decided."""
        recording, self._recording = self._recording, None
        if recording is None:
            return True
        try:
            if await recording.done:
                return True
        except Fault as fault:
            await self._part(deciding, recording.asked, fault)
            return False
        await self._redo(deciding, recording.asked)
        return False

    async def _redo(self, deciding: Deciding, asked: Sequence[Asked]) -> None:
        """Decide and record requests anew, while nothing else is being recorded."""
        for _ in range(TRIES_MAX):
            try:
                batch, answers = await self._decide(deciding, asked, None)
                if await self._record(deciding, asked, batch, answers):
                    return
            except Fault as fault:
                await self._part(deciding, asked, fault)
                return
        self._in_hand.remove(asked)
        for one in asked:
            _tell(one.answer, Raised(self._away()))

    async def _part(self, deciding: Deciding, asked: Sequence[Asked], fault: Fault) -> None:
        """Find the request that the books refuse, so that it fails alone."""
        self._in_hand.remove(asked)
        if len(asked) == 1:
            _tell(asked[0].answer, Raised(fault))
            return
        halves = asked[: len(asked) // 2], asked[len(asked) // 2 :]
        self._in_hand += halves
        for half in halves:
            await self._redo(deciding, half)


async def _keep_and_tell(sessions: SessionCache, asked: Sequence[Asked], answers: Sequence[Any]) -> None:
    """Answer once the bettors' sessions have the balances that they are told, while the next batch is recorded."""
    placed = [answer for answer in answers if isinstance(answer, Placed)]
    balances = {one.bet.player_id: one.balance for one in placed if one.balance is not None}  # his last
    try:
        await keep_balances(sessions, balances)
    finally:  # they are on record, whatever becomes of the cache
        _tell_all(asked, answers)


def _tell_all(asked: Sequence[Asked], answers: Sequence[Any]) -> None:
    for one, answer in zip(asked, answers, strict=True):
        _tell(one.answer, answer)


def _tell(waiter: "asyncio.Future[Any]", answer: Any) -> None:
    if waiter.done():  # whoever asked has gone
        return
    if isinstance(answer, Raised):
        waiter.set_exception(answer.error)
    else:
        waiter.set_result(answer)
