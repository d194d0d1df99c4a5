"""Tokens of sessions: JWT (RFC 7519) signed with HS256, verified behind a bounded cache.

Invariant: a token is good only if its signature is ours, it has not expired and it is not revoked; the cache
spares the signature alone, never the other two.
"""

import base64
import binascii
import heapq
import hmac
import re
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

import jwt
import msgspec

from touchline.core.account import Identity, Role
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.ids import PlayerId
from touchline.ports import Clock, Revocation

ALGORITHM: Final = "HS256"
SECRET_BYTES_MIN: Final = 32  # RFC 7518, section 3.2: a key of at least the hash's size
TOKEN_LENGTH_MAX: Final = 1_024
REVOCATIONS_MAX: Final = 100_000

_JWS: Final = jwt.PyJWS(algorithms=[ALGORITHM])
# Stricter than some base64url decoders: no padding, no foreign characters, just three parts.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_Instant = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]  # seconds; until the end of the year 9999

# The header of every token that we issue, with its dot.
_OURS: Final = _JWS.encode(b"", bytes(SECRET_BYTES_MIN), algorithm=ALGORITHM).partition(".")[0] + "."


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token says; every claim is required. Instants have microseconds, as the platform's clock has."""

    sub: str
    role: Role
    jti: UUID
    iat: _Instant
    exp: _Instant
    iss: Literal["touchline"]


_decoder: Final = msgspec.json.Decoder(_Claims)


def verify_signature(token: str, key: bytes) -> bytes:
    """Return the payload of `token`, a JWS in compact serialization (RFC 7515) signed by `key` with HS256.

    Raises:
        Rejection: UNAUTHENTICATED: anything else, whatever algorithm its header names.
    """
    if len(token) > TOKEN_LENGTH_MAX or not _COMPACT.fullmatch(token):
        raise _not_ours()
    try:
        if token.startswith(_OURS):  # the library takes eight times as long
            return _verify_ours(token, key)
        payload: bytes = _JWS.decode(token, key, algorithms=[ALGORITHM])
    except (jwt.PyJWTError, binascii.Error):
        raise _not_ours() from None
    return payload


def _verify_ours(token: str, key: bytes) -> bytes:
    signed, _, signature = token.rpartition(".")
    due = base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256")).rstrip(b"=")
    if not hmac.compare_digest(due, signature.encode()):
        raise _not_ours()
    payload = signed[len(_OURS) :]
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))


class Tokens:
    """Issues tokens and verifies them. Knows of revocations what it is told by `revoke`."""

    def __init__(self, secret: str, ttl: timedelta, verified_max: int, clock: Clock) -> None:
        key = secret.encode()
        if len(key) < SECRET_BYTES_MIN:
            raise Fault(f"the token secret is shorter than {SECRET_BYTES_MIN} bytes")
        self._key = key
        self._ttl = ttl
        self._clock = clock
        self._verified_max = verified_max
        self._verified: OrderedDict[str, Identity] = OrderedDict()  # the token used longest ago is first
        self._revocations = _Revocations()

    def issue(self, player_id: PlayerId, role: Role, token_id: UUID, now: datetime) -> tuple[str, datetime]:
        """Return a token for `player_id`, good until the instant returned with it."""
        expires_at = now + self._ttl
        claims = _Claims(player_id, role, token_id, now.timestamp(), expires_at.timestamp(), "touchline")
        return _JWS.encode(msgspec.json.encode(claims), self._key, algorithm=ALGORITHM), expires_at

    def verify(self, token: str) -> Identity:
        """Return whom `token` speaks for.

        Raises:
            Rejection: UNAUTHENTICATED: it is not ours, has expired, or was revoked.
        """
        identity = self._verified.get(token)
        if identity is None:
            identity = _identity_of(verify_signature(token, self._key))
        now = self._clock.now()
        if now >= identity.expires_at:
            self._verified.pop(token, None)
            raise Rejection(Code.UNAUTHENTICATED, "the token has expired: log in again")
        if self._revocations.names(identity, now):
            self._verified.pop(token, None)
            raise Rejection(Code.UNAUTHENTICATED, "the token was revoked: log in again")
        self._keep(token, identity)
        return identity

    def revoke(self, revocation: Revocation) -> None:
        """Refuse what `revocation` names from now on; being told of it again changes nothing."""
        self._revocations.add(revocation, self._clock.now())

    def _keep(self, token: str, identity: Identity) -> None:
        self._verified[token] = identity
        self._verified.move_to_end(token)
        if len(self._verified) > self._verified_max:
            self._verified.popitem(last=False)


class _Revocations:
    """Standing revocations, at most `REVOCATIONS_MAX`.

    Beyond that the one that ends first is dropped, and every token that expires as early as it ends is refused:
    what it named is among them, so that a full table ends a few sessions early and never lets one live on.
    """

    def __init__(self) -> None:
        self._of_token: dict[UUID, Revocation] = {}
        self._of_player: dict[PlayerId, dict[UUID | None, Revocation]] = {}  # by the token that each spares
        self._ends: list[tuple[datetime, int, Revocation]] = []  # a heap
        self._told = 0
        self._refused_until: datetime | None = None

    def add(self, revocation: Revocation, now: datetime) -> None:
        while self._ends and self._ends[0][0] <= now:
            self._forget(heapq.heappop(self._ends)[2])
        if revocation.until <= now or not self._stand(revocation):
            return
        self._told += 1
        heapq.heappush(self._ends, (revocation.until, self._told, revocation))
        if len(self._ends) > REVOCATIONS_MAX:
            dropped = heapq.heappop(self._ends)[2]
            self._forget(dropped)
            self._refused_until = max(dropped.until, self._refused_until or dropped.until)

    def names(self, identity: Identity, now: datetime) -> bool:
        """Tell whether a revocation names the token of `identity`."""
        if self._refused_until is not None and identity.expires_at <= self._refused_until:
            return True
        one = self._of_token.get(identity.token_id)
        if one is not None and now < one.until:
            return True
        of_player = self._of_player.get(identity.player_id)
        return of_player is not None and any(
            now < revocation.until
            and revocation.issued_until is not None
            and identity.issued_at <= revocation.issued_until
            and identity.token_id != spared
            for spared, revocation in of_player.items()
        )

    def _stand(self, revocation: Revocation) -> bool:
        """Put `revocation` in its place; False where one that names no less stands there already."""
        if revocation.token_id is not None:
            standing = self._of_token.get(revocation.token_id)
            if standing is not None and standing.until >= revocation.until:
                return False
            self._of_token[revocation.token_id] = revocation
            return True
        if revocation.player_id is None or revocation.issued_until is None:
            raise Fault("a revocation that names no token and no player")
        of_player = self._of_player.setdefault(revocation.player_id, {})
        standing = of_player.get(revocation.spared)
        if (
            standing is not None
            and standing.issued_until is not None
            and standing.issued_until >= revocation.issued_until
            and standing.until >= revocation.until
        ):
            return False
        of_player[revocation.spared] = revocation
        return True

    def _forget(self, revocation: Revocation) -> None:
        if revocation.token_id is not None:
            if self._of_token.get(revocation.token_id) is revocation:
                del self._of_token[revocation.token_id]
        elif revocation.player_id is not None:
            of_player = self._of_player.get(revocation.player_id, {})
            if of_player.get(revocation.spared) is revocation:
                del of_player[revocation.spared]
            if not of_player:
                self._of_player.pop(revocation.player_id, None)


def _identity_of(payload: bytes) -> Identity:
    try:
        claims = _decoder.decode(payload)
    except msgspec.DecodeError:
        raise _not_ours() from None
    return Identity(
        player_id=PlayerId(claims.sub),
        role=claims.role,
        token_id=claims.jti,
        issued_at=datetime.fromtimestamp(claims.iat, UTC),
        expires_at=datetime.fromtimestamp(claims.exp, UTC),
    )


def _not_ours() -> Rejection:
    return Rejection(Code.UNAUTHENTICATED, "not a token of ours")
