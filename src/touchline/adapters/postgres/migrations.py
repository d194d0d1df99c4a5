"""Schema changes: plain numbered SQL, in two phases around a deploy, each applied once and in order.

`before` holds what the old and the new code both live with (a new table, column or index); `after` holds what
only the new code lives with. Invariant: no step takes a lock that pods would wait for longer than
`LOCK_TIMEOUT_MS`; one that can't get its lock gives up and is tried again.
"""

import hashlib
from importlib import resources
from typing import Final, Literal

import asyncpg

from touchline.adapters.postgres.database import AWAY
from touchline.adapters.postgres.queries import Queries
from touchline.core.errors import Fault, Outage

LOCK_TIMEOUT_MS: Final = 2_000
_QUERIES: Final = Queries("migrations.sql")

Phase = Literal["before", "after"]


def steps(phase: Phase) -> list[tuple[str, str]]:
    """Return the steps of a phase as (name, SQL), in order."""
    folder = resources.files(__package__).joinpath("migrations").joinpath(phase)
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")] if folder.is_dir() else []
    return sorted((f"{phase}/{file.name}", file.read_text("utf-8")) for file in files)


async def migrate(dsn: str, phases: tuple[Phase, ...] = ("before", "after")) -> list[str]:
    """Apply the steps of `phases` that the database has not had, and return their names.

    Raises:
        Outage: the server is away, or a lock could not be had in time; what was applied stays, run it again.
        Fault: a step that was applied has been edited since.
    """
    try:
        connection = await asyncpg.connect(dsn, server_settings={"lock_timeout": str(LOCK_TIMEOUT_MS)})
        try:
            return await _apply(connection, phases)
        finally:
            await connection.close()
    except AWAY as away:
        raise Outage("PostgreSQL") from away


async def _apply(connection: asyncpg.Connection, phases: tuple[Phase, ...]) -> list[str]:
    await connection.execute(_QUERIES["lock"])
    await connection.execute(_QUERIES["prepare"])
    known = {row["name"]: row["digest"] for row in await connection.fetch(_QUERIES["applied"])}
    applied = []
    for name, sql in [step for phase in phases for step in steps(phase)]:
        digest = hashlib.sha256(sql.encode()).hexdigest()
        if name in known:
            if known[name] != digest:
                raise Fault(f"migration {name} was edited after it had been applied")
            continue
        async with connection.transaction():
            await connection.execute(sql)
            await connection.execute(_QUERIES["record"], name, digest)
        applied.append(name)
    return applied
