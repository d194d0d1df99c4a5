"""A run from its start to its report: a platform, players, a scenario, the checker's verdict.

Invariant: a run that did not come to its end is never called complete, and whatever was started is stopped.
"""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from touchline.lab import report
from touchline.lab.accounts import ACCOUNTS_MAX, Accounts, AccountsRefused
from touchline.lab.bettors import Player
from touchline.lab.checker import CannotCheck
from touchline.lab.clock import monotonic_s, utc_now
from touchline.lab.crowd import GeneratorFailed
from touchline.lab.desk import DeskRefused
from touchline.lab.distant import Distant, ServerAt, distant_postgres
from touchline.lab.evidence import ARCHITECTURES
from touchline.lab.faults import NotMended
from touchline.lab.judging import judge, together
from touchline.lab.market_maker import FeedRefused, MarketMaker
from touchline.lab.meters import meter
from touchline.lab.platform import Platform, PlatformAway
from touchline.lab.pools import meter_pools
from touchline.lab.progress import Screen
from touchline.lab.recorder import Recorder
from touchline.lab.records import BETS, CHECKS, METERS, RUN, Checks, LineWriter, Run, Size, Unreadable, write_whole
from touchline.lab.scenario import Lab, Scenario
from touchline.lab.surroundings import commit, hardware, versions

USERS_MAX: Final = 50_000
STEPS_MAX: Final = 50
DB_LATENCY_MS_MAX: Final = 1_000.0
GENERATORS_MAX: Final = 32
PARAMETER_MAX: Final = 1_000_000  # of seconds, bets, changes a second
ACCOUNTS: Final[Mapping[Size, int]] = {"smoke": 20, "full": ACCOUNTS_MAX}
RUNS: Final = Path("lab-runs")
FIRST: Final = "poll"  # the architecture that data_dir is of; another keeps its books beside it


class CannotRun(Exception):
    """The run can't be made, or did not come to its end; the message is one clear line."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be run, and where."""

    scenario: Scenario
    data_dir: Path
    size: Size = "full"
    seed: int = 1
    out: Path | None = None
    users: Sequence[int] = ()
    architecture: str = "poll"
    db_latency_ms: float = 0.0
    generators: int = 2
    running: bool = False  # the platform in data_dir runs, and is taken as it is
    fresh: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)  # parameters that differ from the size's, as text

    def problems(self) -> list[str]:
        """Return what is impossible about it."""
        found = []
        if any(not 1 <= users <= USERS_MAX for users in self.users) or len(self.users) > STEPS_MAX:
            found.append(f"--users: up to {STEPS_MAX} numbers from 1 to {USERS_MAX:,}")
        if self.users and "users" not in self.scenario.sizes[self.size]:
            found.append(f"--users: {self.scenario.name} has none to choose")
        elif len(self.users) > 1 and not self.scenario.many_users:
            found.append(f"--users: {self.scenario.name} takes one number")
        found += self._wrong_parameters()
        if not 0 <= self.db_latency_ms <= DB_LATENCY_MS_MAX:
            found.append(f"--db-latency-ms: from 0 to {DB_LATENCY_MS_MAX:g}")
        if not 1 <= self.generators <= GENERATORS_MAX:
            found.append(f"--generators: from 1 to {GENERATORS_MAX}")
        if self.running and (self.db_latency_ms or self.fresh or self.settings or self.scenario.own_platform):
            found.append(
                "--running: a platform that runs keeps its settings; leave it out to start one of the lab's"
            )
        runs_on = self.scenario.architectures
        if not self.scenario.in_turn and self.architecture not in runs_on and self.architecture in ARCHITECTURES:
            on = " and ".join(runs_on)
            found.append(f"--architecture {self.architecture}: {self.scenario.name} runs on {on}")
        return found

    def first(self) -> str:
        """Return the architecture that the run begins with."""
        return self.scenario.architectures[0] if self.scenario.in_turn else self.architecture

    def home(self, architecture: str) -> Path:
        """Return where a platform keeps its books: those of one architecture are not another's."""
        beside = self.data_dir.with_name(f"{self.data_dir.name}-{architecture}")
        return self.data_dir if self.running or architecture == FIRST else beside

    def parameters(self) -> dict[str, Any]:
        """Return the scenario's parameters."""
        given = {"users": list(self.users)} if self.users else {}
        own = self.scenario.sizes[self.size]
        changed = {name: read_like(text, own[name]) for name, text in self.changed.items() if name in own}
        return {**own, **changed, **given}

    def _wrong_parameters(self) -> list[str]:
        own, full, found = self.scenario.sizes[self.size], self.scenario.sizes["full"], []
        names = [name for name in own if name != "users"]  # which has an option of its own
        for name, text in self.changed.items():
            if name not in names:
                found.append(f"--parameter {name}: {self.scenario.name} has {', '.join(names)}")
                continue
            try:
                value = read_like(text, own[name])
            except ValueError:
                found.append(f"--parameter {name}={text}: something like {_told(own[name])}")
                continue
            if _is_words(value) and not (set(value) <= set(full[name]) and len(set(value)) == len(value)):
                found.append(f"--parameter {name}={text}: some of {_told(full[name])}, each once")
        return found


def read_like(text: str, own: Any) -> Any:
    """Return what `text` says as a value of the kind of `own`: a word, a number from 0 on, or a list of these.

    Raises:
        ValueError: it says none.
    """
    if isinstance(own, list):
        return [read_like(one.strip(), own[0]) for one in text.split(",")]
    if isinstance(own, str):
        return text
    value = type(own)(text)
    if not 0 <= value <= PARAMETER_MAX:
        raise ValueError(text)
    return value


def _is_words(value: Any) -> bool:
    """Tell whether a parameter is a list of names: those that there are, a full run has."""
    return isinstance(value, list) and isinstance(value[0], str)


def _told(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Outcome:
    """Where a run's records are, and what the checker says of it."""

    run_dir: Path
    checks: Checks


ENDED_BY: Final = (
    PlatformAway,
    AccountsRefused,
    FeedRefused,
    DeskRefused,
    NotMended,
    GeneratorFailed,
    CannotCheck,
    Unreadable,
    asyncpg.PostgresError,
)


async def run(asked: Asked, screen: Screen, server_at: ServerAt) -> Outcome:
    """Run what is asked, and return what came of it; its report is written, whole or half.

    Raises:
        CannotRun: it can't be run, or did not come to its end.
    """
    problems = asked.problems()
    if problems:
        raise CannotRun("; ".join(problems))
    run_dir = asked.out or RUNS / f"{asked.scenario.name}-{utc_now():%Y%m%d-%H%M%S}"
    try:
        _make(run_dir)
        try:
            checks = await _run(asked, run_dir, screen, server_at)
        finally:
            _report(run_dir)
    except ENDED_BY as failed:
        raise CannotRun(str(failed)) from failed
    except OSError as failed:
        raise CannotRun(f"{failed.filename or run_dir}: {failed.strerror or failed}") from failed
    return Outcome(run_dir, checks)


def _make(run_dir: Path) -> None:
    if run_dir.exists() and any(run_dir.iterdir()):
        raise CannotRun(f"{run_dir} is not empty; --out names another directory")
    run_dir.mkdir(parents=True, exist_ok=True)


def _report(run_dir: Path) -> None:
    """Write the report of a run that has begun; remove the directory of one that has not."""
    with suppress(OSError, Unreadable):  # what ended the run is told already
        if (run_dir / RUN).exists():
            report.write(run_dir)
        else:
            run_dir.rmdir()


async def _run(asked: Asked, run_dir: Path, screen: Screen, server_at: ServerAt) -> Checks:
    async with AsyncExitStack() as stack:
        if not asked.running:
            stack.enter_context(_alone(asked.data_dir))
        platform, distant = await _platform(asked, asked.first(), stack, screen, server_at)
        instance = platform.instance
        dsn = distant.server.dsn if distant else instance.postgres
        in_turn = " and ".join(asked.scenario.architectures) if asked.scenario.in_turn else ""
        run = Run(
            scenario=asked.scenario.name,
            size=asked.size,
            seed=asked.seed,
            started_at=utc_now(),
            architecture=in_turn or instance.architecture,
            settings={} if asked.running else platform.told_settings,
            commit=await commit(),
            versions=await versions(dsn, instance.valkey),
            hardware=hardware(),
            parameters=asked.parameters() | _beside(asked),
        )
        write_whole(run_dir / RUN, run)
        try:
            lab = await _lab(asked, run, run_dir, platform, distant, stack, screen)
            lab.moving = lambda lab, to: _move(asked, lab, to, stack, server_at)
            async with _metered(lab):
                await asked.scenario.act(lab)
            screen.doing("checking")
            checks = together([*lab.checks, (lab.platform.instance.architecture, await judge(lab))])
            write_whole(run_dir / CHECKS, checks)
            run.complete = True
        finally:
            run.ended_at = utc_now()
            with suppress(OSError):  # a full disk: run.json says that the run is not complete
                write_whole(run_dir / RUN, run)
    return checks


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Let no other run start platforms and databases in `data_dir` meanwhile: it would end this one's."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with data_dir.with_name(f"{data_dir.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotRun(f"another run is at work in {data_dir}; --data-dir names another place") from None
        yield


def _beside(asked: Asked) -> dict[str, Any]:
    found: dict[str, Any] = {"generators": asked.generators}
    return found | ({"db_latency_ms": asked.db_latency_ms} if asked.db_latency_ms else {})


async def _platform(
    asked: Asked, architecture: str, stack: AsyncExitStack, screen: Screen, server_at: ServerAt
) -> tuple[Platform, Distant | None]:
    """Return a platform that runs, and its database where that is delayed."""
    settings = {"architecture": architecture, **asked.scenario.settings, **asked.settings}
    home = asked.home(architecture)
    platform = Platform(home, settings)
    if asked.running:
        if not await platform.healthy():
            raise PlatformAway(f"no platform runs well in {asked.data_dir}; touchline up starts one")
        return platform, None
    distant = None
    if asked.db_latency_ms:
        screen.doing("starting PostgreSQL")
        context = distant_postgres(server_at, home / "distant", asked.db_latency_ms)
        distant = await stack.enter_async_context(context)
        platform.settings["postgres"] = distant.dsn
    screen.doing("starting the platform")
    await platform.start(fresh=asked.fresh)
    stack.push_async_callback(platform.stop)
    return platform, distant


async def _lab(
    asked: Asked,
    run: Run,
    run_dir: Path,
    platform: Platform,
    distant: Distant | None,
    stack: AsyncExitStack,
    screen: Screen,
) -> Lab:
    """Return what the scenario works with: players with money, live markets, a place to record."""
    players, maker = await _people(asked, platform, stack, screen)
    recorder = Recorder(run_dir)
    stack.callback(recorder.close)
    return Lab(
        run=run,
        run_dir=run_dir,
        began_s=monotonic_s() - (utc_now() - run.started_at).total_seconds(),
        keys=f"{run.started_at:%Y%m%d%H%M%S%f}",
        platform=platform,
        dsn=_dsn(platform, distant),
        players=players,
        maker=maker,
        recorder=recorder,
        screen=screen,
        generators=asked.generators,
        pids=distant.pids() if distant else {},
        markets=await maker.open_markets(asked.scenario.markets),
        history=run_dir / BETS,
    )


async def _people(
    asked: Asked, platform: Platform, stack: AsyncExitStack, screen: Screen
) -> tuple[Sequence[Player], MarketMaker]:
    """Return players with money on a platform, and a feed of it."""
    address = platform.instance.address
    accounts = Accounts(address, platform.data_dir)
    stack.push_async_callback(accounts.close)
    players = await accounts.players(ACCOUNTS[asked.size], screen.counted)
    maker = MarketMaker(address, await accounts.log_in("feed"), str(asked.seed))
    stack.push_async_callback(maker.close)
    return players, maker


def _dsn(platform: Platform, distant: Distant | None) -> Callable[[], str]:
    """Return where PostgreSQL is, past any delay, at any time; also while the platform is being started again."""
    last = distant.server.dsn if distant else platform.instance.postgres

    def dsn() -> str:
        nonlocal last
        if distant is None:
            with suppress(PlatformAway):
                last = platform.instance.postgres
        return last

    return dsn


async def _move(asked: Asked, lab: Lab, architecture: str, stack: AsyncExitStack, server_at: ServerAt) -> None:
    """Have the books of the platform that `lab` loads judged, stop it, and have `lab` load one of another kind."""
    lab.screen.doing("checking")
    lab.checks.append((lab.platform.instance.architecture, await judge(lab)))
    await lab.platform.stop()
    platform, distant = await _platform(asked, architecture, stack, lab.screen, server_at)
    lab.platform, lab.dsn, lab.pids = platform, _dsn(platform, distant), distant.pids() if distant else {}
    lab.players, lab.maker = await _people(asked, platform, stack, lab.screen)
    lab.markets = await lab.maker.open_markets(asked.scenario.markets)
    lab.history = lab.run_dir / f"{architecture}-{BETS}"


@asynccontextmanager
async def _metered(lab: Lab) -> AsyncIterator[None]:
    """Meter the platform while in the block; a meter that can't write ends it."""

    def pids() -> dict[str, int]:
        with suppress(PlatformAway):
            return lab.platform.pids() | lab.pids
        return lab.pids

    def pods() -> dict[str, int]:
        with suppress(PlatformAway):
            return {part.name: part.port for part in lab.platform.instance.parts if part.name.startswith("pod-")}
        return {}

    with LineWriter(lab.run_dir / METERS) as out:
        async with (
            _beside_it(lambda: meter(out, lab.began_s, pids, lambda: lab.dsn())),
            _beside_it(lambda: meter_pools(out, lab.began_s, pods)),
        ):
            yield


@asynccontextmanager
async def _beside_it(work: Callable[[], Any]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def first_violations(checks: Checks, at_most: int) -> list[str]:
    """Return the first violations, each naming its bet."""
    found = [f"{rule.name}: {text}" for rule in checks.rules for text in rule.violations]
    return found[:at_most]
