"""Who is subscribed to what in this process, and how each change reaches them: one frame a tick, made once.

Invariant: between two ticks every subscriber has been sent all that he subscribed to up to the board's cursor, or
it waits in his outbox. No subscriber waits for another.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

from touchline.core.delivery import DECIDED_KEPT, Board, Change, Image, MarketChanged
from touchline.core.errors import Fault
from touchline.core.ids import EventId, MarketId
from touchline.core.market import MarketStatus
from touchline.core.outbox import Conflated, Outbox, Parcel
from touchline.edge.push.followers import Follower, Group, Interest, Pace
from touchline.edge.push.framing import Framing
from touchline.ports import Clock
from touchline.ports.stream import OddsStream
from touchline.wire.stream_v1 import HEARTBEAT_MS_MIN, ServerMessage, heartbeat_to_wire, parcel_to_wire

FRAME_BYTES_MAX: Final = 32_768  # of markets in one frame, or a single one
FRAMES_KEPT_MAX: Final = 256
FOLLOWED_MAX: Final = 100_000  # markets and events, once somebody names one that is not known here
BEAT_STEP_S: Final = 0.25
STALE_AFTER_S: Final = 3.0  # without a word of the odds' authority, which speaks up twice a second
CROWDED_FROM, CROWDED_UNTIL = 0.5, 0.4  # of the time that pushes take, or would take were no frame held
HELD_GAIN_MAX: Final = 3.0  # how much less time held frames take, at most
LOOKS_COUNTED: Final = 4
AHEAD_S: Final = 2.0  # for how long someone waits whom another gateway has told more than is known here

Key = TypeVar("Key")


class Hub:
    """The board of one process and all who follow it; `framing` is how messages lie on their connections."""

    def __init__(self, board: Board, clock: Clock, framing: Framing) -> None:
        self.board = board
        self.clock = clock
        self.cursor = 0  # up to which the prompt have been sent all
        self.frames_sent = 0
        self.images_sent = 0
        self.resumes_served = 0
        self.frames_conflated = dict.fromkeys(Conflated, 0)
        self.stale_since: datetime | None = None
        self.crowded = False  # so much to push that prices are held back a moment, to go several at a time
        self._share = 0.0  # of the time of the last beats that pushes took, or would have taken
        self._pushing_s = 0.0  # that they took since `_looked_at_s`
        self._rate = 0.0  # how many there were of them a second
        self._pushes = 0  # how many since `_looked_at_s`
        self._push_s = 0.0  # that one takes where no frame is held
        self._looked_at_s = 0.0
        self._framing = framing
        self._heard_at = clock.now()
        self._heard_at_s = 0.0
        self._groups: dict[Interest, Group] = {}
        self._group_of: dict[Follower, Group] = {}
        self._of_market: dict[MarketId, set[Group]] = {}
        self._of_event: dict[EventId, set[Group]] = {}
        self._paces: dict[int, Pace] = {}
        self._pace_of: dict[Follower, Pace] = {}
        self._ahead: dict[Follower, int] = {}
        self._made: dict[tuple[object, ...], bytes] = {}

    @property
    def ready(self) -> bool:
        """Whether there has been an image."""
        return bool(self.board.epoch)

    @property
    def boxed(self) -> int:
        """How many subscribers have an outbox."""
        return sum(len(group.boxed) for group in self._groups.values())

    async def follow(self, stream: OddsStream) -> None:
        """Take in what `stream` says, for ever."""
        async for told in stream.follow():
            self.take(told)

    def overheard(self, stream: OddsStream) -> OddsStream:
        """Return `stream` for another to follow; all that it says is taken in here too."""
        return _Overheard(stream, self)

    async def beat(self) -> None:
        """Send heartbeats when they are due, for ever, and say when the odds' authority falls silent."""
        while True:
            await asyncio.sleep(BEAT_STEP_S)
            self.beat_once()

    def beat_once(self) -> None:
        """Send the heartbeats that are due now."""
        now_s = _now_s()
        self._look_at_crowd(now_s)
        silent = self.ready and now_s - self._heard_at_s > STALE_AFTER_S
        turned = silent != (self.stale_since is not None)
        self.stale_since = self._heard_at if silent else None
        self._made.clear()
        for group in list(self._groups.values()):
            told_lately = not turned and now_s < group.told_at_s + HEARTBEAT_MS_MIN / 1000
            for follower in (*(() if told_lately else group.prompt), *group.boxed):
                follower.beat(now_s, group.told_at_s, at_once=turned)
        for follower in list(self._ahead):
            follower.drain()  # who has waited too long waits no longer

    def take(self, told: Image | Sequence[Change]) -> None:
        """Take in what an `OddsStream` says."""
        if isinstance(told, Image):
            self.show(told)
        else:
            self.apply(told)
        self.board.forget(self.clock.now() - DECIDED_KEPT)

    def show(self, image: Image) -> None:
        """Hold what `image` shows, and tell of what is new in it."""
        self._hear()
        if image.epoch == self.board.epoch:
            newer = [market for market in image.markets if market.cursor > self.board.cursor]
            self.board.show(image)
            self._tell(newer)
            return
        self.board.show(image)
        self.cursor = self.board.cursor
        self._made.clear()
        self._ahead.clear()
        for follower in list(self._group_of):
            follower.begin_anew()

    def apply(self, changes: Sequence[Change]) -> None:
        """Take in a tick: hold what is new of `changes`, and tell everyone whom it concerns."""
        self._hear()
        if changes:
            self._tell([new for new in self.board.apply(changes) if isinstance(new, MarketChanged)])

    def join(self, follower: Follower, interest: Interest) -> Interest:
        """Have `follower` follow `interest` from now on; returns it as all hold it who follow the same."""
        self.leave(follower)
        group = self._groups.get(interest)
        if group is None:
            group = self._groups[interest] = Group(self._known(interest))
            for market_id in group.interest.markets:
                self._of_market.setdefault(market_id, set()).add(group)
            for event_id in group.interest.events:
                self._of_event.setdefault(event_id, set()).add(group)
        self._group_of[follower] = group
        self._place(follower)
        return group.interest

    def has_room_for(self, interest: Interest) -> bool:
        """Tell whether `interest` can be followed: what is known always, what is made up only to a bound."""
        board = self.board
        unknown = sum(board.market(market_id) is None for market_id in interest.markets)
        unknown += sum(board.event(event_id) is None for event_id in interest.events)
        return not unknown or len(self._of_market) + len(self._of_event) + unknown <= FOLLOWED_MAX

    def leave(self, follower: Follower) -> None:
        """Tell `follower` nothing more."""
        self._ahead.pop(follower, None)
        self._pace(follower, 0)
        group = self._group_of.pop(follower, None)
        if group is None:
            return
        group.prompt.pop(follower, None)
        group.boxed.pop(follower, None)
        if not group.prompt and not group.boxed:
            del self._groups[group.interest]
            for market_id in group.interest.markets:
                _drop(self._of_market, market_id, group)
            for event_id in group.interest.events:
                _drop(self._of_event, event_id, group)

    def box(self, follower: Follower) -> None:
        """Have what comes from now on wait for `follower` to drain it."""
        if follower.outbox is None:
            follower.outbox = Outbox(self.cursor)
        self._place(follower)

    def unbox(self, follower: Follower) -> None:
        """Send `follower` each tick as it comes: he has been sent all."""
        follower.outbox = None
        self._place(follower)

    def await_cursor(self, follower: Follower, cursor: int) -> None:
        """Drain `follower` once the board has come as far as `cursor`."""
        self._ahead[follower] = cursor

    def await_no_cursor(self, follower: Follower) -> None:
        """Drain `follower` as any other."""
        self._ahead.pop(follower, None)

    def frame_of(self, parcel: Parcel) -> bytes:
        """Return the frame of a parcel; the same for all who get the same."""
        if parcel.conflated is not None:
            self.frames_conflated[parcel.conflated] += 1
        key = (parcel.cursor, parcel.conflated, *(change.cursor for change in parcel.changes))
        return self.made_once(key, lambda: parcel_to_wire(parcel), parcel.cursor)

    def heartbeat_of(self, cursor: int) -> bytes:
        """Return the frame of a heartbeat now."""
        key = ("heartbeat", cursor)
        return self.made_once(key, lambda: heartbeat_to_wire(cursor, self.clock.now(), self.stale_since), cursor)

    def made_once(self, key: tuple[object, ...], make: Callable[[], ServerMessage], cursor: int) -> bytes:
        """Return the frame of what `make` makes; who asks by the same `key` before the next tick gets the same."""
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= FRAMES_KEPT_MAX:
                self._made.clear()
            made = self._made[key] = self.frame(make(), cursor)
        return made

    def frame(self, message: ServerMessage, cursor: int) -> bytes:
        """Return the frame of a message for one."""
        return self._framing(message, self.board.epoch, cursor)

    def markets_of(self, interest: Interest) -> list[MarketChanged]:
        """Return the markets held that are of interest, the oldest change first."""
        found = {market_id: self.board.market(market_id) for market_id in interest.markets}
        for event_id in interest.events:
            found |= {market.market_id: market for market in self.board.markets_of(event_id)}
        return sorted((held for held in found.values() if held is not None), key=lambda market: market.cursor)

    def _hear(self) -> None:
        self._heard_at, self._heard_at_s = self.clock.now(), _now_s()

    def _look_at_crowd(self, now_s: float) -> None:
        """Hold frames back or not, by how much time they take: the kernel sends several for the price of one.

        What is saved so is no sign that the crowd has gone: those who are held count as they did before.
        """
        elapsed_s = max(now_s - self._looked_at_s, 1e-9)
        share, rate = self._pushing_s / elapsed_s, self._pushes / elapsed_s
        if self.crowded:
            share = min(rate * self._push_s, HELD_GAIN_MAX * share)
        self._share += (share - self._share) / LOOKS_COUNTED
        self._rate += (rate - self._rate) / LOOKS_COUNTED
        if not self.crowded and self._rate:
            self._push_s = self._share / self._rate
        self._pushing_s, self._pushes, self._looked_at_s = 0.0, 0, now_s
        crowded = self._share > (CROWDED_UNTIL if self.crowded else CROWDED_FROM)
        if crowded is not self.crowded:
            self.crowded = crowded
            for follower in self._group_of:
                follower.hold(crowded)

    def _tell(self, changes: Sequence[MarketChanged]) -> None:
        for run, cursor in _runs(changes, self.board.cursor):
            self._tell_run(run, cursor)
        self.cursor = self.board.cursor
        if self._ahead:
            for follower in [one for one, cursor in self._ahead.items() if cursor <= self.cursor]:
                follower.drain()

    def _tell_run(self, run: Sequence[MarketChanged], cursor: int) -> None:
        self.cursor = cursor
        self._made.clear()
        concerned: dict[Group, list[MarketChanged]] = {}
        for change in run:
            for group in self._of_market.get(change.market_id, ()):
                concerned.setdefault(group, []).append(change)
            for group in self._of_event.get(change.event_id, ()):
                if change.market_id not in group.interest.markets:
                    concerned.setdefault(group, []).append(change)
        now_s = _now_s()
        for group, changes in concerned.items():
            self._pushes += len(group.boxed) + len(group.prompt)
            if group.boxed:
                _offer(group.boxed, changes, cursor)
            if group.prompt:
                group.told_at_s = now_s
                frame = self.frame_of(Parcel(cursor, changes, None))
                self.frames_sent += len(group.prompt)
                for send in tuple(group.prompt.values()):  # one who turns out slow leaves it meanwhile
                    send(frame)
                if self.crowded and any(change.status != MarketStatus.ACTIVE for change in changes):
                    for follower in group.prompt:
                        follower.hold(False)  # which lets go of what is held
                        follower.hold(True)
        self._pushing_s += _now_s() - now_s

    def _place(self, follower: Follower) -> None:
        group = self._group_of.get(follower)
        if group is None:
            return
        if follower.outbox is not None:
            group.prompt.pop(follower, None)
            group.boxed[follower] = None
        else:
            group.boxed.pop(follower, None)
            group.prompt[follower] = follower.send
        self._pace(follower, follower.conflate_ms)

    def _pace(self, follower: Follower, conflate_ms: int) -> None:
        pace = self._pace_of.get(follower)
        if pace is not None and pace.ms != conflate_ms:
            del self._pace_of[follower]
            if pace.drop(follower):
                del self._paces[pace.ms]
        if conflate_ms:
            pace = self._paces.get(conflate_ms) or self._paces.setdefault(conflate_ms, Pace(conflate_ms))
            self._pace_of[follower] = pace
            pace.add(follower)

    def _known(self, interest: Interest) -> Interest:
        """Return `interest` in the words that the board holds already, where it does."""
        held = (self.board.market(market_id) for market_id in interest.markets)
        known = {market.market_id for market in held if market is not None}
        return Interest(frozenset(known | interest.markets), interest.events)


class _Overheard:
    def __init__(self, stream: OddsStream, hub: Hub) -> None:
        self._stream, self._hub = stream, hub

    async def follow(self) -> AsyncIterator[Image | Sequence[Change]]:
        async for told in self._stream.follow():
            self._hub.take(told)
            yield told


def _offer(boxed: Iterable[Follower], changes: Sequence[MarketChanged], cursor: int) -> None:
    for follower in tuple(boxed):
        outbox = follower.outbox
        if outbox is None:
            raise Fault("who is boxed has an outbox")
        asked = follower.conflate_ms > 0 and follower.writable
        outbox.offer(changes, cursor, Conflated.ASKED if asked else Conflated.SLOW_READER)
        if asked and outbox.urgent:
            follower.drain(stops_only=True)


def _runs(changes: Sequence[MarketChanged], cursor: int) -> Iterator[tuple[Sequence[MarketChanged], int]]:
    """Yield `changes` in runs of `FRAME_BYTES_MAX` at most, each with the cursor up to which it goes."""
    first = size = 0
    for number, change in enumerate(changes):
        size += len(change.body)
        if size > FRAME_BYTES_MAX and number > first:
            yield changes[first:number], changes[number - 1].cursor
            first, size = number, len(change.body)
    if first < len(changes):
        yield changes[first:], cursor


def _drop(index: dict[Key, set[Group]], key: Key, group: Group) -> None:
    groups = index[key]
    groups.discard(group)
    if not groups:
        del index[key]


def _now_s() -> float:
    return asyncio.get_running_loop().time()
