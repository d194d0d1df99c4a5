"""State in facts what stood on record of a player before there were any, so that books grow into `stream`.

Invariant: the facts of a player fold to just what his rows say; no fact tells of a row that another tells of.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final

from touchline.core.facts import CarriedOver
from touchline.core.ids import BetId
from touchline.core.ledger import Transfer
from touchline.ports.archive import PlayerState

ROWS_AT_ONCE_MAX: Final = 100  # of movements and of transfers in one fact, which a log has to take whole


def carried_over(state: PlayerState) -> Iterator[CarriedOver]:
    """Yield the facts that state all that is on record of a player: his wallet, then each bet, then the rest."""
    player_id, parts = state.player_id, count(1)
    yield CarriedOver(player_id=player_id, part=0, wallet=state.wallet)
    of_bets: dict[BetId | None, list[Transfer]] = {bet.bet_id: [] for bet in state.bets}
    others: list[Transfer] = []
    for transfer in state.transfers:
        of_bets.get(transfer.bet_id, others).append(transfer)
    for bet in state.bets:
        caused = tuple(of_bets[bet.bet_id])
        yield CarriedOver(player_id=player_id, part=next(parts), bet=bet, transfers=caused)
    for first in range(0, max(len(state.moves), len(others)), ROWS_AT_ONCE_MAX):
        some = slice(first, first + ROWS_AT_ONCE_MAX)
        moves, transfers = tuple(state.moves[some]), tuple(others[some])
        yield CarriedOver(player_id=player_id, part=next(parts), moves=moves, transfers=transfers)
