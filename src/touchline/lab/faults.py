"""What can be broken on purpose in a running platform, one way after another.

Invariant: whatever is broken is mended again before a fault returns, and only processes of the platform's own
record are ever signalled.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Final

import redis.asyncio as redis

from touchline.lab.clock import monotonic_s
from touchline.lab.desk import Desk, DeskRefused
from touchline.lab.records import Fault, Size
from touchline.lab.rude_clients import drip, sip
from touchline.lab.slips import Bettor, Offer, Slips, again
from touchline.lab.watch import Watch

POLL_S: Final = 0.02
BACK_WITHIN_S: Final = 60.0  # a part that was killed
WHOLE_WITHIN_S: Final = 60.0  # the platform, after a fault
BETTING_AT_ONCE: Final = 16
STAKE: Final = "0.50"
LINGERS_S: Final = (0.0, 0.001, 0.003, 0.006, 0.012, 0.025)  # after the request, until a client breaks off
SIPPED_PATH: Final = "/openapi.json"
SIPPED_TIMES: Final = 120  # so that no buffer on the way holds all of the answers
SIPPERS: Final = 10  # one slow reader among so many slow senders


class NotMended(Exception):
    """A part or the platform did not come back."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How long and how wide each fault is; `hold_s` is what is broken by hand and stays so."""

    calm_s: float  # before each
    hold_s: float
    bets: int  # settled under kills
    kills: int  # of settlement
    cut_off: int  # clients with a key, and as many without
    slow: int  # clients that send slowly; a tenth as many read slowly


EXTENTS: Final[Mapping[Size, Extent]] = {
    "smoke": Extent(calm_s=0.5, hold_s=2.0, bets=300, kills=2, cut_off=24, slow=40),
    "full": Extent(calm_s=5.0, hold_s=15.0, bets=5_000, kills=5, cut_off=300, slow=400),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A running platform with a watch on it, and all that a fault needs to break it."""

    extent: Extent
    pids: Callable[[], Mapping[str, int]]  # of the platform's parts, as they are now
    valkey: str  # its URL
    desk: Desk
    slips: Slips
    bettors: Sequence[Bettor]  # nobody else bets for them
    offer: Offer  # of the market that everybody bets on
    watch: Watch

    async def kill(self, part: str) -> None:
        """Kill a part, as soon as it runs.

        Raises:
            NotMended: it does not run.
        """
        _signal([await self.until_running(part)], signal.SIGKILL)

    async def until_running(self, part: str, other_than: int | None = None) -> int:
        """Wait until a part runs, as another process than `other_than`; return its process id.

        Raises:
            NotMended: it does not in `BACK_WITHIN_S`.
        """
        until_s = monotonic_s() + BACK_WITHIN_S
        while monotonic_s() < until_s:
            pid = self.pids().get(part, other_than)
            if pid is not None and pid != other_than:
                return pid
            await asyncio.sleep(POLL_S)
        raise NotMended(f"{part} did not come back in {BACK_WITHIN_S:g} s")

    def pods(self) -> list[int]:
        """Return the process ids of all pods."""
        return [pid for part, pid in self.pids().items() if part.startswith("pod")]


Breaking = Callable[[Stage], Awaitable[dict[str, Any]]]


async def suffer(stage: Stage, what: str, breaking: Breaking) -> tuple[Fault, dict[str, Any]]:
    """Break something and wait until it is whole; return the fault and what users saw.

    Raises:
        NotMended: it did not become whole.
        DeskRefused: the platform did not do what the fault needs.
    """
    await asyncio.sleep(stage.extent.calm_s)
    at_s = stage.slips.elapsed_s()
    found = await breaking(stage)
    mended_s = stage.slips.elapsed_s()
    if not await stage.watch.until_whole(mended_s, WHOLE_WITHIN_S):
        raise NotMended(f"{WHOLE_WITHIN_S:g} s after this there were still failures: {what}")
    seen = {kind: stage.watch.seen(kind, at_s, stage.slips.elapsed_s()) for kind in stage.watch.kinds}
    whole_s = [at_s + one.whole_again_s for one in seen.values() if one and one.whole_again_s is not None]
    fault = Fault(at_s=round(at_s, 3), until_s=round(max([mended_s, *whole_s]), 3), what=what)
    return fault, {"fault": what, **found, **seen}


def killing(part: str) -> Breaking:
    """Return the fault of a part that is killed once, and is started again at once."""

    async def kill(stage: Stage) -> dict[str, Any]:
        killed = await stage.until_running(part)
        await stage.kill(part)
        await stage.until_running(part, other_than=killed)
        return {}

    return kill


async def keep_killing_postgres(stage: Stage) -> dict[str, Any]:
    """Kill PostgreSQL as often as it comes back, so that the supervisor's pauses grow."""
    until_s, kills = monotonic_s() + stage.extent.hold_s, 0
    while monotonic_s() < until_s:
        await stage.kill("postgres")
        kills += 1
        await asyncio.sleep(POLL_S)
    return {"kills": kills}


async def fill_valkey(stage: Stage) -> dict[str, Any]:
    """Leave Valkey no memory at all, so that it evicts every session and takes no new one."""
    async with redis.from_url(stage.valkey, decode_responses=True) as valkey:
        before = await valkey.config_get("maxmemory*")
        evicted = (await valkey.info("stats"))["evicted_keys"]
        await valkey.config_set("maxmemory-policy", "allkeys-lru")
        await valkey.config_set("maxmemory", 1)
        try:
            await asyncio.sleep(stage.extent.hold_s)
            evicted = (await valkey.info("stats"))["evicted_keys"] - evicted
        finally:
            for name in ("maxmemory", "maxmemory-policy"):
                await valkey.config_set(name, before[name] or "")
    return {"evicted": evicted}


def killing_while_it_pays(part: str, *, at_once: bool = False) -> Breaking:
    """Return the fault of a part that is killed again and again while the bets of a market are paid.

    With `at_once` for the first time as soon as they are to be paid: most may be by the first look.
    """

    async def kill(stage: Stage) -> dict[str, Any]:
        return await _kill_while_it_pays(stage, part, at_once)

    return kill


async def _kill_while_it_pays(stage: Stage, part: str, at_once: bool) -> dict[str, Any]:
    offer, bets = await stage.desk.open_market(), stage.extent.bets
    placed = await bet_on(stage, offer, bets)
    began_s = monotonic_s()
    await stage.desk.settle(offer.market_id, {"home": "won", "draw": "lost", "away": "lost"})
    kills: list[int] = []
    for number in range(1 - at_once, stage.extent.kills + 1 - at_once):
        pid = await stage.until_running(part)
        after = placed * number // (stage.extent.kills + 1)
        done = await stage.desk.until_settled(offer.market_id, after, BACK_WITHIN_S) if after else 0
        if done >= placed:
            break
        _signal([pid], signal.SIGKILL)
        kills.append(done)
        await stage.until_running(part, other_than=pid)
    done = await stage.desk.until_settled(offer.market_id, None, BACK_WITHIN_S + placed / 50)
    took_s = round(monotonic_s() - began_s, 2)
    return {"bets": placed, "settled": done, "killed_after": kills, "settled_in_s": took_s}


async def unready_pods(stage: Stage) -> dict[str, Any]:
    """Have every pod say that it is not ready; then replace them."""
    pods = stage.pods()
    _signal(pods, signal.SIGUSR1)
    await asyncio.sleep(stage.extent.hold_s)
    _signal(pods, signal.SIGTERM)
    return {}


async def freeze_pods(stage: Stage) -> dict[str, Any]:
    """Stop every pod in mid-air, connections open, and let it go on later."""
    pods = stage.pods()
    _signal(pods, signal.SIGSTOP)
    try:
        await asyncio.sleep(stage.extent.hold_s)
    finally:
        _signal(pods, signal.SIGCONT)
    return {}


async def cut_clients_off(stage: Stage) -> dict[str, Any]:
    """Break clients off after their request, before its answer; each then asks again, with a key or without."""
    keyless = await _cut_off(stage, stage.bettors[1], keyed=False)
    return await cut_keyed_clients_off(stage) | {"without_key": keyless}


async def cut_keyed_clients_off(stage: Stage) -> dict[str, Any]:
    """Break clients off after their request, before its answer; each then asks again under its key."""
    return {"with_key": await _cut_off(stage, stage.bettors[0], keyed=True)}


async def _cut_off(stage: Stage, bettor: Bettor, *, keyed: bool) -> dict[str, int]:
    before, meant = await _bets_of(stage, bettor), stage.extent.cut_off
    for number in range(meant):
        key = f"cut off {number} {monotonic_s()}" if keyed else None
        asked = stage.slips.ask(bettor, stage.offer, STAKE, key)
        lost = await stage.slips.send_and_vanish(bettor, asked, LINGERS_S[number % len(LINGERS_S)])
        await stage.slips.send_until_answered(bettor, again(lost), BACK_WITHIN_S)
    placed = await _bets_of(stage, bettor) - before
    return {"meant": meant, "placed": placed, "placed_twice": placed - meant}


async def be_slow(stage: Stage) -> dict[str, Any]:
    """Open many connections that send or read a byte a second, and see whether anybody else waits longer.

    What the readers ask for in one go is work like any other's, so that the others are compared once it is done.
    """
    half_s, slips, until = stage.extent.hold_s / 2, stage.slips, asyncio.Event()
    before = stage.watch.seen("odds", slips.elapsed_s() - half_s, slips.elapsed_s())
    dripped = slips.http.request("GET", f"/odds/{stage.offer.market_id}", stage.bettors[0].token)
    sipped = slips.http.request("GET", SIPPED_PATH) * SIPPED_TIMES
    async with asyncio.TaskGroup() as group:
        drips = [group.create_task(drip(slips.address, dripped, until)) for _ in range(stage.extent.slow)]
        sips = [group.create_task(sip(slips.address, sipped, until)) for _ in range(stage.extent.slow // SIPPERS)]
        await asyncio.sleep(half_s)
        from_s = slips.elapsed_s()
        await asyncio.sleep(half_s)
        meanwhile = stage.watch.seen("odds", from_s, slips.elapsed_s())
        until.set()
    return {
        "slow_senders": sum(task.result() > 0 for task in drips),
        "slow_readers": sum(task.result() > 0 for task in sips),
        "others_p99_ms_before": before and before.p99_ms,
        "others_p99_ms_meanwhile": meanwhile and meanwhile.p99_ms,
    }


async def bet_on(stage: Stage, offer: Offer, bets: int) -> int:
    """Place so many bets, from all bettors in turn; return how many were taken."""
    room = asyncio.Semaphore(BETTING_AT_ONCE)

    async def bet(number: int, bettor: Bettor) -> bool:
        async with room:
            asked = stage.slips.ask(bettor, offer, STAKE, f"{offer.market_id} {number}")
            return (await stage.slips.send_until_answered(bettor, asked, BACK_WITHIN_S)).status == 201

    everyone = islice(cycle(stage.bettors), bets)
    return sum(await asyncio.gather(*(bet(number, bettor) for number, bettor in enumerate(everyone))))


async def _bets_of(stage: Stage, bettor: Bettor) -> int:
    """Count a player's bets."""
    bets, cursor = 0, ""
    while True:
        _, code, page = await stage.slips.get(bettor, f"/bets?limit=100{cursor}")
        if code:
            raise DeskRefused(f"GET /bets: {code}")
        bets += len(page["bets"])
        if page["cursor"] is None:
            return bets
        cursor = f"&cursor={page['cursor']}"


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has just ended, and the record is about to say so
            os.kill(pid, number)


FAULTS: Final[Mapping[str, tuple[str, Breaking]]] = {
    "postgres-killed": ("PostgreSQL killed", killing("postgres")),
    "postgres-kept-down": ("PostgreSQL killed as often as it comes back", keep_killing_postgres),
    "valkey-killed": ("Valkey killed", killing("valkey")),
    "valkey-full": ("Valkey out of memory, evicting every session (allkeys-lru)", fill_valkey),
    "settlement-killed": ("settlement worker killed while it pays", killing_while_it_pays("settlement")),
    "pods-unhealthy": ("every pod unhealthy", unready_pods),
    "pods-frozen": ("pods frozen, their connections open", freeze_pods),
    "clients-cut-off": ("clients cut off in mid-bet, asking again", cut_clients_off),
    "clients-slow": ("slow clients, a byte a second", be_slow),
}
