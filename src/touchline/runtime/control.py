"""How the command line talks to a supervisor: one request a connection on a private socket, answers as lines.

Invariant: the socket lies in a directory that only its owner can enter; whoever can connect may do everything.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from touchline.runtime.keeper import Notice
from touchline.runtime.platform import PartStatus
from touchline.runtime.process import PartFailed

REQUEST_MAX_BYTES: Final = 4096
LINE_MAX_BYTES: Final = 1024 * 1024


class Request(msgspec.Struct, frozen=True):
    """What the supervisor is asked to do."""

    verb: Literal["status", "watch", "stop", "restart"]
    rolling: bool = False


class Failure(msgspec.Struct, frozen=True):
    """Why something could not be done, as a person is told."""

    part: str
    why: str
    remedy: str
    tail: str = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an answer: something on the way, or, as the last, how it ended."""

    notice: Notice | None = None
    parts: list[PartStatus] | None = None
    failure: Failure | None = None
    done: bool = False


Say = Callable[[Answer], None]
Handle = Callable[[Request, Say, asyncio.Event], Awaitable[None]]


def failure_of(failed: PartFailed) -> Failure:
    """Return a part's failure as a person is told."""
    return Failure(failed.part, failed.why, failed.remedy, failed.tail)


class NotRunning(Exception):
    """No supervisor answers."""


@asynccontextmanager
async def listening(socket: Path, handle: Handle) -> AsyncIterator[None]:
    """Answer requests on `socket` by `handle`, which says what it has to and returns.

    It is handed an event that is set when whoever asked has gone.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(answer: Answer) -> None:  # a handful of short lines: whoever does not read them holds up nothing
            if not gone.is_set():
                writer.write(msgspec.json.encode(answer) + b"\n")

        gone = asyncio.Event()
        leaving: asyncio.Task[None] | None = None
        try:
            request = msgspec.json.decode(await reader.readuntil(b"\n"), type=Request)
            leaving = asyncio.create_task(_until_gone(reader, gone))
            await handle(request, say, gone)
            say(Answer(done=True))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, msgspec.DecodeError):
            return  # whoever asked is gone, or is none of ours
        finally:
            if leaving is not None:
                leaving.cancel()
            writer.close()

    server = await asyncio.start_unix_server(serve, path=str(socket), limit=REQUEST_MAX_BYTES)
    try:
        yield
    finally:
        server.close()


async def _until_gone(reader: asyncio.StreamReader, gone: asyncio.Event) -> None:
    with suppress(ConnectionError):
        await reader.read(1)  # nothing more is sent: it returns at the connection's end
    gone.set()


async def ask(socket: Path, request: Request) -> AsyncIterator[Answer]:
    """Send a request and yield its answers; ends after the last, or when the supervisor is gone.

    Raises:
        NotRunning: nobody listens.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket), limit=LINE_MAX_BYTES)
    except OSError as gone:
        raise NotRunning from gone
    try:
        writer.write(msgspec.json.encode(request) + b"\n")
        while line := await reader.readline():
            answer = msgspec.json.decode(line, type=Answer)
            if answer.done:
                return
            yield answer
    except ConnectionError:
        return
    finally:
        writer.close()
