"""A pod's end of an HTTP connection: uvicorn's, with a shorter way out for the answers of the table of operations.

Invariant: uvicorn reads every request and keeps the connection's order, and one task of the connection's answers
them. Shorter is the way of a request that came whole, of which nothing is waited for, and the way back: an answer
goes out in one write, and one that is at hand before anything is made to wait for it. Who does not read what he
asked for is cut off, whatever answers him.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn._types import HTTPRequestEvent, HTTPScope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from touchline.edge.http.app import HttpApp, Receive, Scope, written
from touchline.edge.http.operations import Reply

BODILESS: Final = frozenset({204, 304})
UNREAD_S: Final = 30.0  # in which too little is read of an answer that waits
CLOSING_S: Final = 2.0  # the same, once the server stops
LAST_S: Final = 1.0  # in which what was on its way on an idle connection comes, once the server stops
_AT_HAND: Final = (
    STATUS_LINE[200]
    + b"".join(b"%b: %b\r\n" % header for header in written(Reply(b""))[0] if header[0] != b"content-length")
    + b"content-length: "
)
_log = logging.getLogger("touchline.http")


class _Whole(RequestResponseCycle):
    """A request that came whole, in the place of uvicorn's cycle, with only what the table and its answer need."""

    message_event = asyncio.Event()  # nobody waits for it
    disconnected = response_started = response_complete = waiting_for_100_continue = False

    def __init__(
        self,
        method: bytes,
        path: bytes,
        query: bytes,
        headers: list[tuple[bytes, bytes]],
        keep_alive: bool,
        on_response: Callable[[], None],
    ) -> None:
        asked = {"method": method.decode(), "raw_path": path, "query_string": query, "headers": headers}
        self.scope = cast(HTTPScope, asked)
        self.keep_alive = keep_alive
        self.on_response = on_response
        self.body = bytearray()

    async def receive(self) -> HTTPRequestEvent:
        """See the ASGI specification."""
        return {"type": "http.request", "body": bytes(self.body), "more_body": False}


class PodProtocol(HttpToolsProtocol):
    """The protocol of a server whose application is an `HttpApp`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._table = cast(HttpApp, config.app)  # without what uvicorn wraps it in, which only pages need
        self._at_hand = self._table.lanes.answer
        self._is_answered = False
        self._is_last = False  # whether the server stops: what is asked now is the last
        self._whole: _Whole | None = None  # whose body has not all come
        self._due: tuple[RequestResponseCycle, Any] | None = None  # what the worker answers next
        self._worker: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None  # what the worker waits for
        self._unread: asyncio.TimerHandle | None = None
        self._dated: list[tuple[bytes, bytes]] | None = None  # what `_date` was made of
        self._date = b""

    def on_message_begin(self) -> None:
        """See httptools. What an answer at hand has no need of is made where there is none."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        super().data_received(data)
        if self._whole is not None:  # it did not come whole
            begun, self._whole = bytes(self._whole.body), None
            self._begin_cycle()
            if begun:
                super().on_body(begun)

    def on_headers_complete(self) -> None:
        """See httptools."""
        parser = self.parser
        if (
            parser.get_http_version() != "1.1"
            or self.expect_100_continue
            or parser.should_upgrade()
            or self.transport.is_closing()
        ):
            self._begin_cycle()
            return
        method, keep_alive = parser.get_method(), parser.should_keep_alive() and not self._is_last
        if (
            method == b"GET"
            and keep_alive
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
        ):
            body = self._at_hand(self.url, self.headers)
            if body is not None:
                self._is_answered = True
                self.transport.write(b"%b%d\r\n%b\r\n%b" % (_AT_HAND, len(body), self._defaults(), body))
                return
        path, _, query = self.url.partition(b"?")
        if self._table.has(path):
            self._whole = _Whole(method, path, query, self.headers, keep_alive, self.on_response_complete)
        else:
            self._begin_cycle()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        if self._whole is not None:
            self._whole.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._is_answered:
            self._is_answered = False
            self.on_response_complete()
        elif self._whole is not None:
            before, self.cycle, self._whole = self.cycle, self._whole, None
            if before is None or before.response_complete:
                self._start_asgi_task(self.cycle, self.app)
            else:
                self.flow.pause_reading()
                self.pipeline.appendleft((self.cycle, self.app))
        else:
            super().on_message_complete()

    def pause_writing(self) -> None:
        """See asyncio: more waits to be read than should."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio."""
        super().resume_writing()
        self._forget_unread()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        super().connection_lost(exc)
        self._forget_unread()
        self._wake()

    def shutdown(self) -> None:
        """See uvicorn: the server stops, and waits for its connections; an idle one may be used once more."""
        self._is_last = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_S, super().shutdown)
        else:
            super().shutdown()
        if self.flow.write_paused:
            self._forget_unread()
            self._unread = self.loop.call_later(CLOSING_S, self.transport.abort)

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _begin_cycle(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.scope["headers"] = self.headers = headers
        super().on_headers_complete()
        if self._is_last and self.cycle is not None:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._due = (cycle, app)
        if self._worker is None:
            self._worker = self.loop.create_task(self._work())
            self.tasks.add(self._worker)
        else:
            self._wake()

    def _wake(self) -> None:
        if self._idle is not None and self._worker is not None:
            self.tasks.add(self._worker)
            self._idle.set_result(None)
            self._idle = None

    async def _work(self) -> None:
        """Answer what is due, one after the other, until the connection is lost."""
        worker = cast(asyncio.Task[None], self._worker)
        try:
            while self._due is not None:
                (cycle, app), self._due = self._due, None
                await self._answer(cycle, app)
                if self._due is None and self.parser is not None:  # else the connection is lost
                    self._idle = self.loop.create_future()
                    self.tasks.discard(worker)
                    await self._idle
        finally:
            self.tasks.discard(worker)

    async def _answer(self, cycle: RequestResponseCycle, app: Any) -> None:
        try:
            await self._reply(cycle, app)
        except Exception:  # an answer that can't be written: whoever waits for it shall not do so for ever
            _log.exception("%s %s failed", cycle.scope["method"], cycle.scope["raw_path"].decode("latin-1"))
            self.transport.close()

    async def _reply(self, cycle: RequestResponseCycle, app: Any) -> None:
        reply = await self._table.reply(cast(Scope, cycle.scope), cast(Receive, cycle.receive))
        if reply is None:
            await cycle.run_asgi(app)
            return
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected:
            return
        headers, body = written(reply)
        head = [STATUS_LINE[reply.status], self._defaults()]
        head += [b"%b: %b\r\n" % header for header in headers]
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        if reply.content is None and reply.status not in BODILESS:
            head.append(b"content-length: 0\r\n")
        head.append(b"\r\n")
        if cycle.scope["method"] != "HEAD":
            head.append(body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        self.transport.write(b"".join(head))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def _defaults(self) -> bytes:
        if self._dated is not self.server_state.default_headers:
            self._dated = self.server_state.default_headers
            self._date = b"".join(b"%b: %b\r\n" % header for header in self._dated)
        return self._date
