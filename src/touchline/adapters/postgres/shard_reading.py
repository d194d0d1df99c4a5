"""What the decisions on a batch's requests depend on, read in as few statements as there are kinds of answers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from touchline.adapters.postgres.queries import Queries
from touchline.adapters.postgres.rows import bet_of, limits_of, moved_of
from touchline.adapters.postgres.shard_columns import joined, joined_or_none
from touchline.core.account import Account
from touchline.core.batch import HeldAccount, Key, LookedUp, Place
from touchline.core.bet import Bet, PlaceBet
from touchline.core.funds import FundsMoved
from touchline.core.ids import PlayerId
from touchline.core.ledger import Wallet
from touchline.ports.shards import Request

_QUERIES: Final = Queries("shards.sql")


async def read_position(connection: Any, shard: int, requests: Sequence[Request]) -> LookedUp:
    """Return all that is on record of what `requests` are about."""
    keys: dict[tuple[PlayerId, str | None], None] = {}
    places: dict[Place, None] = {}
    moves: list[Key] = []
    for request in requests:
        if isinstance(request, PlaceBet):
            keys[request.player_id, request.idempotency_key] = None
            places[request.market_id, request.selection_id] = None
        else:
            keys[request.player_id, None] = None
            moves.append((request.player_id, request.idempotency_key))
    players, under = joined([player_id for player_id, _ in keys]), joined_or_none([key for _, key in keys])
    rows = await connection.fetch(_QUERIES["look_up"], players, under, *_columns(places), shard)
    accounts: dict[PlayerId, HeldAccount] = {}
    earlier = []
    for user_id, currency, balance, debt, version, locked, excluded, limits, bet_id, _, _ in rows:
        if user_id is not None and user_id not in accounts:
            account = Account(
                player_id=user_id,
                currency=currency,
                wallet=Wallet(balance, debt),
                locked_until=locked,
                excluded_until=excluded,
                limits=limits_of(limits),
            )
            accounts[user_id] = HeldAccount(account, version)
        if bet_id is not None:
            earlier.append(bet_id)
    return LookedUp(
        next_seq=rows[0]["next_seq"],
        accounts=accounts,
        exposures=dict(zip(places, rows[0]["exposures"] or (), strict=True)),
        bets=await _bets(connection, earlier),
        moves=await _moves(connection, moves),
    )


async def _bets(connection: Any, bet_ids: Sequence[Any]) -> Mapping[Key, Bet]:
    if not bet_ids:
        return {}
    bets = [bet_of(row) for row in await connection.fetch(_QUERIES["bets_by_id"], bet_ids)]
    return {(bet.player_id, bet.idempotency_key or ""): bet for bet in bets}


async def _moves(connection: Any, keys: Sequence[Key]) -> Mapping[Key, FundsMoved]:
    if not keys:
        return {}
    moves = [moved_of(row) for row in await connection.fetch(_QUERIES["moves_by_key"], *_columns(keys))]
    return {(moved.player_id, moved.idempotency_key): moved for moved in moves}


def _columns(pairs: Iterable[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    rows = list(pairs)
    return [first for first, _ in rows], [second for _, second in rows]
