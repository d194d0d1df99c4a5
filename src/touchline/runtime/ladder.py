"""The parts that the ladder puts beside the servers: a pooler before PostgreSQL, a replica of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from touchline.architectures.settings import Settings
from touchline.runtime.pgbouncer import PgBouncer, program
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.replica import PRIMARY_OPTIONS, ReplicaServer

NO_POOLER: Final = (
    "TOUCHLINE_POOLER=pgbouncer, but there is no pgbouncer here: install its package, or name one by its DSN"
)


@dataclass(frozen=True, slots=True)
class LadderParts:
    """What the settings ask for beside the servers."""

    pooler: PgBouncer | None = None
    replica: ReplicaServer | None = None

    @property
    def all(self) -> list[PgBouncer | ReplicaServer]:
        """Those that there are."""
        return [part for part in (self.pooler, self.replica) if part is not None]

    def resolve(self, settings: Settings) -> Settings:
        """Return settings that name these parts by their addresses."""
        if self.pooler is not None:
            settings = msgspec.structs.replace(settings, pooler=self.pooler.dsn)
        if self.replica is not None:
            settings = msgspec.structs.replace(settings, read_replica=self.replica.dsn)
        return settings


def missing_part(settings: Settings) -> str | None:
    """Return what can't be started on this machine, in one line; None where nothing is missing."""
    return NO_POOLER if settings.pooler == "pgbouncer" and program() is None else None


def primary_options(settings: Settings) -> Mapping[str, str]:
    """Return what our own PostgreSQL has to be told."""
    return PRIMARY_OPTIONS if settings.read_replica == "own" else {}


def ladder_parts(
    settings: Settings, postgres: PostgresServer | None, options: Mapping[str, str]
) -> LadderParts:
    """Return the parts that `settings` ask for, once PostgreSQL has been started.

    `postgres` is our own, with the `options` it was given; None where there is none.
    """
    pooler = replica = None
    if settings.pooler == "pgbouncer":
        dsn = settings.postgres or (postgres.dsn if postgres else "")
        pooler = PgBouncer(settings.data_dir, dsn, settings.pooler_size, settings.pool_wait_s)
    if settings.read_replica == "own" and postgres is not None:
        replica = ReplicaServer(settings.data_dir, postgres, options)
    return LadderParts(pooler, replica)
