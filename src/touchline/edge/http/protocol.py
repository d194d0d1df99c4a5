"""A pod's end of an HTTP connection: uvicorn's, with a shorter way out for the answers of the table of operations.

Invariant: uvicorn reads every request and keeps the connection's order; what is shorter is only the way back: an
answer that is whole goes out in one write, and one that is at hand before anything is made to wait for it. Who
does not read what he asked for is cut off, whatever answers him.
"""

import asyncio
import logging
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from touchline.edge.http.app import HttpApp, Receive, Scope, written
from touchline.edge.http.operations import Reply

BODILESS: Final = frozenset({204, 304})
UNREAD_S: Final = 30.0  # in which too little is read of an answer that waits
CLOSING_S: Final = 2.0  # the same, once the server stops
_AT_HAND: Final = (
    STATUS_LINE[200]
    + b"".join(b"%b: %b\r\n" % header for header in written(Reply(b""))[0] if header[0] != b"content-length")
    + b"content-length: "
)
_log = logging.getLogger("touchline.http")


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
        self._unread: asyncio.TimerHandle | None = None
        self._dated: list[tuple[bytes, bytes]] | None = None  # what `_date` was made of
        self._date = b""

    def on_message_begin(self) -> None:
        """See httptools. What an answer at hand has no need of is made where there is none."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """See httptools."""
        parser = self.parser
        if (
            parser.get_method() == b"GET"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
            and not self.transport.is_closing()
        ):
            body = self._at_hand(self.url, self.headers)
            if body is not None:
                self._is_answered = True
                self.transport.write(b"%b%d\r\n%b\r\n%b" % (_AT_HAND, len(body), self._defaults(), body))
                return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.scope["headers"] = self.headers = headers
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._is_answered:
            self._is_answered = False
            self.on_response_complete()
            return
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

    def shutdown(self) -> None:
        """See uvicorn: the server stops, and waits for its connections."""
        super().shutdown()
        if self.flow.write_paused:
            self._forget_unread()
            self._unread = self.loop.call_later(CLOSING_S, self.transport.abort)

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self.loop.create_task(self._answer(cycle, app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _answer(self, cycle: RequestResponseCycle, app: Any) -> None:
        try:
            await self._reply(cycle, app)
        except Exception:  # an answer that can't be written: whoever waits for it shall not do so for ever
            _log.exception("%s %s failed", cycle.scope["method"], cycle.scope["path"])
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
