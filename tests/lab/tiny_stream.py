"""A real WebSocket server that says what a test tells it to, frame by frame."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Subscriber(WSListener):
    """A connection; `asked` is what its client sent first."""

    def __init__(self) -> None:
        self.asked: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        self.pongs = asyncio.Queue[bytes]()
        self.closed: int | None = None
        self.transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.PONG:
            self.pongs.put_nowait(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self.closed = int(frame.get_close_code())
            transport.disconnect()
        elif not self.asked.done():
            self.asked.set_result(msgspec.json.decode(frame.get_payload_as_bytes()))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gone.set()

    def say(self, **message: Any) -> None:
        """Send one message."""
        self.transport.send(WSMsgType.TEXT, msgspec.json.encode(message))


@dataclass
class TinyStream:
    """Accepts subscribers, in the order in which they come."""

    port: int = 0
    came: asyncio.Queue[Subscriber] = field(default_factory=asyncio.Queue)
    refusing: bool = False

    @property
    def address(self) -> str:
        """Where it listens, as clients are told."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["TinyStream"]:
        """Serve inside the block."""
        server = await ws_create_server(self._accept, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def subscriber(self) -> tuple[Subscriber, dict[str, Any]]:
        """Return the next one who comes, and what he asks for."""
        subscriber = await self.came.get()
        return subscriber, await subscriber.asked

    def _accept(self, request: WSUpgradeRequest) -> Subscriber | None:
        if self.refusing or request.path != b"/stream":
            return None
        subscriber = Subscriber()
        self.came.put_nowait(subscriber)
        return subscriber


def market(version: int, market_id: str = "m", *, age_s: float = 0.0, odds: str = "2.10") -> dict[str, Any]:
    """A market as it is pushed, `age_s` after it came to be."""
    return {
        "market_id": market_id,
        "event_id": "e",
        "name": "Match odds",
        "market_type": "match_odds",
        "status": "active",
        "odds_version": version,
        "selections": [{"selection_id": "home", "name": "Home", "odds": odds, "status": "active"}],
        "bet_delay_ms": 0,
        "updated_at": datetime.now(UTC) - timedelta(seconds=age_s),
    }
