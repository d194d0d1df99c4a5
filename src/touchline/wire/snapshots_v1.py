"""Snapshots of a shard's state as they are kept, and the one encoding by which two states are compared."""

import zlib
from typing import Any, Final, Literal

import msgspec

from touchline.core.batch import ExposureMoved
from touchline.core.errors import Fault
from touchline.core.facts import BetAccepted, FactKind, FoldedWallet
from touchline.core.folding import Fold
from touchline.core.ids import MarketId, PlayerId, SelectionId
from touchline.core.ledger import Wallet
from touchline.wire.facts_v1 import body_from_wire, body_to_wire

_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


class SnapshotV1(msgspec.Struct, frozen=True):
    """A shard's wallets, open bets and exposures; each bet is as its fact was kept."""

    v: Literal[1]
    wallets: list[tuple[PlayerId, int, int, str, int]]  # balance, debt, currency, version
    bets: list[msgspec.Raw]
    exposures: list[tuple[MarketId, SelectionId, int, int, int]]  # bets, stakes, liability


_decoder: Final = msgspec.json.Decoder(SnapshotV1)


def snapshot_to_wire(fold: Fold) -> bytes:
    """Return a state as it is kept; `snapshot_from_wire` reads it back the same."""
    snapshot = SnapshotV1(
        v=1,
        wallets=[
            (player_id, held.wallet.balance_minor, held.wallet.debt_minor, held.currency, held.version)
            for player_id, held in fold.wallets.items()
        ],
        bets=[msgspec.Raw(body_to_wire(BetAccepted(bet=bet))) for bet in fold.bets.values()],
        exposures=[
            (*place, moved.bets, moved.stakes_minor, moved.liability_minor)
            for place, moved in fold.exposures.items()
        ],
    )
    return zlib.compress(msgspec.json.encode(snapshot), level=1)


def snapshot_from_wire(kept: bytes) -> Fold:
    """Return the state of a snapshot.

    Raises:
        Fault: it is of another version, or none at all.
    """
    try:
        snapshot = _decoder.decode(zlib.decompress(kept))
    except (ValueError, zlib.error) as wrong:  # msgspec's errors are ValueErrors
        raise Fault(f"a snapshot can't be read: {wrong}") from wrong
    bodies = [body_from_wire(FactKind.BET_ACCEPTED, bytes(bet)) for bet in snapshot.bets]
    bets = [body.bet for body in bodies if isinstance(body, BetAccepted)]
    return Fold(
        wallets={
            player_id: FoldedWallet(Wallet(balance, debt), currency, version)
            for player_id, balance, debt, currency, version in snapshot.wallets
        },
        bets={bet.bet_id: bet for bet in bets},
        exposures={
            (market_id, selection_id): ExposureMoved(bets, stakes, liability)
            for market_id, selection_id, bets, stakes, liability in snapshot.exposures
        },
    )


def canonical(state: Any) -> bytes:
    """Return the one encoding of a state: what is alike is the same bytes, and nothing else is."""
    return _canonical(state)
