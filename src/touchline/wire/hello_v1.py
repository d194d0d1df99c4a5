"""How two processes of one platform make sure of each other before the first request: a challenge each way.

Invariant: neither side's proof can be made without the platform's secret, nor used by the other side, for another
shard or on another connection.
"""

import hmac
from typing import Final

import msgspec

NONCE_BYTES: Final = 16
HELLO_BYTES_MAX: Final = 256  # a frame before both sides are sure
_KEY_NAME: Final = b"touchline shards v1"


class ChallengeV1(msgspec.Struct, frozen=True, array_like=True, tag="challenge"):
    """The writer's first word: which of how many shards it has, and what is to be signed."""

    shard: int
    shards: int
    nonce: bytes


class ProofV1(msgspec.Struct, frozen=True, array_like=True, tag="proof"):
    """The pod's answer: its signature, and what it wants signed in turn."""

    nonce: bytes
    signature: bytes


class WelcomeV1(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The writer's signature; requests may come from here on."""

    signature: bytes


def hello_key(secret: str) -> bytes:
    """Return the key of both proofs: it is made of the platform's secret and tells nothing of it."""
    return hmac.digest(secret.encode(), _KEY_NAME, "sha256")


def pod_signature(key: bytes, challenge: ChallengeV1, nonce: bytes) -> bytes:
    """Return what a pod proves itself with: HMAC-SHA256 (RFC 2104) of all that both have said."""
    return _sign(b"pod", key, challenge, nonce)


def writer_signature(key: bytes, challenge: ChallengeV1, nonce: bytes) -> bytes:
    """Return what a writer proves itself with."""
    return _sign(b"writer", key, challenge, nonce)


def _sign(side: bytes, key: bytes, challenge: ChallengeV1, nonce: bytes) -> bytes:
    said = msgspec.msgpack.encode((side, challenge, nonce))  # each with its length: no two make the same bytes
    return hmac.digest(key, said, "sha256")
