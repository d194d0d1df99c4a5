"""Clients that break off, and clients that are slow: what a mobile network and an attacker do to a server.

Invariant: each has one socket of its own, and closes it whatever happens.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S: Final = 5
SLOW_BYTE_S: Final = 1.0
SLOW_RECEIVE_BYTES: Final = 4_096  # the smallest that the kernel grants, about
_PING: Final = b"\x89\x80\0\0\0\0"  # of a WebSocket client, masked by zeros
_UPGRADE: Final = (
    b"GET /stream HTTP/1.1\r\nHost: %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, and tell the other side by a reset


async def send_and_vanish(address: str, request: bytes, linger_s: float = 0) -> bool:
    """Send a whole request, and after `linger_s` reset the connection unread; False where it can't be sent."""
    try:
        async with _connected(address) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, request)
            await asyncio.sleep(linger_s)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return True
    except (OSError, TimeoutError):
        return False


async def drip(address: str, request: bytes, until: asyncio.Event) -> int:
    """Send a request one byte a second until the server hangs up or `until` is set; return the bytes sent."""
    loop = asyncio.get_running_loop()
    sent = 0
    try:
        async with _connected(address) as sock:
            for sent in range(len(request)):
                await loop.sock_sendall(sock, request[sent : sent + 1])
                if await _is_set_within(until, SLOW_BYTE_S) or await _has_hung_up(sock):
                    break
    except (OSError, TimeoutError):
        pass  # the server's way of hanging up; what was sent by then is the answer
    return sent


async def sip(address: str, request: bytes, until: asyncio.Event) -> int:
    """Send a request, read the answer a byte a second until it ends or `until` is set; return the bytes read."""
    loop = asyncio.get_running_loop()
    read = 0
    try:
        async with _connected(address, SLOW_RECEIVE_BYTES) as sock:
            await loop.sock_sendall(sock, request)
            while await loop.sock_recv(sock, 1):
                read += 1
                if await _is_set_within(until, SLOW_BYTE_S):
                    break
    except (OSError, TimeoutError):
        pass  # as above
    return read


async def subscribe_and_stall(address: str, message: bytes, until: asyncio.Event) -> bool:
    """Subscribe to a stream and never read what it pushes; True where it was hung up on before `until`."""
    loop = asyncio.get_running_loop()
    upgrade = _UPGRADE % urlsplit(address).netloc.encode()
    try:
        async with _connected(address, SLOW_RECEIVE_BYTES) as sock:
            await loop.sock_sendall(sock, upgrade + _text_frame(message))
            while not await _is_set_within(until, SLOW_BYTE_S):
                await loop.sock_sendall(sock, _PING)  # refused by a server that has hung up
    except (OSError, TimeoutError):
        return True
    return False


def _text_frame(message: bytes) -> bytes:
    """Return a client's message of up to 65,535 bytes as one frame, masked by zeros (RFC 6455, 5.2 and 5.3)."""
    size = len(message)
    length = struct.pack("!B", 0x80 | size) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return b"\x81" + length + b"\0\0\0\0" + message


@asynccontextmanager
async def _connected(address: str, receive_bytes: int = 0) -> AsyncIterator[socket.socket]:
    """Yield a connected socket."""
    parts = urlsplit(address)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
        yield sock
    finally:
        sock.close()


async def _has_hung_up(sock: socket.socket) -> bool:
    """Tell whether the other side has answered or closed, without waiting for either."""
    try:
        return sock.recv(1, socket.MSG_PEEK) is not None
    except BlockingIOError:
        return False


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
