"""One process of virtual bettors: an open loop, in which each request has an instant at which it is due.

Invariant: what is due is sent whether or not anything before it was answered; how late the process itself was is
counted with each request. It is told what to do by one line of JSON on stdin, and tells what it counts on stdout,
a line of samples every second and one at the end; another line, or the end of stdin, ends it.
"""

import asyncio
import gc
import heapq
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import uvloop

from touchline.lab.bettors import Bettor, Player, ShownMarket, Trade
from touchline.lab.clock import monotonic_s
from touchline.lab.http_client import HttpClient
from touchline.lab.records import LineWriter
from touchline.lab.samples import Sample, Tally
from touchline.lab.stream_client import Line

TELL_S: Final = 1.0
NAP_S: Final = 0.25  # the longest sleep, so that an end that is put forward is seen
AT_ONCE_MAX: Final = 32  # requests that are begun before answers are looked at again
SHARE_OF_POLLS: Final = 0.7  # the seed's mix of requests
SHARE_OF_BETS: Final = 0.2
SHARE_OF_BALANCES: Final = 0.1
POLL_INTERVAL_S: Final = 3.0
BET_INTERVAL_S: Final = POLL_INTERVAL_S * SHARE_OF_POLLS / SHARE_OF_BETS  # 10.5 s on the average
BALANCE_INTERVAL_S: Final = POLL_INTERVAL_S * SHARE_OF_POLLS / SHARE_OF_BALANCES  # 21 s
CONNECTIONS_MAX: Final = 1_000  # of one process
WAITING_PER_CONNECTION_MAX: Final = 4
REQUEST_TIMEOUT_S: Final = 10.0
DRAIN_S: Final = REQUEST_TIMEOUT_S + 2


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a generator is to do. Instants `*_at_s` are of the machine's monotonic clock, intervals are means."""

    address: str
    run_began_s: float
    starts_at_s: float
    ends_at_s: float
    seed: str
    keys: str  # what the keys of its bets begin with: never used before
    first_user: int
    users: int
    players: list[Player]
    markets: list[str]
    history: str
    poll_interval_s: float = POLL_INTERVAL_S
    bet_interval_s: float = BET_INTERVAL_S
    balance_interval_s: float = BALANCE_INTERVAL_S
    stake: str = "1.00"
    accept: str = "none"
    stream: str = ""  # the address from which prices are pushed to bettors, who then do not poll


Act = Callable[[float], Coroutine[None, None, None]]


class Schedule:
    """What is due next: polls at a fixed interval for each bettor, the rest at random (a Poisson process)."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._due: list[tuple[float, int, Act, float, bool]] = []

    def add(self, act: Act, interval_s: float, first_s: float, *, fixed: bool) -> None:
        """Add something that is due at `first_s` and again every `interval_s`, or so on the average."""
        heapq.heappush(self._due, (first_s, len(self._due), act, interval_s, fixed))

    def add_bettor(self, bettor: Bettor, orders: Orders, place: int) -> None:
        """Add a bettor, the `place`th of the process: polls are spread evenly over the interval."""
        spread = (place + self._chance.random()) / orders.users
        if not orders.stream:
            first_s = orders.starts_at_s + spread * orders.poll_interval_s
            self.add(bettor.poll, orders.poll_interval_s, first_s, fixed=True)
        for act, interval_s in ((bettor.bet, orders.bet_interval_s), (bettor.look, orders.balance_interval_s)):
            self.add(act, interval_s, orders.starts_at_s + self._chance.expovariate(1 / interval_s), fixed=False)

    def next_s(self) -> float:
        """Return when the next is due; never, where there is nothing."""
        return self._due[0][0] if self._due else float("inf")

    def take(self) -> tuple[Act, float]:
        """Return what is due next and when, and put down when it is due again."""
        due_s, number, act, interval_s, fixed = self._due[0]
        again_s = due_s + (interval_s if fixed else self._chance.expovariate(1 / interval_s))
        heapq.heapreplace(self._due, (again_s, number, act, interval_s, fixed))
        return act, due_s


async def run_schedule(schedule: Schedule, trade: Trade) -> None:
    """Begin each request when it is due, until the trade ends; then wait `DRAIN_S` at most for those under way."""
    under_way: set[asyncio.Task[None]] = set()
    begun = 0
    while (due_s := schedule.next_s()) < trade.ends_s:
        wait_s = due_s - monotonic_s()
        if wait_s > 0 or begun >= AT_ONCE_MAX:
            await asyncio.sleep(min(NAP_S, max(0.0, wait_s)))
            begun = 0
            continue
        act, due_s = schedule.take()
        task = asyncio.create_task(act(due_s))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        begun += 1
    if under_way:
        done, late = await asyncio.wait(under_way, timeout=max(0.0, trade.ends_s - monotonic_s()) + DRAIN_S)
        for task in late:
            task.cancel()
        for task in done:
            task.result()


async def generate(orders: Orders, tell: Callable[[list[Sample]], None], enough: asyncio.Event) -> None:
    """Do what `orders` say until they end or it is `enough`, and tell what was counted every second."""
    tally = Tally(orders.run_began_s)
    connections = min(orders.users, CONNECTIONS_MAX)
    client = HttpClient(
        orders.address,
        connections_max=connections,
        waiting_max=connections * WAITING_PER_CONNECTION_MAX,
        timeout_s=REQUEST_TIMEOUT_S,
    )
    with LineWriter(Path(orders.history)) as history:
        trade = Trade(
            client=client,
            tally=tally,
            history=history,
            run_began_s=orders.run_began_s,
            ends_s=orders.ends_at_s,
            keys=orders.keys,
            stake=orders.stake,
            accept=orders.accept,
        )
        line = Line(orders.stream, tally, f"{orders.seed}:{orders.first_user}") if orders.stream else None
        schedule = await _schedule(orders, trade, line)
        beside = [asyncio.create_task(_tell(tally, history, tell)), asyncio.create_task(_end(trade, enough))]
        driving = asyncio.create_task(run_schedule(schedule, trade))
        try:
            await asyncio.wait((beside[0], driving), return_when=asyncio.FIRST_COMPLETED)
            for task in (beside[0], driving):
                if task.done():
                    task.result()
        finally:
            for task in (*beside, driving):
                task.cancel()
            await asyncio.gather(*beside, driving, return_exceptions=True)
            await client.close()
            if line is not None:
                await line.close()
        history.flush()
        tell(tally.take())


async def _schedule(orders: Orders, trade: Trade, line: Line | None) -> Schedule:
    """Return the schedule of all bettors, who have seen the odds of their markets in the lobby, and may follow."""
    shown = {market_id: await look_up(trade.client, market_id, orders.players[0]) for market_id in orders.markets}
    schedule = Schedule(Random(f"{orders.seed}:{orders.first_user}"))
    for place in range(orders.users):
        number = orders.first_user + place
        market_id = orders.markets[number % len(orders.markets)]
        player = orders.players[number % len(orders.players)]
        bettor = Bettor(trade, number, player, market_id, shown[market_id], orders.seed)
        schedule.add_bettor(bettor, orders, place)
        if line is not None:
            line.follow([market_id], bettor.show)
    gc.collect()
    gc.freeze()
    return schedule


async def look_up(client: HttpClient, market_id: str, player: Player) -> ShownMarket | None:
    """Return a market as it is offered now; None where it can't be had."""
    exchange = await client.ask(client.request("GET", f"/odds/{market_id}", player.token))
    return msgspec.json.decode(exchange.body, type=ShownMarket) if exchange.status == 200 else None


async def _tell(tally: Tally, history: LineWriter, tell: Callable[[list[Sample]], None]) -> None:
    while True:
        await asyncio.sleep(TELL_S)
        history.flush()
        tell(tally.take())


async def _end(trade: Trade, enough: asyncio.Event) -> None:
    await enough.wait()
    trade.ends_s = min(trade.ends_s, monotonic_s())


async def _main() -> None:
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    loop = asyncio.get_running_loop()
    ended, enough = loop.create_future(), asyncio.Event()
    await loop.connect_read_pipe(lambda: _Told(enough), sys.stdin.buffer)
    out, _ = await loop.connect_write_pipe(lambda: _Pipe(ended), sys.stdout.buffer)

    def tell(samples: list[Sample]) -> None:
        out.write(msgspec.json.encode(samples) + b"\n")

    try:
        await generate(orders, tell, enough)
    finally:
        out.close()  # once what is written has left
        await ended


class _Told(asyncio.Protocol):
    """Whatever else comes on stdin, its end too, is the word to end: nobody listens any more, or has enough."""

    def __init__(self, enough: asyncio.Event) -> None:
        self._enough = enough

    def data_received(self, data: bytes) -> None:
        self._enough.set()

    def eof_received(self) -> None:
        self._enough.set()


class _Pipe(asyncio.BaseProtocol):
    def __init__(self, ended: "asyncio.Future[None]") -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


if __name__ == "__main__":
    try:
        uvloop.run(_main())
    except OSError as failed:
        sys.stderr.write(f"{failed.strerror or failed}\n")
        sys.exit(2)
