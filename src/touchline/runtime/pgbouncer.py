"""PgBouncer from the system's package, between the platform's processes and PostgreSQL.

Invariant: it pools transactions, so that nothing that lasts longer than one may go through it.
"""

import os
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg

from touchline.runtime.accounts import unprivileged
from touchline.runtime.addresses import LOCALHOST, free_port
from touchline.runtime.files import write_private
from touchline.runtime.process import Child, PartFailed, Program, ready, start

NAME: Final = "pgbouncer"
READY_TIMEOUT_S: Final = 20
CONNECT_TIMEOUT_S: Final = 5
CLIENTS_MAX: Final = 4_000
POSTGRES_PORT: Final = 5432
PLACES: Final = (os.defpath, "/usr/sbin", "/usr/local/sbin")  # where packages put it, beside PATH
# What a pod asks of its own connections, here of those that all share.
SESSION: Final = "SET lock_timeout = 5000; SET jit = off"


class PgBouncer:
    """A pooler of our own before `postgres_dsn`, at one address, with `size` connections to it at most."""

    name: Final = NAME

    def __init__(self, data_dir: Path, postgres_dsn: str, size: int, wait_s: int) -> None:
        self.port = free_port()
        self.log = data_dir / "logs" / f"{NAME}.log"
        self._server = urlsplit(postgres_dsn)
        self._size, self._wait_s = size, wait_s
        self._config = data_dir / f"{NAME}.ini"
        self._users = data_dir / f"{NAME}.users"

    @property
    def dsn(self) -> str:
        """The address with the password."""
        server = self._server
        return f"postgresql://{server.username}:{server.password}@{LOCALHOST}:{self.port}{server.path}"

    async def start(self) -> Child:
        """Start it and return once a statement reaches PostgreSQL through it.

        Raises:
            PartFailed: it does not come up.
        """
        found = program()
        if found is None:
            raise PartFailed(NAME, "it is not installed", remedy="install the system's package pgbouncer")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._write_config()
        child = await start(Program(NAME, (found, str(self._config)), self.log, cwd=self.log.parent))
        return await ready(child, self.healthy, READY_TIMEOUT_S, f"see {self.log}, then start again")

    async def healthy(self) -> bool:
        """Tell whether a statement reaches PostgreSQL through it."""
        try:
            connection = await asyncpg.connect(self.dsn, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0)
            try:
                await connection.execute("SHOW server_version")
            finally:
                await connection.close(timeout=CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    def _write_config(self) -> None:
        server, account = self._server, unprivileged()
        database = unquote(server.path.strip("/"))
        at = f"host={server.hostname} port={server.port or POSTGRES_PORT} dbname={database}"
        lines = [
            "[databases]",
            f"{database} = {at} connect_query='{SESSION}'",
            "[pgbouncer]",
            f"listen_addr = {LOCALHOST}",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            f"auth_file = {self._users}",
            "pool_mode = transaction",
            f"default_pool_size = {self._size}",
            f"max_client_conn = {CLIENTS_MAX}",
            f"query_wait_timeout = {self._wait_s}",  # as long as a pod waits for a connection of its own
            "server_login_retry = 1",
            "server_connect_timeout = 2",
            "log_connections = 0",
            "log_disconnections = 0",
            *([f"user = {account.name}"] if account else []),
        ]
        write_private(self._config, "\n".join(lines).encode() + b"\n")
        name, password = unquote(server.username or ""), unquote(server.password or "")
        write_private(self._users, f'"{_quoted(name)}" "{_quoted(password)}"\n'.encode())


def program() -> str | None:
    """Return where PgBouncer is on this machine; None where it is not."""
    return shutil.which(NAME) or shutil.which(NAME, path=os.pathsep.join(PLACES))


def _quoted(text: str) -> str:
    return text.replace('"', '""')
