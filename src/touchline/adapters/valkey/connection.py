"""One connection to Valkey (or Redis) that every request of a process shares, over hiredis.

Invariant: commands go out as they come and answers come back in that order, the n-th to the n-th; what is pushed
in between keeps its place among them. A connection on which an answer is late or can't be read is given up whole:
all that wait on it meet an `Outage`, and the next command makes another.
"""

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Callable
from importlib import resources
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import hiredis

from touchline.core.errors import Outage

WAITING_MAX: Final = 10_000
PORT: Final = 6379
_TLS_SCHEMES: Final = ("rediss", "valkeys")

Part = bytes | str | int
Pushed = Callable[[bytes | None], None]


class Refused(Exception):
    """The server understood a command and refuses it; never leaves this package."""


class Valkey:
    """A client that waits `timeout_ms` at most for a connection, and as long for an answer.

    Where it is to follow a `channel`, each message is given to `pushed`: all that were published before a command
    reached the server come before the command's answer. None says that the connection was lost, and that messages
    are missed until the next command has made another.
    """

    def __init__(self, url: str, timeout_ms: int, channel: str = "", pushed: Pushed | None = None) -> None:
        self._url = urlsplit(url)
        self._timeout_s = timeout_ms / 1000
        self._channel = channel
        self._pushed = pushed
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()
        self._failed = 0  # attempts to connect

    async def call(self, *command: Part) -> Any:
        """Return the answer to a command: bytes, an int, None, or a list of these.

        Raises:
            Outage: there is none in time, or the server can't give it.
        """
        try:
            return await self._ask(command)
        except Refused as refused:
            raise Outage("Valkey") from refused

    async def figures(self) -> dict[str, str]:
        """Return what the server tells of itself, by name.

        Raises:
            Outage: as `call`.
        """
        lines = (await self.call("INFO")).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def script(self, name: str) -> "Script":
        """Return the script in the file `name` beside this module, to be called with keys and arguments."""
        return Script(self, resources.files(__package__).joinpath(name).read_text("utf-8"))

    async def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            self._line.give_up()
            self._line = None

    async def _ask(self, command: tuple[Part, ...]) -> Any:
        line = self._line
        if line is None or line.lost:
            line = await self._connect()
        return await line.ask(command)

    async def _connect(self) -> "_Line":
        failed = self._failed
        async with self._connecting:
            if self._line is not None and not self._line.lost:
                return self._line
            if self._failed != failed:  # nobody waits for one attempt after the other
                raise Outage("Valkey")
            try:
                self._line = await self._connected()
            except (Outage, Refused):
                self._failed += 1
                raise
            return self._line

    async def _connected(self) -> "_Line":
        url = self._url
        tls = ssl.create_default_context() if url.scheme in _TLS_SCHEMES else None
        try:
            async with asyncio.timeout(self._timeout_s):
                _, line = await asyncio.get_running_loop().create_connection(
                    lambda: _Line(self._timeout_s, self._pushed),
                    url.hostname or "localhost",
                    url.port or PORT,
                    ssl=tls,
                )
        except (OSError, TimeoutError) as away:
            raise Outage("Valkey") from away
        try:
            if url.password:
                await line.ask(("AUTH", unquote(url.username or "default"), unquote(url.password)))
            if database := url.path.strip("/"):
                await line.ask(("SELECT", database))
            if self._channel:
                await line.ask(("HELLO", "3"))
                line.subscribe(self._channel)
        except (Outage, Refused):
            line.give_up()
            raise
        return line


class Script:
    """A script that the server keeps by its digest, sent whole only where the server has lost it."""

    def __init__(self, valkey: Valkey, text: str) -> None:
        self._valkey = valkey
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: list[str], args: list[Part]) -> Any:
        """Return the script's answer, as `Valkey.call` does."""
        rest = (len(keys), *keys, *args)
        try:
            return await self._valkey._ask(("EVALSHA", self._digest, *rest))
        except Refused as refused:
            if not str(refused).startswith("NOSCRIPT"):
                raise Outage("Valkey") from refused
        return await self._valkey.call("EVAL", self._text, *rest)


class _Line(asyncio.Protocol):
    def __init__(self, timeout_s: float, pushed: Pushed | None) -> None:
        self.lost = False
        self._pushed = pushed
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                if isinstance(answer, hiredis.PushNotification):
                    self._push(answer)
                    continue
                future, _ = self._waiting.popleft()
                if future.done():  # whoever asked is gone
                    continue
                if isinstance(answer, hiredis.ReplyError):
                    future.set_exception(Refused(str(answer)))
                else:
                    future.set_result(answer)
        except (hiredis.HiredisError, IndexError):  # not to be read, or an answer that nobody asked for
            self.give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._look is not None:
            self._look.cancel()
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(Outage("Valkey"))
        if self._pushed is not None:
            self._pushed(None)

    def subscribe(self, channel: str) -> None:
        """Ask for what is published on `channel`; its answer is the first thing pushed."""
        self._transport.write(hiredis.pack_command(("SUBSCRIBE", channel)))  # type: ignore[arg-type]  # as in ask

    async def ask(self, command: tuple[Part, ...]) -> Any:
        if self.lost or len(self._waiting) >= WAITING_MAX:
            raise Outage("Valkey")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((future, self._loop.time() + self._timeout_s))
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stubs mean any tuple
        if self._look is None:
            self._look = self._loop.call_later(self._timeout_s, self._look_for_late)
        return await future

    def give_up(self) -> None:
        self.lost = True
        self._transport.abort()

    def _push(self, push: list[Any]) -> None:
        if self._pushed is not None and push[0] == b"message":
            self._pushed(push[2])

    def _look_for_late(self) -> None:
        """Give up where the oldest answer is late; one timer serves all that wait."""
        self._look = None
        if not self._waiting:
            return
        due = self._waiting[0][1]
        if due <= self._loop.time():
            self.give_up()
        else:
            self._look = self._loop.call_at(due, self._look_for_late)
