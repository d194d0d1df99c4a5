"""What already counts against a player's limits, read from his transfers."""

from datetime import datetime
from typing import Any, Final

from touchline.adapters.postgres.queries import Queries
from touchline.core.ids import PlayerId
from touchline.core.limits import LENGTH_OF_PERIOD, LimitKind, Limits, Period, Spent

_SPENT: Final = Queries("bets.sql")["spent"]


async def read_spent(connection: Any, player_id: PlayerId, limits: Limits, now: datetime) -> Spent:
    """Return what counts against `limits`; it reads nothing where the player has none."""
    if not limits:
        return {}
    names = [period.value for period in LENGTH_OF_PERIOD]
    sinces = [now - length for length in LENGTH_OF_PERIOD.values()]
    rows = await connection.fetch(_SPENT, player_id, names, sinces)
    return {(kind, Period(row["period"])): row[kind.value] for row in rows for kind in LimitKind}
