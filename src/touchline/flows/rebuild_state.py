"""Work the state of the books out of the facts: compare it with the tables, keep it as snapshots, rewrite them.

Invariant: facts are read player by player, or from a snapshot on, so that memory holds one player, or what is
open, however many facts there are.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from touchline.core.batch import ExposureMoved, Place
from touchline.core.errors import Fault
from touchline.core.facts import BetAccepted, BetDecided, CarriedOver, Fact, player_of
from touchline.core.folding import Fold, bets_of
from touchline.core.funds import FundsMoved
from touchline.core.ids import PlayerId
from touchline.ports import Clock
from touchline.ports.archive import Archive, ArchiveStore, PlayerState, Snapshot
from touchline.wire.snapshots_v1 import canonical

SNAPSHOT_FACTS: Final = 100_000  # between two snapshots of a shard
SNAPSHOT_LOOK_S: Final = 30.0
TOLD_MAX: Final = 100  # differences, of all that there are

_log = logging.getLogger("touchline.snapshots")


@dataclass(slots=True)
class Verified:
    """What a comparison found; `differences` is empty exactly where facts and tables say the same."""

    shards: int = 0
    players: int = 0
    bets: int = 0
    facts: int = 0
    differences: list[str] = field(default_factory=list)

    def tell(self, difference: str) -> None:
        """Note a difference; beyond `TOLD_MAX` they are only known to be."""
        if len(self.differences) < TOLD_MAX:
            self.differences.append(difference)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """How many rows were otherwise than facts say, and are no longer."""

    rows: int
    exposures: int


async def verify(store: ArchiveStore, *, from_snapshots: bool = False) -> Verified:
    """Compare what facts come to with what the tables hold, byte for byte, all of one instant.

    From nothing every wallet, bet, transfer and movement is compared; from the newest snapshots, which is quicker,
    wallets, open bets and exposures.
    """
    found = Verified()
    async with store.reading() as archive:
        exposures: dict[Place, ExposureMoved] = {}
        for shard, next_seq in archive.shards.items():
            found.shards += 1
            found.facts += next_seq - 1
            gap = await archive.gaps(shard)
            if gap is not None:
                found.tell(gap)
            try:
                if from_snapshots:
                    await _compare(_open(archive, shard, exposures), archive.open_states(shard), found)
                else:
                    await _compare(_folded(archive, shard, exposures), archive.states(shard), found)
            except Fault as fault:
                found.tell(f"shard {shard}: {fault}")
        _compare_exposures(exposures, await archive.exposures(), found)
    return found


async def _open(
    archive: Archive, shard: int, exposures: dict[Place, ExposureMoved]
) -> AsyncIterator[PlayerState]:
    """Yield what facts come to since the newest snapshot, of wallets and open bets, player by player."""
    fold = (await current(archive, shard)).fold
    for place, moved in fold.exposures.items():
        exposures[place] = exposures.get(place, ExposureMoved()).plus(moved)
    states = {player_id: PlayerState(player_id, wallet) for player_id, wallet in fold.wallets.items()}
    for bet in sorted(fold.bets.values(), key=lambda bet: bet.bet_id):
        states[bet.player_id].bets.append(bet)
    for player_id in sorted(states):
        yield states[player_id]


async def current(archive: Archive, shard: int) -> Snapshot:
    """Return a shard's state as it is now, folded from its newest snapshot."""
    snapshot = await archive.newest_snapshot(shard) or Snapshot(1, Fold())
    async for facts in archive.facts_since(shard, snapshot.next_seq):
        await _recall(archive, snapshot, shard, facts)
        for fact in facts:
            snapshot.fold.add(fact.body)
        snapshot.fold.forget_decided()
        snapshot = Snapshot(facts[-1].seq + 1, snapshot.fold)
    return snapshot


async def _recall(archive: Archive, snapshot: Snapshot, shard: int, facts: Sequence[Fact]) -> None:
    """Bring back those decided bets that `facts` take back: a snapshot holds the open ones only."""
    bodies = [fact.body for fact in facts]
    told = [body.bet for body in bodies if isinstance(body, BetAccepted | CarriedOver)]
    accepted = {bet.bet_id for bet in told if bet is not None}
    decided = {body.bet_id for body in bodies if isinstance(body, BetDecided)}
    missing = decided - accepted - set(snapshot.fold.bets)
    if missing:
        earlier = await archive.facts_of_bets(shard, missing, facts[0].seq)
        snapshot.fold.bets |= bets_of(fact.body for fact in earlier)


async def _folded(
    archive: Archive, shard: int, exposures: dict[Place, ExposureMoved]
) -> AsyncIterator[PlayerState]:
    """Yield what facts come to, player by player; `exposures` gathers those of all."""
    state, fold = PlayerState(PlayerId("")), Fold(exposures=exposures)
    async for fact in archive.facts_by_player(shard):
        player_id = player_of(fact.body)
        if player_id != state.player_id:
            if state.player_id:
                yield _whole(state, fold)
            state, fold = PlayerState(player_id), Fold(exposures=exposures)
        posting = fold.add(fact.body)
        if posting is not None:
            state.transfers += posting.transfers
        if isinstance(fact.body, FundsMoved):
            state.moves.append(fact.body)
        elif isinstance(fact.body, CarriedOver):
            state.moves += fact.body.moves
            state.transfers += fact.body.transfers
    if state.player_id:
        yield _whole(state, fold)


def _whole(state: PlayerState, fold: Fold) -> PlayerState:
    state.wallet = fold.wallets.get(state.player_id)
    state.bets = sorted(fold.bets.values(), key=lambda bet: bet.bet_id)
    state.moves.sort(key=lambda moved: moved.move_id)
    state.transfers.sort(key=lambda transfer: transfer.transfer_id)
    return state


async def _compare(
    folded: AsyncIterator[PlayerState], kept: AsyncIterator[PlayerState], found: Verified
) -> None:
    """Walk two rows of players side by side, each in the order of their ids."""
    ours, theirs = await anext(folded, None), await anext(kept, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.player_id < theirs.player_id):
            assert ours is not None
            _compare_player(ours, PlayerState(ours.player_id), found)
            ours = await anext(folded, None)
        elif ours is None or theirs.player_id < ours.player_id:
            _compare_player(PlayerState(theirs.player_id), theirs, found)
            theirs = await anext(kept, None)
        else:
            _compare_player(ours, theirs, found)
            ours, theirs = await anext(folded, None), await anext(kept, None)


def _compare_player(ours: PlayerState, theirs: PlayerState, found: Verified) -> None:
    found.players += 1
    found.bets += len(ours.bets)
    if canonical(ours) == canonical(theirs):
        return
    who = ours.player_id
    if ours.wallet != theirs.wallet:
        found.tell(f"wallet of {who}: its facts say {ours.wallet}, it is {theirs.wallet}")
    parts: list[tuple[str, Sequence[Any], Sequence[Any]]] = [
        ("bet_id", ours.bets, theirs.bets),
        ("move_id", ours.moves, theirs.moves),
        ("transfer_id", ours.transfers, theirs.transfers),
    ]
    for name, said, held in parts:
        by_said, by_held = ({getattr(one, name): one for one in some} for some in (said, held))
        for key in sorted(by_said.keys() | by_held.keys()):
            if canonical(by_said.get(key)) != canonical(by_held.get(key)):
                what = f"{name.removesuffix('_id')} {key} of {who}"
                found.tell(f"{what}: its facts say {by_said.get(key)}, on record {by_held.get(key)}")


def _compare_exposures(
    folded: Mapping[Place, ExposureMoved], kept: Mapping[Place, ExposureMoved], found: Verified
) -> None:
    for place in sorted(folded.keys() | kept.keys()):
        if folded.get(place) != kept.get(place):
            found.tell(f"exposure of {' '.join(place)}: facts say {folded.get(place)}, it is {kept.get(place)}")


async def rebuild(store: ArchiveStore) -> Rewritten:
    """Write the tables anew where they are otherwise than facts say, while nobody else writes a shard.

    Transfers can only be added to, so that they are compared by `verify`, and never written here; what no fact
    tells of stays.

    Raises:
        Fault: the facts themselves can't be folded; whatever was written until then is as facts say.
    """
    rows = 0
    async with store.held(), store.reading() as archive:
        exposures: dict[Place, ExposureMoved] = {}
        for shard in archive.shards:
            rows += await store.rewrite(_folded(archive, shard, exposures))
        return Rewritten(rows, await store.rewrite_exposures(exposures))


async def take_snapshot(store: ArchiveStore, shard: int, at: datetime, every: int = SNAPSHOT_FACTS) -> bool:
    """Keep a snapshot of a shard if at least `every` facts have come since the newest; tells whether it did."""
    async with store.reading() as archive:
        if not await _due(archive, shard, every):
            return False
        snapshot = await current(archive, shard)
    await store.keep_snapshot(shard, snapshot, at)
    return True


async def _due(archive: Archive, shard: int, every: int) -> bool:
    return archive.shards[shard] - await archive.snapshot_at(shard) >= every


async def keep_snapshots(store: ArchiveStore, clock: Clock, every: int = SNAPSHOT_FACTS) -> None:
    """Keep a snapshot of each shard whenever `every` more facts have come, for ever.

    A shard whose facts can't be folded gets none: that is told in the log, and holds nothing else up.
    """
    while True:
        async with store.reading() as archive:
            due = [shard for shard in archive.shards if await _due(archive, shard, every)]
        for shard in due:
            try:
                await take_snapshot(store, shard, clock.now(), every)
            except Fault as fault:
                _log.error("shard %d has no new snapshot, see `touchline rebuild --verify`: %s", shard, fault)
        await asyncio.sleep(SNAPSHOT_LOOK_S)
