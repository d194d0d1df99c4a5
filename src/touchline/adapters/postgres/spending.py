"""What already counts against players' limits, read from their transfers."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from touchline.adapters.postgres.queries import Queries
from touchline.core.ids import PlayerId
from touchline.core.limits import LENGTH_OF_PERIOD, LimitKey, LimitKind, Limits, Period, Spent

_SPENT: Final = Queries("bets.sql")["spent"]


async def read_spent(connection: Any, player_id: PlayerId, limits: Limits, now: datetime) -> Spent:
    """Return what counts against `limits`; it reads nothing where the player has none."""
    return (await read_spent_by(connection, [player_id], now))[player_id] if limits else {}


async def read_spent_by(
    connection: Any, player_ids: Collection[PlayerId], now: datetime
) -> dict[PlayerId, Spent]:
    """Return what counts against the limits of some players; it reads nothing where there are none."""
    if not player_ids:
        return {}
    names = [period.value for period in LENGTH_OF_PERIOD]
    sinces = [now - length for length in LENGTH_OF_PERIOD.values()]
    spent: dict[PlayerId, dict[LimitKey, int]] = {player_id: {} for player_id in player_ids}
    for row in await connection.fetch(_SPENT, list(spent), names, sinces):
        for kind in LimitKind:
            spent[row["user_id"]][kind, Period(row["period"])] = row[kind.value]
    return dict(spent)
