"""`GET /stream/sse`: the stream as server-sent events (WHATWG HTML, section 9.2), beside what else a pod answers.

Invariant: streams are at most as many as a pod was told, and what waits for a client who reads slowly is bounded
as in the gateway; who reads nothing is cut off by `PodProtocol`. A pod that leaves ends its streams, and
`Last-Event-ID` goes on elsewhere.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from touchline.core.errors import Code, Outage, Rejection
from touchline.edge.http.app import NOSNIFF, QUERY_FIELDS_MAX, Receive, Scope, Send
from touchline.edge.http.meters import Meters
from touchline.edge.http.operations import Operation, answered_before
from touchline.edge.http.service import Readiness
from touchline.edge.push.hub import Hub
from touchline.edge.push.subscriber import Subscriber
from touchline.edge.serving import Work
from touchline.wire.problems_v1 import CONTENT_TYPE, STATUS_OF_CODE, problem_of_outage, problem_of_rejection
from touchline.wire.stream_v1 import SubscribeV1, read_request

PATH: Final = "/stream/sse"
STREAMS_MAX: Final = 500  # of one pod, whose first work is to answer requests
WAITING_BYTES_MAX: Final = 32_768  # of one stream: beyond it its reader is slow
LOOK_EVERY_S: Final = 0.25
SUBSCRIPTION: Final = "sse"
QUERY: Final = {
    "markets": "ids, with commas between them",
    "events": "ids, with commas between them",
    "resume": "the cursor to go on from, where there is no Last-Event-ID",
    "conflate_ms": "send what changed once in so many milliseconds",
    "heartbeat_ms": "send a heartbeat where nothing changed for so long",
}
EVENTS: Final = Operation(
    method="GET",
    path=PATH,
    summary="Odds as they change, as server-sent events",
    handle=answered_before,
    roles=None,
    query=QUERY,
    headers={"Last-Event-ID": "the cursor to go on from"},
    answer_type="text/event-stream",
)
_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    NOSNIFF,
    (b"x-accel-buffering", b"no"),  # nginx would gather events otherwise
]
_START: Final = {"type": "http.response.start", "status": 200, "headers": _HEADERS}


class SentEvents:
    """An ASGI application that answers `PATH` from `hub` and hands everything else to `others`."""

    def __init__(self, hub: Hub, others: Any, readiness: Readiness, streams_max: int = STREAMS_MAX) -> None:
        self._hub = hub
        self._others = others
        self._readiness = readiness
        self._streams_max = streams_max
        self._streams: set[_Stream] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._others(scope, receive, send)
            return
        try:
            await self._answer(scope, receive, send)
        except Rejection as refused:
            await _refuse(send, refused.code, problem_of_rejection(refused), refused.extra.get("retry_after_s"))
        except Outage as outage:
            await _refuse(send, Code.UNAVAILABLE, problem_of_outage(outage), outage.retry_after_s)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream what is asked for.

        Raises:
            Rejection, Outage: it can't be had; nothing has been sent.
        """
        request = _asked(scope)
        if not self._hub.ready or not self._readiness.ready or len(self._streams) >= self._streams_max:
            raise Outage("this pod: it has no room, or nothing to show, or it is leaving")
        if scope["method"] == "HEAD":
            await send(_START)
            await send({"type": "http.response.body", "body": b""})
            return
        stream = _Stream(self._hub)
        self._streams.add(stream)
        try:
            stream.subscribe(request)
            await stream.run(receive, send)
        finally:
            self._streams.discard(stream)
            stream.leave()

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    def works(self) -> Mapping[str, Work]:
        """Return what goes on beside requests, for `serve`."""
        return {"heartbeats": self._hub.beat, "leaving": self.leave}

    def expose(self, meters: Meters) -> None:
        """Have `meters` expose what there is to count."""
        meters.watch("gauge", "touchline_sse_streams", "Streams of server-sent events", lambda: self.streams)

    async def leave(self) -> None:
        """End every stream whenever this pod is not ready, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self._readiness.ready:
                for stream in list(self._streams):
                    stream.end()


class _Stream:
    def __init__(self, hub: Hub) -> None:
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._news = asyncio.Event()
        self._ended = False
        self._subscriber = Subscriber(hub, self._write)

    def subscribe(self, request: SubscribeV1) -> None:
        """Have what `request` names sent.

        Raises:
            Rejection: see `Subscriber.subscribe`.
        """
        self._subscriber.subscribe(request)

    async def run(self, receive: Receive, send: Send) -> None:
        """Send what is subscribed to until the client goes, or this is ended."""
        await send(_START)
        going = asyncio.create_task(self._wait_until_gone(receive))
        try:
            while not self._ended:
                await self._news.wait()
                self._news.clear()
                while self._waiting and not self._ended:
                    await send({"type": "http.response.body", "body": self._take(), "more_body": True})
                if not self._subscriber.writable:
                    self._subscriber.resume()
            await send({"type": "http.response.body", "body": b""})
        finally:
            going.cancel()
            await asyncio.gather(going, return_exceptions=True)

    def end(self) -> None:
        """Send no more."""
        self._ended = True
        self._news.set()

    def leave(self) -> None:
        """Follow nothing any more."""
        self._subscriber.leave()

    async def _wait_until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()

    def _write(self, frame: bytes) -> None:
        self._waiting.append(frame)
        self._bytes += len(frame)
        self._news.set()
        if self._bytes > WAITING_BYTES_MAX and self._subscriber.writable:
            self._subscriber.pause()

    def _take(self) -> bytes:
        taken = b"".join(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        return taken


def _asked(scope: Scope) -> SubscribeV1:
    """Return what a request asks for, read as a message of the stream is.

    Raises:
        Rejection: METHOD_NOT_ALLOWED, or MALFORMED.
    """
    if scope["method"] not in EVENTS.methods:
        raise Rejection(Code.METHOD_NOT_ALLOWED, f"use {' or '.join(EVENTS.methods)}", allow=EVENTS.methods)
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=QUERY_FIELDS_MAX,
            errors="strict",
        )
    except ValueError:
        raise Rejection(Code.MALFORMED, "the query can't be read") from None
    query = dict(pairs)
    unknown = sorted(query.keys() - QUERY.keys())
    if unknown or len(query) != len(pairs):
        named = ", ".join(QUERY)
        raise Rejection(Code.MALFORMED, f"known query parameters: {named}; each once", field=", ".join(unknown))
    message: dict[str, Any] = {"op": "subscribe", "id": SUBSCRIPTION}
    message |= {name: query[name].split(",") for name in ("markets", "events") if query.get(name)}
    message |= {name: _number(name, query[name]) for name in ("conflate_ms", "heartbeat_ms") if name in query}
    last = next((value for name, value in scope["headers"] if name == b"last-event-id"), b"")
    resume = last.decode("latin-1") or query.get("resume")
    asked = read_request(msgspec.json.encode(message | ({"resume": resume} if resume else {})).decode())
    if not isinstance(asked, SubscribeV1):
        raise Rejection(Code.MALFORMED, "that is no subscription")
    return asked


def _number(field: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise Rejection(Code.MALFORMED, f"{field} must be a whole number", field=field)
    return int(text)


async def _refuse(send: Send, code: Code, document: bytes, retry_after_s: object = None) -> None:
    headers = [(b"cache-control", b"no-store"), NOSNIFF, (b"content-type", CONTENT_TYPE.encode())]
    headers.append((b"content-length", str(len(document)).encode()))
    if retry_after_s is not None:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    if code is Code.METHOD_NOT_ALLOWED:
        headers.append((b"allow", ", ".join(EVENTS.methods).encode()))
    await send({"type": "http.response.start", "status": STATUS_OF_CODE[code], "headers": headers})
    await send({"type": "http.response.body", "body": document})
