"""What an HTTP operation is: one row of the table that routing, checking and the OpenAPI document are made of."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from touchline.core.account import Identity, Role
from touchline.core.errors import Code, Fault, Rejection
from touchline.edge.http.platform import Platform
from touchline.wire.problems_v1 import told

BODY_BYTES_MAX: Final = 16 * 1024
NAME_SHOWN_MAX: Final = 128
ANYONE_KNOWN: Final = frozenset(Role)
PLAYERS: Final = frozenset({Role.PLAYER})
TRADERS: Final = frozenset({Role.TRADER})
FEEDS: Final = frozenset({Role.FEED})


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be made: who asks, and what, with a body decoded as its operation declares."""

    identity: Identity | None
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    if_none_match: str = ""  # the header, as it came

    @property
    def caller(self) -> Identity:
        """Whom the token speaks for, in an operation that asks for one."""
        if self.identity is None:
            raise Fault("an operation for anyone asked who calls")
        return self.identity


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `content` is a wire struct, or bytes as they stand, or None for an empty body."""

    content: object
    status: int = 200
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    refused: Code | None = None
    cache_control: bytes = b"no-store"


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
Handler = Callable[[Platform, Call], Awaitable[Reply]]
AtOnce = Callable[[Platform, str], bytes | None]


async def answered_before(_platform: Platform, call: Call) -> Reply:
    """Handle what never comes as far as the table, and stands in the OpenAPI document all the same."""
    raise Fault(f"this is answered before the table: {call}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path. `roles` None lets anyone in; `body` bytes hands the raw body over.

    `query` and `headers` name each that may be given, with its meaning. `at_once` may have the whole answer to a
    GET at hand, by the last part of its path; where it returns None, `handle` has to find it.
    """

    method: str
    path: str
    summary: str
    handle: Handler
    at_once: AtOnce | None = None
    roles: frozenset[Role] | None = ANYONE_KNOWN
    body: type | None = None
    body_shape: Any = None  # what the OpenAPI document says of a body that is decoded later
    body_types: tuple[str, ...] = ("application/json",)
    body_bytes_max: int = BODY_BYTES_MAX
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: type | None = None
    answer_type: str = ""  # of an answer that is no JSON
    status: int = 200
    unchanged: bool = False  # whether it may be answered 304
    refusals: tuple[Code, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """What it is asked by: HEAD too, where it is asked by GET."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def codes(self) -> tuple[Code, ...]:
        """Every code that it may be refused with."""
        asked = () if self.roles is None else (Code.UNAUTHENTICATED, Code.FORBIDDEN)
        return tuple(dict.fromkeys((Code.MALFORMED, *self.refusals, Code.UNAVAILABLE, Code.INTERNAL, *asked)))

    def decode(self, body: bytes, content_type: str) -> Any:
        """Return the body as `body` declares it, None where the operation takes none.

        Raises:
            Rejection: MALFORMED, naming the field where there is one.
        """
        if self.body is None:
            return None
        kind = content_type.partition(";")[0].strip().lower()
        if kind and kind not in self.body_types:
            raise Rejection(
                Code.MALFORMED, f"send the body as {' or '.join(self.body_types)}", field="Content-Type"
            )
        if self.body is bytes:
            return body
        try:
            decoded: Any = msgspec.json.decode(body, type=self.body)
            _check_each_once(body)
            return decoded
        except msgspec.ValidationError as wrong:
            what, named = told(wrong)
            raise Rejection(Code.MALFORMED, what, **named) from None
        except (msgspec.DecodeError, ValueError) as wrong:
            raise Rejection(Code.MALFORMED, f"the body is no JSON: {wrong}") from None
        except RecursionError:
            raise Rejection(Code.MALFORMED, "the body is nested too deeply") from None


def _check_each_once(body: bytes) -> None:
    """Refuse an object in which a name stands twice, however deep: of two stakes nobody knows which was meant.

    The last is what msgspec takes. Between so many commas there is no room for more members than those that have
    names of their own; only where there is, in a text or for an object in the object, each name is looked at.

    Raises:
        Rejection: MALFORMED, naming the field.
    """
    if body.count(b",") >= len(_members.decode(body)):
        json.loads(body, object_pairs_hook=_each_once, parse_int=str, parse_float=str)


def _each_once(members: Sequence[tuple[str, object]]) -> None:
    names: set[str] = set()
    for name, _ in members:
        if name in names:
            shown = name.encode("ascii", "backslashreplace").decode()[:NAME_SHOWN_MAX]
            raise Rejection(Code.MALFORMED, f"{shown} stands twice in an object", field=shown)
        names.add(name)
