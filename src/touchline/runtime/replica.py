"""A streaming replica of the platform's own PostgreSQL, for reads that may be a little behind.

Invariant: it holds nothing that its primary does not: it is copied anew whenever it is started.
"""

import asyncio
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from touchline.runtime.accounts import hand_over
from touchline.runtime.addresses import LOCALHOST
from touchline.runtime.postgres import CONNECT_TIMEOUT_S, USER, PostgresServer
from touchline.runtime.process import PartFailed, to_its_end

NAME: Final = "replica"
# Of a primary: how far behind a replica may fall before it has to be copied anew.
PRIMARY_OPTIONS: Final[Mapping[str, str]] = {"wal_keep_size": "256MB"}
_OPTIONS: Final[Mapping[str, str]] = {"hot_standby": "on", "wal_retrieve_retry_interval": "500ms"}


class ReplicaServer(PostgresServer):
    """A replica of `primary` under the same `data_dir`; `options` are those that the primary was given."""

    name = NAME

    def __init__(self, data_dir: Path, primary: PostgresServer, options: Mapping[str, str] | None = None) -> None:
        super().__init__(data_dir, options={**(options or {}), **_OPTIONS})
        self._primary = primary

    async def healthy(self) -> bool:
        """Tell whether it answers reads."""
        try:
            connection = await asyncpg.connect(self.dsn, timeout=CONNECT_TIMEOUT_S)
            await connection.close(timeout=CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def forget(self) -> None:
        """Remove the copy; the password is the primary's, and stays."""
        await asyncio.to_thread(shutil.rmtree, self.home, True)

    async def _make_cluster(self, binaries: Path) -> None:
        await asyncio.to_thread(shutil.rmtree, self.cluster, True)
        hand_over(self.home, self._account)
        argv = [str(binaries / "pg_basebackup"), "--pgdata", str(self.cluster), "--host", LOCALHOST]
        argv += ["--port", str(self._primary.port), "--username", USER, "--no-password"]
        argv += ["--wal-method", "stream", "--checkpoint", "fast", "--no-sync", "--write-recovery-conf"]
        program = self._program(tuple(argv), signal.SIGTERM)
        password = urlsplit(self._primary.dsn).password or ""
        program = replace(program, environ={**(program.environ or {}), "PGPASSWORD": password})
        if await to_its_end(program) != 0:
            raise PartFailed(NAME, "the primary could not be copied", remedy=f"see {self.log}", log=self.log)
