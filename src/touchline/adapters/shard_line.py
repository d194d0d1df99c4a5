"""One connection to a shard's writer that all requests of a process share.

Invariant: nothing is asked before the writer has proved that it knows the platform's secret and has the shard that
it was taken for. An answer goes to the request of its number or, where nobody waits for it any more, to nobody.
"""

import asyncio
import hmac
import secrets
import socket
from typing import Any, Final, cast

import msgspec

from touchline.core.errors import Code, Outage, Rejection
from touchline.wire.frames import FRAME_BYTES_MAX, Splitter, put
from touchline.wire.hello_v1 import (
    HELLO_BYTES_MAX,
    NONCE_BYTES,
    ChallengeV1,
    ProofV1,
    WelcomeV1,
    pod_signature,
    writer_signature,
)
from touchline.wire.shards_v1 import AnswerV1, CallV1, PingV1, RequestV1, decode_reply

UNSENT_BYTES_MAX: Final = 4 * 1024 * 1024  # requests that the writer's machine has not taken yet
AT_ONCE_MAX: Final = 32  # requests of one turn of the loop that go out together: meanwhile the writer is idle
LOOK_S: Final = 0.1
SILENCE_S: Final = 1.0  # then it is asked whether it is there
DEAD_S: Final = 3.0  # then it is not

_decode_hello: Final = msgspec.msgpack.Decoder(ChallengeV1 | WelcomeV1).decode
_PING: Final = PingV1()
_NOBODY: Final = (None, 0.0)


class Lost(Exception):
    """The connection is gone, and with it the answer; never leaves the adapters."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__()
        self.begun = begun  # whether the request may have reached the writer


async def connect(address: str, shard: int, shards: int, key: bytes) -> "Line":
    """Return a line to the writer of `shard` at `address`, HOST:PORT.

    Raises:
        Lost: whoever is there is not that writer, or let go at once.
        OSError: nobody is there.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise Lost(begun=False)
    _, line = await asyncio.get_running_loop().create_connection(
        lambda: Line(address, (shard, shards), key), host, int(port)
    )
    try:
        await line.welcomed
    except BaseException:
        line.give_up()
        raise
    return line


class Line(asyncio.Protocol):
    """The connection, once `welcomed` is done."""

    def __init__(self, address: str, wanted: tuple[int, int], key: bytes) -> None:
        self.address = address
        self.lost = False
        self._wanted = wanted  # the shard, and of how many
        self._key = key
        self._loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[None] = self._loop.create_future()
        self._due_signature = b""
        self._splitter = Splitter(HELLO_BYTES_MAX)
        self._waiting: dict[int, tuple[asyncio.Future[AnswerV1], float]] = {}
        self._number = self._sent = 0  # the last request made, and the last that went out
        self._out = bytearray()
        self._full = self._retired = False
        self._heard_at = self._loop.time()
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._transport.set_write_buffer_limits(UNSENT_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._heard_at = self._loop.time()
        try:
            for body in self._splitter.feed(data):
                if self._splitter.bytes_max == FRAME_BYTES_MAX:
                    reply = decode_reply(body)
                    future, _ = self._waiting.pop(reply.number, _NOBODY)
                    if future is not None and not future.done():
                        future.set_result(reply.answer)
                else:
                    self._greet(_decode_hello(body))
            if self._retired and not self._waiting:
                self.give_up()
        except (Rejection, ValueError):  # what msgspec raises is a ValueError
            self.give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.lost = True
        if self._look is not None:
            self._look.cancel()
        if not self.welcomed.done():
            self.welcomed.set_exception(Lost(begun=False))
        for number, (future, _) in self._waiting.items():
            if not future.done():
                future.set_exception(Lost(begun=number <= self._sent))
        self._waiting.clear()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = True

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = False

    def ask(self, call: CallV1, due: float) -> asyncio.Future[AnswerV1]:
        """Return what will be the answer to `call`.

        Raises:
            Lost: the connection is gone.
            Outage: there is no answer at `due`, by the loop's clock, or too much waits to be sent.
        """
        if self.lost:
            raise Lost(begun=False)
        if self._full:
            raise Outage(f"shard {self._wanted[0]}, which takes nothing in,")
        self._number = number = self._number + 1
        self._say(RequestV1(number, call))
        if number - self._sent >= AT_ONCE_MAX:
            self._flush()
        future: asyncio.Future[AnswerV1] = self._loop.create_future()
        self._waiting[number] = (future, due)
        if self._look is None:
            self._heard_at = self._loop.time()
            self._look = self._loop.call_later(LOOK_S, self._look_for_late)
        return future

    def retire(self) -> None:
        """Close once all that wait are answered; nothing more may be asked."""
        self._retired = True
        if not self._waiting:
            self.give_up()

    def give_up(self) -> None:
        """Close at once; all that wait meet `Lost`."""
        self.lost = True
        self._transport.abort()

    def _greet(self, word: ChallengeV1 | WelcomeV1) -> None:
        if isinstance(word, ChallengeV1) and not self._due_signature:
            if (word.shard, word.shards) != self._wanted:
                raise Rejection(Code.MALFORMED, f"it has shard {word.shard} of {word.shards}")
            nonce = secrets.token_bytes(NONCE_BYTES)
            self._due_signature = writer_signature(self._key, word, nonce)
            self._say(ProofV1(nonce, pod_signature(self._key, word, nonce)))
            return
        due = self._due_signature
        if not isinstance(word, WelcomeV1) or not due or not hmac.compare_digest(word.signature, due):
            raise Rejection(Code.FORBIDDEN, "it does not know the platform's secret")
        self._splitter.bytes_max = FRAME_BYTES_MAX
        if not self.welcomed.done():
            self.welcomed.set_result(None)

    def _say(self, message: Any) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        put(self._out, message)

    def _flush(self) -> None:
        if self._out and not self.lost:
            self._sent = self._number
            self._transport.write(self._out)
        self._out = bytearray()

    def _look_for_late(self) -> None:
        """Tell those whose answers are late; give up where nothing is heard. One timer serves all that wait."""
        self._look = None
        if not self._waiting:
            return
        now = self._loop.time()
        late = [number for number, (_, due) in self._waiting.items() if due <= now]
        for number in late:
            future, _ = self._waiting.pop(number)
            if not future.done():
                future.set_exception(Outage(f"shard {self._wanted[0]}"))
        if self._retired and not self._waiting:
            self.give_up()
            return
        silent_s = now - self._heard_at
        if silent_s >= DEAD_S:
            self.give_up()
            return
        if silent_s >= SILENCE_S and not self._full:
            self._say(RequestV1(0, _PING))
        self._look = self._loop.call_later(LOOK_S, self._look_for_late)
