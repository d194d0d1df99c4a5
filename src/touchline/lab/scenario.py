"""What a scenario is, and what it has to work with: a running platform, players, a feed, and a crowd of bettors.

Invariant: whatever a scenario does is on record before it is over: its steps with their settings, its faults, what
it found. A scenario only says what happens, and in which order.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from touchline.lab.bettors import Player
from touchline.lab.clock import monotonic_s
from touchline.lab.crowd import Crowd, shares
from touchline.lab.generator import BALANCE_INTERVAL_S, BET_INTERVAL_S, POLL_INTERVAL_S, Orders
from touchline.lab.market_maker import MarketMaker
from touchline.lab.platform import Platform, PlatformAway
from touchline.lab.progress import Screen
from touchline.lab.recorder import Recorder
from touchline.lab.records import BETS, RUN, Checks, Fault, Run, Size, Step, StepResult, write_whole

START_S: Final = 1.0  # in which generators start, and a little more for each user
START_S_PER_USER: Final = 0.0004
START_S_PER_STREAM: Final = 0.004  # and more where he connects and subscribes
LOOK_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Load:
    """What bettors and the market do in a step; intervals are means, but for the polls', which is exact."""

    users: int
    changes_per_s: float = 0.1  # of each market's prices
    poll_interval_s: float = POLL_INTERVAL_S
    bet_interval_s: float = BET_INTERVAL_S
    balance_interval_s: float = BALANCE_INTERVAL_S
    accept: str = "none"


@dataclass
class Lab:
    """A run in progress, as a scenario sees it."""

    run: Run
    run_dir: Path
    began_s: float  # of the monotonic clock
    keys: str  # what this run's keys begin with
    platform: Platform
    dsn: Callable[[], str]  # of PostgreSQL, past any delay that the pods see
    players: Sequence[Player]
    maker: MarketMaker
    recorder: Recorder
    screen: Screen
    generators: int = 2
    pids: dict[str, int] = field(default_factory=dict)  # of what runs beside the platform
    markets: list[str] = field(default_factory=list)
    history: Path = Path(BETS)  # where every attempt at a bet on this platform goes
    first_step: int = 0  # of this platform: what is left to chance begins with it
    moving: Callable[["Lab", str], Awaitable[None]] | None = None
    checks: list[tuple[str, Checks]] = field(default_factory=list)  # of the platforms that were left

    @property
    def size(self) -> Size:
        """Whether it is a smoke run or a full one."""
        return self.run.size

    @property
    def pushed(self) -> bool:
        """Whether the platform pushes prices."""
        return self.platform.instance.architecture == "stream"

    def parameter(self, name: str) -> Any:
        """Return one of the scenario's parameters."""
        return self.run.parameters[name]

    def now_s(self) -> float:
        """Return the seconds since the run's start."""
        return monotonic_s() - self.began_s

    def save(self) -> None:
        """Write `run.json`.

        Raises:
            OSError: the disk is full.
        """
        write_whole(self.run_dir / RUN, self.run)

    def fault(self, fault: Fault) -> None:
        """Put something that was broken on record."""
        self.run.faults.append(fault)
        self.save()

    def find(self, name: str, value: Any) -> None:
        """Put something that the scenario concludes on record."""
        self.run.findings[name] = value
        self.save()

    async def move_to(self, architecture: str) -> None:
        """Have this platform's books checked, leave it, and load one of another architecture as if at the start.

        Raises:
            PlatformAway: it does not stop, or the other does not start.
            CannotCheck: the books can't be read.
        """
        if self.moving is None:
            raise PlatformAway("a platform that runs already is the only one")
        await self.moving(self, architecture)
        self.first_step = len(self.run.steps)

    async def restart(self, settings: Mapping[str, str]) -> None:
        """Stop the platform and start it with other settings above those it has; accounts and books stay.

        Raises:
            PlatformAway: it does not stop or start.
        """
        await self.platform.stop()
        await self.platform.start(settings)
        await self.maker.move_to(self.platform.instance.address)

    async def step(
        self,
        name: str,
        load: Load,
        seconds: float,
        *,
        warm_s: int = 0,
        settings: Mapping[str, str] | None = None,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
    ) -> list[StepResult]:
        """Let bettors bet for `seconds` after warming up for `warm_s`; return the results of each kind of request.

        With `meanwhile`, the step ends with it; after `seconds` it goes on without bettors.

        Raises:
            GeneratorFailed: a generator ended with an error.
            FeedRefused: the platform does not take changes of prices.
            OSError: the disk is full.
        """
        step = self._planned(name, load, seconds, warm_s, settings or {})
        self.recorder.begin(step)
        orders = self._orders(step, load, step.starts_s - warm_s)
        crowd = await Crowd.gather(shares(orders, self.generators), self.recorder.add)
        self.pids |= crowd.pids()
        moving = self.maker.move(self.markets, load.changes_per_s, self.began_s + step.ends_s)
        beside = [asyncio.create_task(self._watch(step)), asyncio.create_task(moving)]
        try:
            await self._until(step.starts_s, crowd, beside)
            if meanwhile is not None:
                await meanwhile()
                step = self._ended_now(step)
                crowd.end()
            await self._until(step.ends_s, crowd, beside)
            await crowd.ended()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await crowd.stop()
            self.pids = {part: pid for part, pid in self.pids.items() if part not in crowd.pids()}
        results = self.recorder.end(step)
        self.run.steps.append(step)
        self.save()
        self.screen.ended(step, results)
        return results

    def _planned(self, name: str, load: Load, seconds: float, warm_s: int, settings: Mapping[str, str]) -> Step:
        per_user_s = START_S_PER_USER + START_S_PER_STREAM * self.pushed
        starts_s = math.ceil(self.now_s() + START_S + load.users * per_user_s) + warm_s
        ends_s = starts_s + max(1, math.ceil(seconds))
        return Step(name=name, users=load.users, settings=dict(settings), starts_s=starts_s, ends_s=ends_s)

    def _ended_now(self, step: Step) -> Step:
        """Return a step that ends with the last whole second."""
        ends_s = min(step.ends_s, max(step.starts_s + 1, math.floor(self.now_s())))
        return msgspec.structs.replace(step, ends_s=ends_s)

    def _orders(self, step: Step, load: Load, starts_s: float) -> Orders:
        number = len(self.run.steps)
        chance = number - self.first_step
        return Orders(
            address=self.platform.instance.address,
            run_began_s=self.began_s,
            starts_at_s=self.began_s + starts_s,
            ends_at_s=self.began_s + step.ends_s,
            seed=f"{self.run.seed}:{chance}",
            keys=f"{self.keys}-{number}",
            first_user=0,
            users=load.users,
            players=list(self.players),
            markets=self.markets,
            history=str(self.history),
            poll_interval_s=load.poll_interval_s,
            bet_interval_s=load.bet_interval_s,
            balance_interval_s=load.balance_interval_s,
            accept=load.accept,
            stream=self.platform.instance.address if self.pushed else "",
        )

    async def _until(self, at_s: float, crowd: Crowd, beside: Sequence["asyncio.Task[None]"]) -> None:
        """Wait for an instant of the run; what fails until then, or has failed, ends it."""
        ended = asyncio.create_task(crowd.ended())
        waiting = {ended, *beside}
        try:
            while waiting and (left_s := at_s - self.now_s()) > 0:
                done, waiting = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            ended.cancel()

    async def _watch(self, step: Step) -> None:
        """Show how a step goes, and write what is over."""
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = self.now_s()
            self.recorder.ripen(now_s)
            self.screen.step(step, now_s, self.recorder.live(now_s))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Something that can be run: what it shows, what happens, and how much of it at each size."""

    name: str
    shows: str  # one line
    act: Callable[[Lab], Awaitable[None]]
    sizes: Mapping[Size, Mapping[str, Any]]  # its parameters; `users`, a list, gives way to --users
    settings: Mapping[str, str] = field(default_factory=dict)  # of the platform
    markets: int = 20
    many_users: bool = False  # whether --users may name several steps
    own_platform: bool = False  # whether it restarts the platform or breaks it, which is no guest's right
    architectures: Sequence[str] = ("poll", "stream")  # that it can be run on
    in_turn: bool = False  # whether it is run on all of them, one after another
