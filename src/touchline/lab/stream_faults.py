"""What can be broken on purpose where prices are pushed and the ledger is a log of facts.

Invariant: as in `touchline.lab.faults`; a part that the platform does not have is skipped, and that is told.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from touchline.lab.faults import (
    Breaking,
    Stage,
    be_slow,
    cut_keyed_clients_off,
    fill_valkey,
    freeze_pods,
    keep_killing_postgres,
    killing,
    killing_while_it_pays,
    unready_pods,
)
from touchline.lab.rude_clients import subscribe_and_stall
from touchline.lab.watch import PUSH

STALLED_SHARE: Final = 4  # one subscriber that never reads among so many slow clients
PART: Final = {
    "gateway-killed": "gateway-1",
    "writer-killed": "writer-1",
    "writer-killed-paying": "writer-1",
    "history-killed": "history",
    "relay-killed": "relay",
    "odds-killed": "odds",
    "pod-killed": "pod-1",
}


def part_of(name: str) -> str | None:
    """Return the part that a fault needs; None where it needs none that is not always there."""
    return PART.get(name)


def reconnecting(breaking: Breaking) -> Breaking:
    """Return a fault that tells besides what became of a subscriber's connection."""

    async def break_and_count(stage: Stage) -> dict[str, Any]:
        if stage.watch.ticker is None:
            return await breaking(stage)
        stage.watch.ticker.connections()
        found = await breaking(stage)
        await stage.watch.until_whole(stage.slips.elapsed_s(), stage.extent.hold_s + 10.0)
        return found | {"subscription": stage.watch.ticker.connections()}

    return break_and_count


async def stall_subscribers(stage: Stage) -> dict[str, Any]:
    """Have many follow the market that moves most and never read, and see whether others wait longer."""
    ticker, slips, until = stage.watch.ticker, stage.slips, asyncio.Event()
    if ticker is None:
        return {}
    half_s = stage.extent.hold_s / 2
    before = stage.watch.seen(PUSH, slips.elapsed_s() - half_s, slips.elapsed_s())
    wish = msgspec.json.encode({"op": "subscribe", "id": "1", "markets": [ticker.market_id]})
    many = max(1, stage.extent.slow // STALLED_SHARE)
    async with asyncio.TaskGroup() as group:
        stalled = [group.create_task(subscribe_and_stall(slips.address, wish, until)) for _ in range(many)]
        await asyncio.sleep(half_s)
        from_s = slips.elapsed_s()
        await asyncio.sleep(half_s)
        meanwhile = stage.watch.seen(PUSH, from_s, slips.elapsed_s())
        until.set()
    return {
        "stalled_subscribers": many,
        "hung_up_on": sum(task.result() for task in stalled),
        "others_push_p99_ms_before": before and before.p99_ms,
        "others_push_p99_ms_meanwhile": meanwhile and meanwhile.p99_ms,
    }


WRITER_PAYING: Final = killing_while_it_pays("writer-1", at_once=True)
SETTLEMENT_PAYING: Final = killing_while_it_pays("settlement", at_once=True)
STREAM_FAULTS: Final[Mapping[str, tuple[str, Breaking]]] = {
    "postgres-killed": ("PostgreSQL killed", killing("postgres")),
    "postgres-kept-down": ("PostgreSQL killed as often as it comes back", keep_killing_postgres),
    "odds-killed": ("Valkey of the odds killed", reconnecting(killing("odds"))),
    "valkey-killed": ("Valkey of the sessions killed", killing("valkey")),
    "valkey-full": ("Valkey of the sessions out of memory, evicting each of them", fill_valkey),
    "gateway-killed": ("gateway killed", reconnecting(killing("gateway-1"))),
    "writer-killed": ("writer of a shard killed", killing("writer-1")),
    "writer-killed-paying": ("writer of a shard killed while bets are paid", WRITER_PAYING),
    "history-killed": ("history worker killed", killing("history")),
    "settlement-killed": ("settlement worker killed while it pays", SETTLEMENT_PAYING),
    "relay-killed": ("relay to Kafka killed", killing("relay")),
    "pod-killed": ("pod killed", killing("pod-1")),
    "pods-unhealthy": ("every pod unhealthy", unready_pods),
    "pods-frozen": ("pods frozen, their connections open", freeze_pods),
    "clients-cut-off": ("clients cut off in mid-bet, asking again under their keys", cut_keyed_clients_off),
    "clients-slow": ("slow clients, a byte a second", be_slow),
    "subscribers-stalled": ("subscribers that never read", stall_subscribers),
}
