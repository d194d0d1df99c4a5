"""Answers that are at hand: from a GET's head to its answer's body in one step, without waiting for anything.

Invariant: a lane answers just what the table's way would. Whatever is unusual about a request, refused, or not at
hand goes that way.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from touchline.core.account import Role
from touchline.core.errors import Rejection
from touchline.edge.http.meters import RouteMeter
from touchline.edge.http.operations import AtOnce, Operation
from touchline.edge.http.platform import Platform

HEADER_BYTES_MAX: Final = 16 * 1024
_BEARER: Final = b"bearer "
_BODIES: Final = frozenset({b"content-length", b"transfer-encoding", b"expect"})
_PLAYER: Final = Role.PLAYER


class _Lane(NamedTuple):
    at_once: AtOnce
    roles: frozenset[Role]
    meter: RouteMeter


class Lanes:
    """The operations of a table that may have their answers at hand, by the path before its last part."""

    def __init__(
        self, platform: Platform, operations: Sequence[Operation], meters: Mapping[tuple[str, str], RouteMeter]
    ) -> None:
        self._platform = platform
        self._verify = platform.tokens.verify
        self._hear = platform.meters.audience.hear
        self._lanes = {
            o.path.rpartition("/{")[0].encode(): _Lane(o.at_once, o.roles, meters[o.method, o.path])
            for o in operations
            if o.at_once is not None and o.roles is not None
        }

    def answer(self, path: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """Return the body that a GET of `path` is answered 200 with, and count it; None: go the table's way.

        `path` is as it came, with its query if it has one; names of headers are in lower case.
        """
        before, _, last = path.rpartition(b"/")
        lane = self._lanes.get(before)
        if lane is None or not last or b"%" in last or b"?" in last:
            return None
        began = time.perf_counter()
        token = b""
        size = 0
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"authorization":
                token = value
            elif name in _BODIES:
                return None
        if size > HEADER_BYTES_MAX or token[:7].lower() != _BEARER:
            return None
        try:
            identity = self._verify(token[7:].decode("latin-1"))
        except Rejection:
            return None
        if identity.role not in lane.roles:
            return None
        body = lane.at_once(self._platform, last.decode("latin-1"))
        if body is None:
            return None
        if identity.role is _PLAYER:
            self._hear(identity.player_id)
        lane.meter.count(200, None, time.perf_counter() - began)
        return body
