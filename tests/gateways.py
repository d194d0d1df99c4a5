"""A gateway over a board that a test changes by hand, and clients that speak WebSocket byte by byte."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from tests.clock import HandClock
from tests.samples import market
from touchline.adapters.tokens import Tokens
from touchline.core.account import Role
from touchline.core.bet import Bet
from touchline.core.delivery import Board, Image, MarketChanged
from touchline.core.ids import BetId, EventId, MarketId, PlayerId
from touchline.core.market import MarketStatus
from touchline.edge.gateway import CONNECTIONS_MAX, Gateway
from touchline.edge.push.framing import websocket_frame
from touchline.edge.push.hub import Hub
from touchline.edge.push.own_bets import OwnBets
from touchline.runtime.addresses import LOCALHOST, free_port
from touchline.runtime.balancer import Balancer
from touchline.wire.odds_v1 import market_to_wire

PATIENCE_S = 20.0
EPOCH = "a" * 32
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@dataclass
class Offered:
    """The odds' authority as a test plays it: every change one cursor and one version on."""

    epoch: str = EPOCH
    cursor: int = 100
    versions: dict[str, int] = field(default_factory=dict)
    latest: dict[str, MarketChanged] = field(default_factory=dict)

    def change(
        self, market_id: str, status: MarketStatus = MarketStatus.ACTIVE, event_id: str = "e1", words: str = ""
    ) -> MarketChanged:
        self.cursor += 1
        version = self.versions[market_id] = self.versions.get(market_id, 0) + 1
        shown = market(
            market_id=MarketId(market_id),
            event_id=EventId(event_id),
            name=words or f"Market {market_id}",
            status=status,
            odds_version=version,
        )
        body = msgspec.json.encode(market_to_wire(shown))
        changed = MarketChanged(
            self.cursor, shown.market_id, shown.event_id, status.value, version, body, shown.priced_at
        )
        self.latest[market_id] = changed
        return changed

    def image(self) -> Image:
        held = sorted(self.latest.values(), key=lambda change: change.cursor)
        return Image(self.epoch, self.cursor, held, ())


def offered(*market_ids: str, event_id: str = "e1") -> Offered:
    """An authority that has these markets, at version 1."""
    made = Offered()
    for market_id in market_ids:
        made.change(market_id, event_id=event_id)
    return made


class KeptBets:
    """Bets as a store would return them."""

    def __init__(self) -> None:
        self.bets: dict[tuple[PlayerId, BetId], Bet] = {}
        self.failing: Exception | None = None

    async def get(self, player_id: PlayerId, bet_id: BetId) -> Bet | None:
        if self.failing is not None:
            raise self.failing
        return self.bets.get((player_id, bet_id))


@dataclass
class Running:
    """A gateway that listens, and what it stands on."""

    gateway: Gateway
    offered: Offered
    clock: HandClock
    tokens: Tokens
    bets: KeptBets
    serving: asyncio.Task[None]

    @property
    def hub(self) -> Hub:
        return self.gateway.hub

    @property
    def port(self) -> int:
        return self.gateway.port

    def change(self, *market_ids: str, status: MarketStatus = MarketStatus.ACTIVE, **more: Any) -> None:
        """One tick in which each of these markets changes once."""
        self.hub.apply([self.offered.change(market_id, status, **more) for market_id in market_ids])

    def token(self, player_id: str, role: Role = Role.PLAYER) -> str:
        return self.tokens.issue(PlayerId(player_id), role, uuid4(), self.clock.now())[0]

    async def stop(self) -> None:
        self.serving.cancel()
        await asyncio.gather(self.serving, return_exceptions=True)


@asynccontextmanager
async def running_gateway(
    offered: Offered | None = None, connections_max: int = CONNECTIONS_MAX, *, shown: bool = True
) -> AsyncIterator[Running]:
    """Yield a gateway; what `offered` holds is on its board unless `shown` is False."""
    offered = offered or Offered()
    clock = HandClock()
    tokens = Tokens("s" * 32, timedelta(hours=1), 100, clock)
    bets = KeptBets()
    gateway = Gateway(Hub(Board(), clock, websocket_frame), OwnBets(bets, tokens), connections_max)
    if shown:
        gateway.hub.show(offered.image())
    serving = asyncio.create_task(gateway.serve(LOCALHOST, 0))
    running = Running(gateway, offered, clock, tokens, bets, serving)
    beating = asyncio.create_task(gateway.hub.beat())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not gateway.port:
                await asyncio.sleep(0)
        yield running
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await running.stop()


@asynccontextmanager
async def balanced(folder: Path, stream_port: int) -> AsyncIterator[int]:
    """Yield the port of a balancer before a gateway; its pod says that it is ready, and 404 to all else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            asked = await reader.readuntil(b"\r\n\r\n")
            status = b"200 OK" if b" /health/ready " in asked else b"404 Not Found"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    (folder / "logs").mkdir()
    pod = await asyncio.start_server(answer, "127.0.0.1", 0)
    balancer = Balancer(folder, free_port(), [pod.sockets[0].getsockname()[1]], [stream_port])
    child = await balancer.start()
    try:
        yield balancer.port
    finally:
        await child.stop()
        pod.close()


def frame(opcode: int, payload: bytes = b"", *, fin: int = 1, rsv: int = 0, masked: bool = True) -> bytes:
    """A client's frame (RFC 6455, section 5.2)."""
    size = len(payload)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 2**16:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class Client:
    """A WebSocket as bytes over TCP. It answers no ping by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def say(self, **message: Any) -> None:
        self.write(frame(TEXT, msgspec.json.encode(message)))

    def subscribe(self, subscription_id: str | int = "1", **wanted: Any) -> None:
        self.say(op="subscribe", id=subscription_id, **wanted)

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload; opcode -1 where the connection has ended."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                first, second = await self._reader.readexactly(2)
                assert first & 0x70 == 0
                assert second < 128, "a server masks nothing"
                size = second
                if size > 125:
                    size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
                assert first & 0x80, "this server sends no fragments"
                return first & 15, await self._reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return -1, b""

    async def message(self) -> dict[str, Any]:
        """The next text message; pings are passed over."""
        while True:
            opcode, payload = await self.frame()
            if opcode != PING:
                break
        assert opcode == TEXT, (opcode, payload)
        message: dict[str, Any] = msgspec.json.decode(payload)
        return message

    async def hears(self, op: str) -> dict[str, Any]:
        """The next message, which is an `op`."""
        message = await self.message()
        assert message["op"] == op, message
        return message

    async def closed(self) -> tuple[int, str]:
        """The code and the reason with which the server ends this, whatever it says before."""
        while True:
            opcode, payload = await self.frame()
            assert opcode != -1, "ended without a close"
            if opcode == CLOSE:
                self.write(frame(CLOSE, payload[:2]))
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def close(self) -> None:
        """Go without a word."""
        self._writer.transport.abort()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


async def request(port: int, head: str, buffer_bytes: int | None = None) -> tuple[str, Client]:
    """Send the head of a request; returns the head of the answer and the connection."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if buffer_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=buffer_bytes or 2**16)
    writer.write(head.encode())
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.readuntil(b"\r\n\r\n")
    return answer.decode(), Client(reader, writer)


def handshake(path: str = "/stream", connection: str = "Upgrade") -> str:
    """The head with which a client asks for a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: touchline\r\nUpgrade: websocket\r\nConnection: {connection}\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )


@asynccontextmanager
async def connected(port: int, buffer_bytes: int | None = None) -> AsyncIterator[Client]:
    """Yield a client of the gateway at `port`; `buffer_bytes` is what the kernel and it read ahead."""
    answer, client = await request(port, handshake(), buffer_bytes)
    assert answer.startswith("HTTP/1.1 101 "), answer
    try:
        yield client
    finally:
        await client.close()


async def still_lives(client: Client) -> None:
    """See that a connection goes on."""
    client.write(frame(PING, b"alive?"))
    assert await client.frame() == (PONG, b"alive?")


def versions(message: dict[str, Any]) -> dict[str, int]:
    """The version of each market of a message."""
    return {shown["market_id"]: shown["odds_version"] for shown in message["markets"]}


def ids(changes: Sequence[dict[str, Any]]) -> list[str]:
    """The markets of some messages, in their order."""
    return [shown["market_id"] for message in changes for shown in message["markets"]]
