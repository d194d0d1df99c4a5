"""A recorded feed sent to a platform over HTTP, as fast as it can take it or at the recording's pace.

Invariant: messages go out in their order, and no batch before the one ahead of it was answered; since each is
idempotent, a batch whose answer was lost is sent again.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import msgspec

from touchline.core.errors import Code, Outage, Rejection
from touchline.core.feed import AnyMessage
from touchline.wire.account_v1 import CredentialsV1, TokenV1
from touchline.wire.feed_v1 import FeedAnswerV1, encode_message

BATCH_MESSAGES_MAX: Final = 200
BATCH_BYTES_MAX: Final = 512 * 1024
TRIES_MAX: Final = 12
RETRY_AFTER_S_MAX: Final = 10.0
RETRY_AFTER_S: Final = 1.0
REQUEST_TIMEOUT_S: Final = 60.0
REFUSALS_NAMED_MAX: Final = 20
NOT_OURS: Final = frozenset({Code.UNAUTHENTICATED, Code.FORBIDDEN})  # no message is at fault
TRY_AGAIN: Final = frozenset({429, 502, 503, 504})


@dataclass(slots=True)
class ReplayReport:
    """What became of the messages sent so far; `refusals` names the first `REFUSALS_NAMED_MAX` refused ones."""

    sent: int = 0
    applied: int = 0
    ignored: int = 0
    refused: int = 0
    retries: int = 0
    refusals: list[str] = field(default_factory=list)


class PlatformDoor:
    """A platform's `POST /feed/messages`, with a session of its own."""

    def __init__(self, address: str, username: str, password: str, report: ReplayReport) -> None:
        """Name the platform at `address`.

        Raises:
            Rejection: MALFORMED: that is no address.
        """
        self.address = address.rstrip("/")
        self._credentials = CredentialsV1(username, password)
        self._report = report
        try:
            url = httpx.URL(self.address)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise Rejection(Code.MALFORMED, f"{address} is no address of a platform; http://127.0.0.1:8000 is one")
        self._client = httpx.AsyncClient(base_url=url, timeout=REQUEST_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> "PlatformDoor":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def log_in(self) -> None:
        """Begin a session.

        Raises:
            Outage: nobody answers there.
            Rejection: the login is refused, or it is no platform that answers.
        """
        try:
            await self._client.get("/health/live")
        except httpx.TransportError:
            raise Outage(f"the platform at {self.address}") from None
        reply = await self._post("/auth/login", msgspec.json.encode(self._credentials))
        token: TokenV1 = _read(reply, TokenV1)
        self._client.headers["authorization"] = f"Bearer {token.token}"

    async def send(self, lines: Sequence[bytes]) -> FeedAnswerV1:
        """Send messages as one batch; a session that has ended is begun again once.

        Raises:
            Outage: the platform stayed away for `TRIES_MAX` tries.
            Rejection: the batch is refused.
        """
        body = b"[" + b",".join(lines) + b"]"
        reply = await self._post("/feed/messages", body)
        if reply.status_code == httpx.codes.UNAUTHORIZED:
            await self.log_in()
            reply = await self._post("/feed/messages", body)
        answer: FeedAnswerV1 = _read(reply, FeedAnswerV1)
        return answer

    async def _post(self, path: str, body: bytes) -> httpx.Response:
        headers = {"content-type": "application/json"}
        for tried in range(TRIES_MAX):
            if tried:
                self._report.retries += 1
            retry_after_s = RETRY_AFTER_S
            try:
                reply = await self._client.post(path, content=body, headers=headers)
                if reply.status_code not in TRY_AGAIN:
                    return reply
                retry_after_s = _retry_after_s(reply)
            except httpx.TransportError:
                pass  # the answer is lost, or the platform restarts: the same again, or the next try tells
            await asyncio.sleep(retry_after_s)
        raise Outage(f"the platform at {self.address}")


class Replay:
    """Messages on their way to a platform."""

    def __init__(self, door: PlatformDoor, report: ReplayReport, progress: Callable[[], None]) -> None:
        self._door = door
        self._report = report
        self._progress = progress
        self._lines: list[bytes] = []
        self._bytes = 0

    async def run(self, messages: Iterable[AnyMessage], speed: float | None) -> None:
        """Send `messages`, `speed` recorded seconds in a second; None: as fast as the platform takes them.

        Refused messages are counted and named in the report, and the rest goes on.

        Raises:
            Rejection: the account may not feed.
            Outage: the platform stayed away; what was sent before is applied.
        """
        loop = asyncio.get_running_loop()
        began, first = loop.time(), None
        for message in messages:
            if speed is not None:
                first = first or message.occurred_at
                due = began + (message.occurred_at - first).total_seconds() / speed
                if due > loop.time():
                    await self._flush()
                    await asyncio.sleep(due - loop.time())
            line = encode_message(message)
            if len(self._lines) >= BATCH_MESSAGES_MAX or self._bytes + len(line) > BATCH_BYTES_MAX:
                await self._flush()
            self._lines.append(line)
            self._bytes += len(line) + 1
        await self._flush()

    async def _flush(self) -> None:
        lines, self._lines, self._bytes = self._lines, [], 0
        if not lines:
            return
        try:
            self._count(len(lines), await self._door.send(lines))
        except Rejection as refused:
            if refused.code in NOT_OURS:
                raise
            await self._one_by_one(lines)
        self._progress()

    async def _one_by_one(self, lines: Sequence[bytes]) -> None:
        """Send a refused batch a message at a time, so that only what is at fault stays behind."""
        report = self._report
        for line in lines:
            try:
                self._count(1, await self._door.send([line]))
            except Rejection as refused:
                report.sent += 1
                report.refused += 1
                if len(report.refusals) < REFUSALS_NAMED_MAX:
                    message_id = msgspec.json.decode(line, type=_Named).message_id
                    report.refusals.append(f"{message_id}: {refused}")

    def _count(self, sent: int, answer: FeedAnswerV1) -> None:
        self._report.sent += sent
        self._report.applied += answer.applied
        self._report.ignored += answer.ignored


class _Named(msgspec.Struct):
    message_id: str


class _Problem(msgspec.Struct):
    code: str = ""
    detail: str = ""


def _read(reply: httpx.Response, shape: type[Any]) -> Any:
    """Return the answer, or raise the `Rejection` that the platform meant."""
    if reply.status_code == httpx.codes.OK:
        try:
            return msgspec.json.decode(reply.content, type=shape)
        except msgspec.DecodeError:
            raise Rejection(Code.INTERNAL, f"{reply.url} is no platform's") from None
    try:
        problem = msgspec.json.decode(reply.content, type=_Problem)
        code = Code(problem.code)
    except (msgspec.DecodeError, ValueError):
        raise Rejection(Code.INTERNAL, f"{reply.url} answered {reply.status_code}") from None
    raise Rejection(code, problem.detail)


def _retry_after_s(reply: httpx.Response) -> float:
    text = reply.headers.get("retry-after", "")
    wanted = float(text) if text.isascii() and text.isdigit() else RETRY_AFTER_S
    return min(wanted, RETRY_AFTER_S_MAX)
