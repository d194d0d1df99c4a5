"""One connection's subscriptions: images, resumes, changes, heartbeats, whatever it is that carries them.

Invariant: a subscription is answered by an image or by what was missed, then come its changes; nothing is made for
a connection that can't be written to. The cursor told holds for the subscriptions that have been answered.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from touchline.core.errors import Code, Rejection
from touchline.core.outbox import Outbox
from touchline.edge.push.followers import Interest
from touchline.edge.push.hub import AHEAD_S, FRAME_BYTES_MAX, Hub
from touchline.wire.stream_v1 import (
    HEARTBEAT_MS,
    NAMED_MAX,
    SUBSCRIPTIONS_MAX,
    ResumeV1,
    ServerMessage,
    SubscribeV1,
    SubscriptionId,
    image_to_wire,
    interest_of,
    resume_of,
    resumed_to_wire,
)


@dataclass(frozen=True, slots=True)
class _Owed:
    """An answer that a subscription waits for, since `asked_s`."""

    resume: ResumeV1 | None
    asked_s: float


class Subscriber:
    """A `Follower` over whatever `send` writes to; `pause` and `resume` say when that is full and when not."""

    __slots__ = (
        "_heartbeat_s",
        "_hub",
        "_owed",
        "_subscriptions",
        "_told_at_s",
        "caught_up",
        "conflate_ms",
        "hold",
        "interest",
        "outbox",
        "send",
        "writable",
    )

    def __init__(
        self, hub: Hub, send: Callable[[bytes], None], hold: Callable[[bool], None] | None = None
    ) -> None:
        self.send = send
        self.hold = hold or _nothing
        self.caught_up: Callable[[], None] = _nothing  # called when all that waited has been sent
        self.outbox: Outbox | None = None
        self.conflate_ms = 0
        self.writable = True
        self.interest = Interest()
        self._hub = hub
        self._heartbeat_s = HEARTBEAT_MS / 1000
        self._told_at_s = _now_s()
        self._subscriptions: dict[SubscriptionId, Interest] = {}
        self._owed: dict[SubscriptionId, _Owed] = {}
        hub.join(self, self.interest)
        if hub.crowded:
            self.hold(True)

    def __contains__(self, subscription_id: SubscriptionId) -> bool:
        return subscription_id in self._subscriptions

    def __len__(self) -> int:
        return len(self._subscriptions)

    def subscribe(self, request: SubscribeV1) -> None:
        """Follow what `request` names, in place of what was asked for under the same id.

        Raises:
            Rejection: MALFORMED: more than a connection may have; UNAVAILABLE: more than all together may.
        """
        others = {key: one for key, one in self._subscriptions.items() if key != request.id}
        interest = Interest(*interest_of(request))
        named = sum(len(one.markets) + len(one.events) for one in (*others.values(), interest))
        if len(others) >= SUBSCRIPTIONS_MAX:
            detail = f"a connection has at most {SUBSCRIPTIONS_MAX} subscriptions"
            raise Rejection(Code.MALFORMED, detail, id=request.id)
        if named > NAMED_MAX:
            detail = f"a connection names at most {NAMED_MAX} markets and events"
            raise Rejection(Code.MALFORMED, detail, id=request.id)
        if not self._hub.has_room_for(interest):
            detail = "too many markets and events that are not known here are followed just now"
            raise Rejection(Code.UNAVAILABLE, detail, id=request.id, retry_after_s=1)
        if request.conflate_ms is not None:
            self.conflate_ms = request.conflate_ms
        if request.heartbeat_ms is not None:
            self._heartbeat_s = request.heartbeat_ms / 1000
        self._subscriptions[request.id] = interest
        self._owed.pop(request.id, None)
        self._owed[request.id] = _Owed(resume_of(request), _now_s())
        self._follow()

    def unsubscribe(self, subscription_id: SubscriptionId) -> None:
        """Follow no longer what was asked for under an id.

        Raises:
            Rejection: NOT_FOUND: there is no such subscription.
        """
        if self._subscriptions.pop(subscription_id, None) is None:
            raise Rejection(Code.NOT_FOUND, "there is no such subscription", id=subscription_id)
        self._owed.pop(subscription_id, None)
        self._follow()

    def leave(self) -> None:
        """Follow nothing any more, and hold on to nothing of the connection, which holds on to this."""
        self._subscriptions.clear()
        self._owed.clear()
        self._hub.leave(self)
        self.send = self.hold = self.caught_up = _nothing

    def pause(self) -> None:
        """Let what comes wait: no more can be written for now."""
        self.writable = False
        self._hub.box(self)

    def resume(self) -> None:
        """Go on, with the latest of all that waits."""
        self.writable = True
        self.drain()

    def say(self, message: ServerMessage, cursor: int | None = None) -> None:
        """Send a message to this subscriber alone."""
        self._told_at_s = _now_s()
        self.send(self._hub.frame(message, self._hub.cursor if cursor is None else cursor))

    def begin_anew(self) -> None:
        """See `Follower`."""
        now_s = _now_s()
        self._owed = {key: self._owed.get(key) or _Owed(None, now_s) for key in self._subscriptions}
        self.outbox = None
        self._hub.box(self)
        self.drain()

    def beat(self, now_s: float, quiet_since_s: float, *, at_once: bool) -> None:
        """See `Follower`."""
        quiet_since_s = max(self._told_at_s, quiet_since_s if self.outbox is None else 0.0)
        if not self.writable or self._owed or not self._subscriptions:
            return
        if not at_once and now_s < quiet_since_s + self._heartbeat_s:
            return
        self._told_at_s = now_s
        waits = self.outbox is not None and len(self.outbox) > 0
        self.send(self._hub.heartbeat_of(self.outbox.cursor if self.outbox and waits else self._hub.cursor))

    def drain(self, *, stops_only: bool = False) -> None:
        """See `Follower`."""
        if not self._answerable():
            return
        outbox = self.outbox
        while self.writable and outbox is not None:
            parcel = outbox.take(FRAME_BYTES_MAX, stops_only=stops_only)
            if parcel is None:
                break
            self._told_at_s = _now_s()
            self._hub.frames_sent += 1
            self.send(self._hub.frame_of(parcel))
        while self.writable and self._owed and not stops_only:
            key = next(iter(self._owed))
            self._answer(key, self._owed.pop(key))
        if not self.writable or stops_only:
            return
        if outbox is not None and not self.conflate_ms:
            self._hub.unbox(self)
        self.caught_up()

    def _follow(self) -> None:
        """Take the place in the hub of one who follows all that is subscribed to, and send what is owed."""
        interest = Interest()
        for one in self._subscriptions.values():
            interest = interest.joined(one) if interest.markets or interest.events else one
        self.interest = self._hub.join(self, interest)
        for key, one in self._subscriptions.items():
            if one == self.interest:
                self._subscriptions[key] = self.interest  # held once, however many follow the same
        self._hub.box(self)
        self.drain()

    def _answerable(self) -> bool:
        """Tell whether what is owed can be told; where it can't yet, be called again when it can.

        A change that waits, and that an image is to tell of, waits no longer.
        """
        hub, board = self._hub, self._hub.board
        for owed in self._owed.values():
            resume = owed.resume
            ahead = resume is not None and resume.epoch == board.epoch and resume.cursor > hub.cursor
            if resume is not None and ahead and _now_s() < owed.asked_s + AHEAD_S:
                hub.await_cursor(self, resume.cursor)
                return False
        hub.await_no_cursor(self)
        if self.outbox is not None and len(self.outbox) > 0:
            answered = [one for key, one in self._subscriptions.items() if key not in self._owed]
            self.outbox.keep(lambda change: any(one.wants(change) for one in answered))
        return True

    def _answer(self, key: SubscriptionId, owed: _Owed) -> None:
        hub, resume, interest = self._hub, owed.resume, self._subscriptions[key]
        if resume is not None and resume.epoch == hub.board.epoch and resume.cursor <= hub.cursor:
            missed = [market for market in hub.markets_of(interest) if market.cursor > resume.cursor]
            hub.resumes_served += 1
            self.say(resumed_to_wire(key, resume.epoch, hub.cursor, missed, stale_since=hub.stale_since))
            return
        hub.images_sent += 1
        self._told_at_s = _now_s()
        refused = resume is not None
        alike = ("image", key, interest, refused, hub.cursor)
        self.send(hub.made_once(alike, lambda: _image(hub, key, interest, refused_resume=refused), hub.cursor))


def _image(hub: Hub, key: SubscriptionId, interest: Interest, *, refused_resume: bool) -> ServerMessage:
    markets = hub.markets_of(interest)
    known = {market.market_id for market in markets}
    return image_to_wire(
        key,
        hub.board.epoch,
        hub.cursor,
        markets,
        unknown=sorted(interest.markets - known),
        refused_resume=refused_resume,
        stale_since=hub.stale_since,
    )


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _nothing(*_told: object) -> None:
    return
