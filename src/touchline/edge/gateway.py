"""The gateway: `GET /stream` over picows, on a port of its own beside the process's HTTP port.

Invariant: connections are at most as many as it was told, and nobody is let in before there is something to show.
At its end every client is told to connect again (1001), so that it resumes elsewhere.
"""

import asyncio
import logging
import re
import resource
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from picows import (
    WSCloseCode,
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from touchline.core.errors import Code
from touchline.core.outbox import Conflated
from touchline.edge.http.meters import Meters
from touchline.edge.http.operations import Operation, answered_before
from touchline.edge.push.connection import CLOSING_S, Connection
from touchline.edge.push.hub import Hub
from touchline.edge.push.own_bets import OwnBets
from touchline.edge.serving import Work
from touchline.ports.stream import FactLog, OddsStream
from touchline.wire.problems_v1 import CONTENT_TYPE, STATUS_OF_CODE, problem
from touchline.wire.stream_v1 import MESSAGE_BYTES_MAX

PATH: Final = b"/stream"
VERSION: Final = "13"  # of the protocol
STREAM: Final = Operation(
    method="GET",
    path=PATH.decode(),
    summary="Odds and own bets as they change, over a WebSocket (RFC 6455) of JSON messages",
    handle=answered_before,
    roles=None,
    headers={"Upgrade": "websocket", "Sec-WebSocket-Version": VERSION, "Sec-WebSocket-Key": "16 bytes in base64"},
    status=101,
)
CONNECTIONS_MAX: Final = 10_000
BACKLOG: Final = 4_096
HANDSHAKE_S: Final = 5.0
READ_BYTES: Final = 2_048  # of a connection's read buffer, which grows for a client that sends more at once
SEND_BUFFER_BYTES: Final = 32_768  # in the kernel, which doubles it: what lies there nothing can overtake
SWEEP_S: Final = 5.0
RETRY_AFTER_S: Final = 1
FILES_BESIDE: Final = 256  # open files that are no clients'
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes
_log = logging.getLogger("touchline.gateway")
_picows_log = logging.getLogger("touchline.gateway.picows")
_picows_log.setLevel(logging.CRITICAL)  # what peers do wrong is no news, and what fails here is logged here


class Gateway:
    """Serves `hub` and `own_bets` to at most `connections_max` clients at once."""

    def __init__(self, hub: Hub, own_bets: OwnBets, connections_max: int = CONNECTIONS_MAX) -> None:
        self.hub = hub
        self.own_bets = own_bets
        self.connections_max = connections_max
        self.refused = 0
        self.port = 0  # where it listens; 0 while it does not
        self._connections: set[Connection] = set()
        self._stopping = False
        self._empty = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether a client who comes now is let in, were there room for him."""
        return self.port > 0 and self.hub.ready and not self._stopping

    @property
    def connections(self) -> int:
        """How many clients there are."""
        return len(self._connections)

    def works(self, stream: OddsStream, log: FactLog, host: str, port: int) -> Mapping[str, Work]:
        """Return all that a gateway does, for `serve`; it listens at `host` and `port`."""
        return {
            "odds": lambda: self.hub.follow(stream),
            "heartbeats": self.hub.beat,
            "facts": lambda: self.own_bets.follow(log),
            "bets": self.own_bets.tell,
            "sweep": self.sweep,
            "gateway": lambda: self.serve(host, port),
        }

    def expose(self, meters: Meters) -> None:
        """Have `meters` expose what there is to count."""
        hub = self.hub
        meters.watch("gauge", "touchline_stream_connections", "Clients connected", lambda: self.connections)
        meters.watch("gauge", "touchline_stream_connections_max", "At most", lambda: self.connections_max)
        meters.watch("counter", "touchline_stream_refused", "Clients not let in", lambda: self.refused)
        meters.watch("gauge", "touchline_stream_waiting", "Clients with an outbox", lambda: hub.boxed)
        meters.watch("gauge", "touchline_stream_bettors", "Clients told of their bets", lambda: len(self.own_bets))
        meters.watch("counter", "touchline_stream_frames", "Changes' frames sent", lambda: hub.frames_sent)
        meters.watch("counter", "touchline_stream_images", "Images sent", lambda: hub.images_sent)
        meters.watch("counter", "touchline_stream_resumes", "Resumes served", lambda: hub.resumes_served)
        meters.watch("gauge", "touchline_stream_cursor", "Cursor of the last change", lambda: hub.cursor)
        stale = "Whether the odds' authority is silent"
        meters.watch("gauge", "touchline_stream_stale", stale, lambda: hub.stale_since is not None)
        crowded = "Whether prices are held back a moment, to go several at a time"
        meters.watch("gauge", "touchline_stream_crowded", crowded, lambda: hub.crowded)
        frames = hub.frames_conflated
        slow, asked = Conflated.SLOW_READER, Conflated.ASKED
        meters.watch("counter", "touchline_stream_slow_frames", "... for slow readers", lambda: frames[slow])
        meters.watch("counter", "touchline_stream_paced_frames", "... conflated as asked", lambda: frames[asked])

    async def serve(self, host: str, port: int) -> None:
        """Listen until cancelled, then say goodbye to everyone; `port` 0 takes one that is free."""
        self.connections_max = _room_for(self.connections_max)
        listener = _listener(host, port)
        server = await ws_create_server(
            self._admit,
            sock=listener,
            backlog=BACKLOG,
            websocket_handshake_timeout=HANDSHAKE_S,
            logger_name=logging.LoggerAdapter(_picows_log),
            enable_auto_pong=False,
            max_frame_size=MESSAGE_BYTES_MAX,
            read_buffer_init_size=READ_BYTES,
        )
        self.port = listener.getsockname()[1]
        try:
            await asyncio.Event().wait()
        finally:
            self._stopping = True
            server.close()
            await self._say_goodbye()
            self.port = 0

    async def sweep(self) -> None:
        """End connections that are dead, and watches whose tokens are no longer good; for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            self.own_bets.check_tokens()
            for connection in list(self._connections):
                connection.sweep(loop.time())

    def connected(self, connection: Connection) -> None:
        """See `Connections`."""
        self._connections.add(connection)

    def disconnected(self, connection: Connection) -> None:
        """See `Connections`."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def _admit(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        if request.path.partition(b"?")[0] != PATH:
            return _refusal(Code.NOT_FOUND, "there is nothing at this address")
        if not _is_handshake(request.headers):
            wanted = {"Sec-WebSocket-Version": VERSION}
            return _refusal(Code.MALFORMED, f"ask for a WebSocket of version {VERSION} (RFC 6455)", wanted)
        if not self.ready or self.connections >= self.connections_max:
            self.refused += 1
            detail = "no room here just now" if self.ready else "nothing to show here yet, or no more"
            return _refusal(Code.UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)})
        request.headers["connection"] = "upgrade"  # picows wants it to be that alone
        return Connection(self)

    async def _say_goodbye(self) -> None:
        for connection in list(self._connections):
            connection.close(WSCloseCode.GOING_AWAY, "the gateway stops: connect again and resume")
        if self._connections:
            self._empty.clear()
            with suppress(TimeoutError):  # each ends its connection itself after `CLOSING_S`
                async with asyncio.timeout(2 * CLOSING_S):
                    await self._empty.wait()


def _is_handshake(headers: Mapping[str, str]) -> bool:
    """Tell whether a client asks for what RFC 6455, section 4.2.1, says that he must."""
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    return (
        "upgrade" in tokens
        and headers.get("upgrade", "").lower() == "websocket"
        and headers.get("sec-websocket-version") == VERSION
        and _KEY.fullmatch(headers.get("sec-websocket-key", "")) is not None
    )


def _refusal(code: Code, detail: str, headers: Mapping[str, str] | None = None) -> WSUpgradeResponseWithListener:
    body = problem(code, detail, {"retry_after_s": RETRY_AFTER_S} if code is Code.UNAVAILABLE else None)
    of_all = {"Content-Type": CONTENT_TYPE, **(headers or {})}
    response = WSUpgradeResponse.create_error_response(STATUS_OF_CODE[code], body, of_all)
    return WSUpgradeResponseWithListener(response, None)


def _room_for(connections: int) -> int:
    """Let this process have a file for each of so many connections; returns how many it can have."""
    wanted = connections + FILES_BESIDE
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < wanted:
        files = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
        except (ValueError, OSError):  # macOS has a limit that it does not tell
            files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or files >= wanted:
        return connections
    _log.warning("at most %d connections: no more files may be open", files - FILES_BESIDE)
    return files - FILES_BESIDE


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
