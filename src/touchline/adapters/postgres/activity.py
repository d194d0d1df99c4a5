"""What PostgreSQL is busy with, and how far settlement is, for whoever watches the platform."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from touchline.adapters.postgres.database import Database
from touchline.adapters.postgres.queries import Queries

ENDED_WITHIN: Final = timedelta(days=1)  # events that ended earlier are not looked at: their number grows for ever
STATES: Final = ("active", "idle", "idle in transaction")
_QUERIES: Final = Queries("activity.sql")


@dataclass(frozen=True, slots=True)
class Activity:
    """Connections by state; unfinished settlements with their bets; ages in seconds, 0 where there is nothing."""

    connections: Mapping[str, int]
    connections_max: int
    unfinished: int
    bets_wanted: int
    bets_done: int
    oldest_s: float
    overdue_s: float
    dead_letters: int = 0  # settlements that could not be carried out


async def read_activity(database: Database, now: datetime) -> Activity:
    """Return what goes on, with ages as they are at `now`.

    Raises:
        Outage: PostgreSQL is away.
    """
    rows = await database.fetch(_QUERIES["connections"])
    settlement = await database.row(_QUERIES["settlement"], now, now - ENDED_WITHIN)
    return Activity(
        connections=dict.fromkeys(STATES, 0) | {row["state"]: row["connections"] for row in rows},
        connections_max=rows[0]["connections_max"],
        **settlement,
    )
