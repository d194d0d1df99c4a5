"""One WebSocket of the gateway: RFC 6455 beyond what picows sees to, and the words of `wire.stream_v1`.

Invariant: what a peer sends costs no more than `FRAMES_A_SECOND` and `MESSAGE_BYTES_MAX` let it; what it does not
read costs no more than `WRITE_BYTES_MAX`, a frame, and one change a market.
"""

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Final, Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from touchline.core.errors import Code, Rejection
from touchline.edge.push.hub import Hub
from touchline.edge.push.own_bets import OwnBets, Watch
from touchline.edge.push.subscriber import Subscriber
from touchline.wire.stream_v1 import (
    MESSAGE_BYTES_MAX,
    SubscribeV1,
    SubscriptionId,
    read_request,
    refusal_to_wire,
)

WRITE_BYTES_MAX: Final = 32_768  # written and not yet taken by the kernel: beyond it a reader is slow
WRITE_BYTES_LOW: Final = 8_192  # he is no longer when this is left
FRAMES_A_SECOND: Final = 50
FRAMES_AT_ONCE_MAX: Final = 200
SUBSCRIBE_COST: Final = 5  # in frames: an image is made for each
UNREAD_S: Final = 30.0  # nothing of what was written is read
SILENT_S: Final = 60.0  # not even a ping is answered
PING_AFTER_S: Final = 25.0
UNSUBSCRIBED_S: Final = 60.0
CLOSING_S: Final = 2.0  # until a peer has answered a close
_log = logging.getLogger("touchline.gateway")


class Connections(Protocol):
    """What a connection knows of its gateway."""

    hub: Hub
    own_bets: OwnBets

    def connected(self, connection: "Connection") -> None:
        """Count a connection."""

    def disconnected(self, connection: "Connection") -> None:
        """Count it no more."""


class Connection(WSListener):
    """A client, from the handshake to the end."""

    __slots__ = (
        "_fragments",
        "_frames_left",
        "_gateway",
        "_opcode",
        "_pinged",
        "_since_s",
        "_subscriber",
        "_transport",
        "_unread_since_s",
        "_watch",
        "closing",
        "heard_at_s",
    )

    def __init__(self, gateway: Connections) -> None:
        self._gateway = gateway
        self._transport: WSTransport
        self._subscriber: Subscriber
        self._watch: Watch | None = None
        self._fragments: bytearray | None = None  # of a message that comes in several frames
        self._opcode = WSMsgType.TEXT
        self._frames_left = float(FRAMES_AT_ONCE_MAX)
        self._unread_since_s: float | None = None
        self._pinged = False
        self._since_s = self.heard_at_s = _now_s()
        self.closing = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """See picows."""
        self._transport = transport
        under = transport.underlying_transport
        under.set_write_buffer_limits(WRITE_BYTES_MAX, WRITE_BYTES_LOW)
        # Frames are made here, once for all who get them; where they wait, it is without a copy. aiofastnet's way
        # of writing without looking at what it is given saves a twentieth of what a push costs.
        write = getattr(under, "write_nocheck", under.write)
        self._subscriber = Subscriber(self._gateway.hub, write, self._hold)
        self._subscriber.caught_up = self._caught_up
        self._gateway.connected(self)

    def on_ws_disconnected(self, _transport: WSTransport) -> None:
        """See picows."""
        self.closing = True
        self._leave()
        self._gateway.disconnected(self)

    def pause_writing(self) -> None:
        """See asyncio: the write buffer is full."""
        self._unread_since_s = _now_s()
        self._subscriber.pause()

    def resume_writing(self) -> None:
        """See asyncio: the write buffer has room."""
        self._unread_since_s = None
        if not self.closing:
            self._subscriber.resume()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """See picows. Whatever comes after a close is passed over.

        Where picows has found what is no WebSocket it has sent a close by itself, and what came with that, before
        and after, is told here all the same.
        """
        handshake = transport.close_handshake
        if not self.closing and handshake is not None and handshake.sent is not None:
            self._begin_to_close()
        if self.closing:
            if frame.msg_type == WSMsgType.CLOSE:
                self._transport.disconnect()
            return
        try:
            self._take(frame)
        except Exception:
            _log.exception("a connection failed")
            self.close(WSCloseCode.INTERNAL_ERROR, "something went wrong here, and is on record")

    def close(self, code: WSCloseCode, reason: str) -> None:
        """Say that this ends, and why; the peer has `CLOSING_S` to answer."""
        if self.closing:
            return
        self._begin_to_close()
        self._transport.send_close(code, reason)

    def sweep(self, now_s: float) -> None:
        """End a connection that is dead, or that nobody uses; ask one that is silent whether it lives."""
        unread_since_s = self._unread_since_s
        if unread_since_s is not None and now_s > unread_since_s + UNREAD_S:
            self._transport.disconnect(False)  # a close would wait behind all that is not read
        elif now_s > self.heard_at_s + SILENT_S:
            self.close(WSCloseCode.GOING_AWAY, "no answer to pings")
        elif not self._subscriber and now_s > self._since_s + UNSUBSCRIBED_S:
            self.close(WSCloseCode.POLICY_VIOLATION, "no subscription")
        elif now_s > self.heard_at_s + PING_AFTER_S and not self._pinged and self._subscriber.writable:
            self._pinged = True
            self._transport.send_ping()

    def _take(self, frame: WSFrame) -> None:
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(WSCloseCode.PROTOCOL_ERROR, "reserved bits are set, and no extension was agreed on")
        elif kind == WSMsgType.CLOSE:
            self._answer_close(frame.get_payload_as_bytes())
        elif not self._afford(1):
            self._refuse(Rejection(Code.RATE_LIMITED, f"at most {FRAMES_A_SECOND} frames a second"))
            self.close(WSCloseCode.POLICY_VIOLATION, "too many frames")
        elif kind == WSMsgType.PING:
            if self._subscriber.writable:  # section 5.5.3: an endpoint may answer the latest only
                self._transport.send_pong(frame.get_payload_as_bytes())
        elif kind != WSMsgType.PONG:
            self._gather(frame)

    def _gather(self, frame: WSFrame) -> None:
        """Put fragments together (RFC 6455, section 5.4)."""
        going_on = frame.msg_type == WSMsgType.CONTINUATION
        if going_on != (self._fragments is not None):
            self.close(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        if not going_on:
            self._opcode = frame.msg_type
        payload = frame.get_payload_as_bytes()
        if self._fragments is not None:
            self._fragments += payload
        elif not frame.fin:
            self._fragments = bytearray(payload)
        if self._fragments is not None:
            if len(self._fragments) > MESSAGE_BYTES_MAX:
                self.close(WSCloseCode.MESSAGE_TOO_BIG, f"a message of more than {MESSAGE_BYTES_MAX} bytes")
                return
            if not frame.fin:
                return
            payload, self._fragments = bytes(self._fragments), None
        if self._opcode != WSMsgType.TEXT:
            self.close(WSCloseCode.UNSUPPORTED_DATA, "messages are text")
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self.close(WSCloseCode.INVALID_TEXT, "text that is no UTF-8")
            return
        self._hear(text)

    def _hear(self, text: str) -> None:
        try:
            request = read_request(text)
            if isinstance(request, SubscribeV1):
                self._subscribe(request)
            else:
                self._unwatch(request.id)
                self._subscriber.unsubscribe(request.id)
        except Rejection as refused:
            self._refuse(refused)

    def _subscribe(self, request: SubscribeV1) -> None:
        if not self._afford(SUBSCRIBE_COST):
            detail = f"at most {FRAMES_A_SECOND // SUBSCRIBE_COST} subscriptions a second"
            raise Rejection(Code.RATE_LIMITED, detail, id=request.id, retry_after_s=1)
        watch = None
        if request.bets:
            watch = self._gateway.own_bets.watch(self._subscriber, request.id, request.token)
        try:
            self._subscriber.subscribe(request)
        except Rejection:
            if watch is not None:
                self._gateway.own_bets.leave(watch)
            raise
        if watch is not None and self._watch is not None:
            self._gateway.own_bets.leave(self._watch)
        elif watch is None:
            self._unwatch(request.id)  # the same id asked for bets before
        self._watch = watch or self._watch

    def _unwatch(self, subscription_id: SubscriptionId) -> None:
        if self._watch is not None and self._watch.subscription_id == subscription_id:
            self._gateway.own_bets.leave(self._watch)
            self._watch = None

    def _answer_close(self, payload: bytes) -> None:
        """Echo a close (section 5.5.1); picows has refused other codes that must not be sent (section 7.4)."""
        code = int.from_bytes(payload[:2], "big")
        self._begin_to_close()
        if payload and (code in (0, WSCloseCode.ABNORMAL_CLOSURE.value) or code > 4_999):
            self._transport.send_close(WSCloseCode.PROTOCOL_ERROR, "no code that a close can carry")
        elif payload:
            self._transport.send(WSMsgType.CLOSE, payload)
        else:
            self._transport.send_close(WSCloseCode.OK)
        self._transport.disconnect()

    def _refuse(self, refused: Rejection) -> None:
        if self._subscriber.writable:
            self._subscriber.say(refusal_to_wire(refused))
        else:  # whoever asks for more while he reads nothing is not told what is wrong with it
            self.close(WSCloseCode.POLICY_VIOLATION, "requests that can't be answered")

    def _afford(self, frames: int) -> bool:
        """Take some of the frames that a peer may send; False where he has used them up."""
        now_s = _now_s()
        gained = (now_s - self.heard_at_s) * FRAMES_A_SECOND
        self.heard_at_s, self._pinged = now_s, False
        self._frames_left = min(float(FRAMES_AT_ONCE_MAX), self._frames_left + gained) - frames
        return self._frames_left >= 0

    def _hold(self, held: bool) -> None:
        """Let the kernel hold a small frame back until those before it are acknowledged (RFC 896), or not."""
        connected = self._transport.underlying_transport.get_extra_info("socket")
        with suppress(OSError):  # of a connection that is breaking, which is told elsewhere
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not held)

    def _caught_up(self) -> None:
        if self._watch is not None:
            self._gateway.own_bets.go_on(self._watch)

    def _begin_to_close(self) -> None:
        """Send nothing more but a close; where that is not read, or not answered, this ends without."""
        self.closing = True
        self._leave()
        asyncio.get_running_loop().call_later(CLOSING_S, self._transport.disconnect, False)

    def _leave(self) -> None:
        self._subscriber.leave()
        if self._watch is not None:
            self._gateway.own_bets.leave(self._watch)
            self._watch = None


def _now_s() -> float:
    return asyncio.get_running_loop().time()
