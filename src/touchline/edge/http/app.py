"""The HTTP edge: bytes in, one operation of the table, bytes out.

Invariants: what is refused is refused in the published order (who asks, whether he may, whether it can be read,
then what the flow says); nothing but a `Rejection`'s own words ever leaves, no trace and no SQL.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from touchline.core.account import Identity, Role
from touchline.core.errors import Code, Outage, Rejection
from touchline.edge.http.lanes import HEADER_BYTES_MAX, Lanes
from touchline.edge.http.operations import Call, Operation, Reply
from touchline.edge.http.platform import Platform
from touchline.wire.problems_v1 import (
    CONTENT_TYPE,
    STATUS_OF_CODE,
    problem,
    problem_of_outage,
    problem_of_rejection,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

QUERY_FIELDS_MAX: Final = 16
REQUESTS_MAX: Final = 2_000  # being worked at once in one pod; more are answered 503 at once
PROBLEM_TYPE: Final = CONTENT_TYPE.encode()
NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_encode: Final = msgspec.json.Encoder().encode
_log = logging.getLogger("touchline.http")


class HttpApp:
    """An ASGI application over a table of operations; what the table has no first segment for goes to `pages`."""

    def __init__(self, platform: Platform, operations: Sequence[Operation], pages: Any) -> None:
        self._platform = platform
        self._pages = pages
        self._firsts = {operation.path.split("/")[1] for operation in operations}
        self._plain_firsts = {first.encode() for first in self._firsts}
        self._routes: dict[tuple[int, str], list[tuple[list[str], Operation]]] = {}
        for operation in operations:
            parts = operation.path.split("/")[1:]
            self._routes.setdefault((len(parts), parts[0]), []).append((parts, operation))
        meters = platform.meters
        self._audience = meters.audience
        self._meter_of = {
            (o.method, o.path): meters.route(o.path, o.method, (o.status,), o.codes) for o in operations
        }
        self.lanes = Lanes(platform, operations, self._meter_of)
        self._meter_of_none = meters.route("none", "none", (), ())  # what a stranger makes up is no label
        self._working = 0
        meters.watch("gauge", "touchline_http_in_flight", "Requests being worked", lambda: self._working)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        reply = None if scope["type"] != "http" else await self.reply(scope, receive)
        if reply is None:
            await self._pages(scope, receive, send)
            return
        headers, body = written(reply)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def has(self, path: bytes) -> bool:
        """Tell whether `path`, as it came, is the table's and none of the pages'; not of one that is unusual."""
        return path[1:].partition(b"/")[0] in self._plain_firsts and b"#" not in path

    async def reply(self, scope: Scope, receive: Receive) -> Reply | None:
        """Return the answer to a request, and count it; None: it is for the pages."""
        parts = [_plain(part) for part in scope["raw_path"].partition(b"?")[0].split(b"/")[1:]]
        if not parts or parts[0] not in self._firsts:
            return None
        began = time.perf_counter()
        self._working += 1
        operation: Operation | None = None
        try:
            operation, path = self._match(scope["method"], parts)
            reply = await self._answer(operation, path, scope, receive)
        except Rejection as refused:
            reply = _refusal(refused)
        except Outage as outage:
            reply = _outage(outage)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["raw_path"].decode("latin-1"))
            reply = _problem(Code.INTERNAL, "something went wrong here, and is on record")
        finally:
            self._working -= 1
        meter = self._meter_of_none
        if operation is not None:
            meter = self._meter_of[operation.method, operation.path]
        meter.count(reply.status, reply.refused, time.perf_counter() - began)
        return reply

    def _match(self, method: str, parts: list[str]) -> tuple[Operation, dict[str, str]]:
        allowed: list[str] = []
        for template, operation in self._routes.get((len(parts), parts[0]), ()):
            path = _fill(template, parts)
            if path is None:
                continue
            if method in operation.methods:
                return operation, path
            allowed += operation.methods
        if allowed:
            raise Rejection(Code.METHOD_NOT_ALLOWED, f"use {' or '.join(allowed)}", allow=allowed)
        raise Rejection(Code.NOT_FOUND, "there is nothing at this address; /openapi.json lists what there is")

    async def _answer(self, operation: Operation, path: dict[str, str], scope: Scope, receive: Receive) -> Reply:
        if self._working > REQUESTS_MAX:
            raise Outage("this pod: it has all the work it can do")
        authorization = content_type = if_none_match = ""
        size = 0
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"if-none-match":
                if_none_match = f"{if_none_match},{value.decode('latin-1')}"
        if size > HEADER_BYTES_MAX:
            raise Rejection(Code.MALFORMED, f"headers of more than {HEADER_BYTES_MAX} bytes")
        identity = self._identify(operation, authorization)
        query = _query(operation, scope["query_string"])
        body = None
        if operation.body is not None:
            body = operation.decode(await _read(receive, operation.body_bytes_max), content_type)
        return await operation.handle(self._platform, Call(identity, path, query, body, if_none_match))

    def _identify(self, operation: Operation, authorization: str) -> Identity | None:
        if operation.roles is None:
            return None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Rejection(Code.UNAUTHENTICATED, "send the token of POST /auth/login as Authorization: Bearer")
        identity = self._platform.tokens.verify(token)
        if identity.role is Role.PLAYER:
            self._audience.hear(identity.player_id)
        if identity.role not in operation.roles:
            raise Rejection(Code.FORBIDDEN, f"this is not for a {identity.role.value}")
        return identity


def _plain(part: bytes) -> str:
    """Return a part of a path; what can be in no id (no UTF-8, NUL, which no store takes) is a U+FFFD."""
    return unquote(part.decode("latin-1")).replace("\0", "\ufffd") if b"%" in part else part.decode("latin-1")


def _fill(template: list[str], parts: list[str]) -> dict[str, str] | None:
    path = {}
    for wanted, part in zip(template, parts, strict=True):
        if wanted[:1] == "{":
            path[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return path


def _query(operation: Operation, text: bytes) -> dict[str, str]:
    if not text:
        return {}
    try:
        pairs = parse_qsl(
            text.decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX, errors="strict"
        )
    except ValueError:
        raise Rejection(Code.MALFORMED, "the query can't be read") from None
    query = dict(pairs)
    unknown = sorted(query.keys() - operation.query.keys())
    if unknown or len(query) != len(pairs):
        named = ", ".join(operation.query) or "none"
        raise Rejection(Code.MALFORMED, f"known query parameters: {named}; each once", field=", ".join(unknown))
    return query


async def _read(receive: Receive, bytes_max: int) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Rejection(Code.MALFORMED, "the body ended early")
        body += message.get("body", b"")
        if len(body) > bytes_max:
            raise Rejection(Code.MALFORMED, f"a body of more than {bytes_max} bytes")
        more = message.get("more_body", False)
    return body


def _refusal(refused: Rejection) -> Reply:
    headers: list[tuple[bytes, bytes]] = []
    if "retry_after_s" in refused.extra:
        headers.append((b"retry-after", str(refused.extra["retry_after_s"]).encode()))
    if refused.code is Code.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if refused.code is Code.METHOD_NOT_ALLOWED:
        allowed = refused.extra["allow"]
        headers.append((b"allow", ", ".join(allowed).encode() if isinstance(allowed, list) else b""))
    return _reply(refused.code, problem_of_rejection(refused), tuple(headers))


def _outage(outage: Outage) -> Reply:
    _log.warning("%s", outage)
    retry_after = (b"retry-after", str(outage.retry_after_s).encode())
    return _reply(Code.UNAVAILABLE, problem_of_outage(outage), (retry_after,))


def _problem(code: Code, detail: str) -> Reply:
    return _reply(code, problem(code, detail))


def _reply(code: Code, document: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Reply:
    return Reply(document, STATUS_OF_CODE[code], PROBLEM_TYPE, headers, code)


def written(reply: Reply) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return an answer's headers and body as they go out."""
    headers = [(b"cache-control", reply.cache_control), NOSNIFF, *reply.headers]
    body = b""
    if reply.content is not None:
        body = reply.content if isinstance(reply.content, bytes) else _encode(reply.content)
        headers += [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(body))]
    return headers, body
