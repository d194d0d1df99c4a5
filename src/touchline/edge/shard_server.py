"""The door of a shard's writer: pods' requests in, many under way at once, answers out as they are ready.

Invariant: nothing of a peer that has not proved itself reaches the ledger, and what a peer costs is bounded: its
frames, its requests under way, and the answers gathered for one that does not read them.
"""

import asyncio
import hmac
import logging
import secrets
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import msgspec

from touchline.core.errors import Fault, Rejection
from touchline.edge.serving import HOST
from touchline.edge.shard_calls import BROKEN, PONG, answer_to, asked, shard_of_call
from touchline.ports.stream import Ledger
from touchline.wire.frames import FRAME_BYTES_MAX, Splitter, put
from touchline.wire.hello_v1 import (
    HELLO_BYTES_MAX,
    NONCE_BYTES,
    ChallengeV1,
    ProofV1,
    WelcomeV1,
    hello_key,
    pod_signature,
    writer_signature,
)
from touchline.wire.shards_v1 import AnswerV1, AwayV1, CallV1, LostV1, NotBegunV1, PingV1, ReplyV1, decode_request

PEERS_MAX: Final = 512
STRANGERS_MAX: Final = 64  # peers that have not proved themselves yet
HELLO_S: Final = 2.0
OF_PEER_MAX: Final = 4_096  # requests under way; more are answered with an outage at once
UNDER_WAY_MAX: Final = 16_384  # of all peers together
UNREAD_BYTES_MAX: Final = 1024 * 1024  # answers that wait for a peer to read before no more is read of it
UNREAD_S: Final = 10.0
GRACE_S: Final = 10.0
_NOT_BEGUN: Final = NotBegunV1()
_LOST: Final = LostV1()
_BUSY: Final = AwayV1("this shard: it has all the work it can do", 1)
_decode_proof: Final = msgspec.msgpack.Decoder(ProofV1).decode
_log = logging.getLogger("touchline.shards")


class ShardServer:
    """Serves one shard of `ledger` to whoever knows `secret`; `port` 0 takes one that is free.

    `serves` tells whether the shard is this process's just now; while it is not, pods look for whose it is.
    """

    def __init__(
        self,
        ledger: Ledger,
        shard: int,
        secret: str,
        *,
        serves: Callable[[], bool] = lambda: True,
        host: str = HOST,
        port: int = 0,
    ) -> None:
        self.ledger = ledger
        self.shard = shard
        self.key = hello_key(secret)
        self._serves = serves
        self._closing = False
        self.strangers = 0
        self.peers: set[_Peer] = set()
        self._at = (host, port)
        self._asked: set[asyncio.Future[Any]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def is_leaving(self) -> bool:
        """Whether nothing is to be begun here."""
        return self._closing or not self._serves()

    @property
    def under_way(self) -> int:
        """How many requests are being worked."""
        return len(self._asked)

    async def start(self) -> str:
        """Listen; returns the address for `RemoteLedger`, HOST:PORT."""
        host, port = self._at
        self._listener = await asyncio.get_running_loop().create_server(lambda: _Peer(self), host, port)
        return f"{host}:{self._listener.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Begin nothing more, answer what is under way, for `GRACE_S` at most, and let go of all peers."""
        self._closing = True
        if self._listener is not None:
            self._listener.close()
        if self._asked:
            await asyncio.wait(self._asked, timeout=GRACE_S)
        for peer in tuple(self.peers):
            peer.finish()

    def begin(self, peer: "_Peer", number: int, call: CallV1) -> None:
        """Work a request; its answer goes to `peer`, if it is still there."""
        peer.under_way += 1
        done = asked(self.ledger, call)
        self._asked.add(done)
        done.add_done_callback(partial(self._answer, peer, number, call))

    def _answer(self, peer: "_Peer", number: int, call: CallV1, done: "asyncio.Future[Any]") -> None:
        self._asked.discard(done)
        peer.under_way -= 1
        if done.cancelled():  # this process ends
            return
        answer = answer_to(call, done)
        peer.answer(number, _LOST if isinstance(answer, AwayV1) and self.is_leaving else answer)


class _Peer(asyncio.Protocol):
    def __init__(self, server: ShardServer) -> None:
        self.under_way = 0
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._challenge = ChallengeV1(server.shard, server.ledger.shards, secrets.token_bytes(NONCE_BYTES))
        self._splitter = Splitter(HELLO_BYTES_MAX)
        self._trusted = False
        self._out = bytearray()
        self._patience: asyncio.TimerHandle | None = None  # with a stranger, or with one who does not read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        server = self._server
        server.strangers += 1
        server.peers.add(self)
        if server.strangers > STRANGERS_MAX or len(server.peers) > PEERS_MAX:
            self._transport.abort()
            return
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._transport.set_write_buffer_limits(UNREAD_BYTES_MAX)
        self._patience = self._loop.call_later(HELLO_S, self._transport.abort)
        self._say(self._challenge)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.peers.discard(self)
        if not self._trusted:
            self._server.strangers -= 1
        self._lose_patience_no_more()

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._splitter.feed(data):
                if self._trusted:
                    request = decode_request(body)
                    self._take(request.number, request.call)
                else:
                    self._prove(_decode_proof(body))
                if self._transport.is_closing():
                    return
        except (Rejection, ValueError) as malformed:  # what msgspec raises is a ValueError
            _log.warning("a peer is cut off: %s", malformed)
            self._transport.abort()

    def pause_writing(self) -> None:
        self._transport.pause_reading()
        self._lose_patience_no_more()
        self._patience = self._loop.call_later(UNREAD_S, self._transport.abort)

    def resume_writing(self) -> None:
        self._lose_patience_no_more()
        self._transport.resume_reading()

    def answer(self, number: int, answer: AnswerV1) -> None:
        """Send an answer, together with those of the same turn of the loop."""
        if self._transport.is_closing():
            return
        try:
            self._say(ReplyV1(number, answer))
        except Fault:
            _log.exception("an answer can't be sent")
            self._say(ReplyV1(number, BROKEN))

    def finish(self) -> None:
        """Send what is to be sent and close."""
        self._flush()
        self._transport.close()
        self._patience = self._patience or self._loop.call_later(UNREAD_S, self._transport.abort)

    def _prove(self, proof: ProofV1) -> None:
        server = self._server
        due = pod_signature(server.key, self._challenge, proof.nonce)
        if len(proof.nonce) != NONCE_BYTES or not hmac.compare_digest(due, proof.signature):
            _log.warning("a peer is cut off: it does not know the platform's secret")
            self._transport.abort()
            return
        self._trusted = True
        server.strangers -= 1
        self._lose_patience_no_more()
        self._splitter.bytes_max = FRAME_BYTES_MAX
        self._say(WelcomeV1(writer_signature(server.key, self._challenge, proof.nonce)))

    def _take(self, number: int, call: CallV1) -> None:
        server = self._server
        if isinstance(call, PingV1):
            self.answer(number, PONG)
        elif server.is_leaving or shard_of_call(call, server.ledger.shards) != server.shard:
            self.answer(number, _NOT_BEGUN)
        elif self.under_way >= OF_PEER_MAX or server.under_way >= UNDER_WAY_MAX:
            self.answer(number, _BUSY)
        else:
            server.begin(self, number, call)

    def _say(self, message: Any) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        put(self._out, message)

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(self._out)
        self._out = bytearray()

    def _lose_patience_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
