"""The `Ledger` contract: in memory, in PostgreSQL with its writers here, and in shards in another process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.clock import NOON
from tests.ledgers import Scene, memory_scene, remote_scene, written_scene
from tests.samples import AWAY, DRAW, HOME
from tests.scene import AWAY_WINS
from touchline.core.account import Role
from touchline.core.bet import Accept, BetStatus, PlaceBet
from touchline.core.errors import Code, Fault, Rejection
from touchline.core.facts import shard_of
from touchline.core.funds import FundsMoved, MoveFunds
from touchline.core.ids import BetId, PlayerId
from touchline.core.ledger import TransferKind
from touchline.core.market import Market
from touchline.core.settlement import Settlement
from touchline.ports import Balance, Credentials, Placed


@pytest.fixture(params=["memory", "postgres", "remote"])
def begin(request: pytest.FixtureRequest) -> Callable[[], AbstractAsyncContextManager[Scene]]:
    """What makes a ledger with nothing in it."""
    if request.param == "postgres":
        return partial(written_scene, request.getfixturevalue("database_dsn"))
    return memory_scene if request.param == "memory" else remote_scene


@pytest_asyncio.fixture
async def scene(begin: Callable[[], AbstractAsyncContextManager[Scene]]) -> AsyncIterator[Scene]:
    """A ledger with nothing in it."""
    async with begin() as made:
        yield made


def bet_on(market: Market, player_id: PlayerId, key: str | None = None, **changed: object) -> PlaceBet:
    """10.00 on home as `market` offers it."""
    home = market.selection(HOME)
    assert home is not None
    plain = PlaceBet(
        bet_id=BetId(uuid4()),
        player_id=player_id,
        market_id=market.market_id,
        selection_id=HOME,
        odds_milli=home.odds_milli or 0,
        odds_version=market.odds_version,
        stake_minor=1_000,
        idempotency_key=key,
    )
    return replace(plain, **changed)  # type: ignore[arg-type]  # a test says what it changes


def deposit(player_id: PlayerId, amount: int, key: str, kind: TransferKind = TransferKind.DEPOSIT) -> MoveFunds:
    return MoveFunds(move_id=uuid4(), player_id=player_id, kind=kind, amount_minor=amount, idempotency_key=key)


def credentials(name: str) -> Credentials:
    return Credentials(PlayerId(name), Role.PLAYER, "hash", None)


async def placed(scene: Scene, request: PlaceBet) -> Placed:
    answer = await scene.ledger.place(request)
    assert isinstance(answer, Placed), answer
    return answer


async def work_all(scene: Scene, settlement: Settlement, limit: int = 10) -> int:
    """Carry `settlement` out on every shard; returns on how many bets."""
    done = 0
    for shard in range(1, scene.ledger.shards + 1):
        while (worked := await scene.ledger.work(shard, settlement, NOON, limit)).bets:
            assert worked.bets <= limit
            done += worked.bets
    return done


async def test_an_account_is_opened_empty_and_under_a_name_of_its_own(scene: Scene) -> None:
    assert await scene.ledger.register(credentials("ann"), "Ann", "EUR", NOON)
    assert await scene.world.balance(PlayerId("ann")) == Balance(0, "EUR", 1)
    assert not await scene.ledger.register(credentials("another"), "ann", "EUR", NOON)
    assert not await scene.ledger.register(credentials("ann"), "Anna", "EUR", NOON)


async def test_who_registers_again_because_he_heard_no_answer_has_his_account(scene: Scene) -> None:
    assert await scene.ledger.register(credentials("ann"), "Ann", "EUR", NOON)
    await scene.ledger.move_funds(deposit(PlayerId("ann"), 500, "k"))
    assert await scene.ledger.register(credentials("ann"), "Ann", "EUR", NOON + timedelta(seconds=1))
    balance = await scene.world.balance(PlayerId("ann"))
    assert balance is not None
    assert balance.balance_minor == 500


async def test_a_bet_that_is_taken_is_on_record_and_paid_for(scene: Scene) -> None:
    market, ann = await scene.world.price(), await scene.world.open_player("ann")
    request = bet_on(market, ann, "k", accept=Accept.BETTER, valid_until=NOON + timedelta(minutes=1))
    answer = await placed(scene, request)
    assert answer.bet.answers(request)
    assert (answer.bet.bet_id, answer.bet.status, answer.bet.placed_at) == (request.bet_id, BetStatus.PLACED, NOON)
    assert answer.balance == await scene.world.balance(ann)
    assert answer.balance is not None
    assert answer.balance.balance_minor == 99_000
    assert await scene.world.bets() == [answer.bet]


async def test_a_retry_has_the_first_answer_and_another_bet_under_its_key_none(scene: Scene) -> None:
    market, ann = await scene.world.price(), await scene.world.open_player("ann")
    request = bet_on(market, ann, "k")
    first = await placed(scene, request)
    await scene.world.price({HOME: 1_500})
    assert await placed(scene, replace(request, bet_id=BetId(uuid4()))) == Placed(first.bet, None)
    refused = await scene.ledger.place(replace(request, stake_minor=1_001))
    assert isinstance(refused, Rejection)
    assert refused.code is Code.IDEMPOTENCY_CONFLICT
    assert len(await scene.world.bets()) == 1


async def test_a_refusal_carries_what_the_client_needs_to_go_on(scene: Scene) -> None:
    market, ann = await scene.world.price(), await scene.world.open_player("ann")
    await scene.world.price({HOME: 1_500})
    refused = await scene.ledger.place(bet_on(market, ann, "k"))
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.extra) == (
        Code.ODDS_CHANGED,
        {"current_odds": "1.50", "current_odds_version": market.odds_version + 1},
    )
    assert await scene.world.bets() == []


async def test_who_has_no_account_is_told_so(scene: Scene) -> None:
    market = await scene.world.price()
    for call in (
        scene.ledger.place(bet_on(market, PlayerId("nobody"))),
        scene.ledger.move_funds(deposit(PlayerId("nobody"), 1, "k")),
    ):
        with pytest.raises(Rejection) as refused:
            await call
        assert refused.value.code is Code.UNAUTHENTICATED


async def test_money_is_moved_once_a_key(scene: Scene) -> None:
    ann = await scene.world.open_player("ann", 0)
    request = deposit(ann, 500, "k")
    answer = await scene.ledger.move_funds(request)
    assert not isinstance(answer, Rejection)
    moved, balance = answer
    assert moved == FundsMoved(
        move_id=request.move_id,
        player_id=ann,
        kind=TransferKind.DEPOSIT,
        amount_minor=500,
        currency="EUR",
        balance_minor=500,
        idempotency_key="k",
        recorded_at=NOON,
    )
    assert balance == await scene.world.balance(ann)
    assert await scene.ledger.move_funds(replace(request, move_id=UUID(int=2))) == (moved, None)
    refused = await scene.ledger.move_funds(deposit(ann, 501, "w", TransferKind.WITHDRAWAL))
    assert isinstance(refused, Rejection)
    assert refused.code is Code.INSUFFICIENT_BALANCE


async def test_a_settlement_is_worked_shard_by_shard_until_nothing_is_left(scene: Scene) -> None:
    market = await scene.world.price()
    players = [await scene.world.open_player(f"p{n}") for n in range(12)]
    of_shard = dict.fromkeys(range(1, scene.ledger.shards + 1), 0)
    for player in players:
        for selection in (HOME, DRAW):
            odds = market.selection(selection)
            assert odds is not None
            await placed(scene, bet_on(market, player, selection_id=selection, odds_milli=odds.odds_milli))
            of_shard[shard_of(player, scene.ledger.shards)] += 1
    assert all(of_shard.values())  # or this shows little
    settlement = await scene.world.settle()
    for shard, bets in of_shard.items():
        assert await scene.ledger.to_work(shard, settlement) == bets
        worked = await scene.ledger.work(shard, settlement, NOON, 3)
        assert worked.bets == min(3, bets)
        for player, balance in worked.balances.items():
            assert shard_of(player, scene.ledger.shards) == shard
            assert balance == await scene.world.balance(player)
        assert await scene.ledger.to_work(shard, settlement) == bets - worked.bets
    assert await work_all(scene, settlement) == 24 - sum(min(3, bets) for bets in of_shard.values())
    assert {bet.status for bet in await scene.world.bets()} == {BetStatus.SETTLED}
    balances = [await scene.world.balance(player) for player in players]
    assert {balance.balance_minor for balance in balances if balance is not None} == {100_000}
    assert await scene.world.discrepancies() == []


async def test_what_could_not_be_worked_is_worked_once_it_can_be(scene: Scene) -> None:
    market, ann = await scene.world.price(), await scene.world.open_player("ann")
    shard = shard_of(ann, scene.ledger.shards)
    for selection in (HOME, DRAW, HOME, DRAW):
        offered = market.selection(selection)
        assert offered is not None
        await placed(scene, bet_on(market, ann, selection_id=selection, odds_milli=offered.odds_milli))
    settlement = await scene.world.settle()
    lacking = replace(settlement, results={HOME: settlement.results[HOME]})
    with pytest.raises(Fault):
        await work_all(scene, lacking, 1)
    left = await scene.ledger.to_work(shard, settlement)
    assert left > 1
    assert await work_all(scene, settlement) == left
    assert {bet.status for bet in await scene.world.bets()} == {BetStatus.SETTLED}
    assert await scene.world.discrepancies() == []


async def test_a_rollback_takes_back_what_was_paid_and_the_market_is_settled_anew(scene: Scene) -> None:
    market, ann = await scene.world.price(), await scene.world.open_player("ann")
    await placed(scene, bet_on(market, ann))
    away = market.selection(AWAY)
    assert away is not None
    await placed(scene, bet_on(market, ann, selection_id=AWAY, odds_milli=away.odds_milli))
    assert await work_all(scene, await scene.world.settle()) == 2
    assert await work_all(scene, await scene.world.roll_back()) == 2
    assert {bet.status for bet in await scene.world.bets()} == {BetStatus.PLACED}
    assert await work_all(scene, await scene.world.settle(AWAY_WINS)) == 2
    balance = await scene.world.balance(ann)
    assert balance is not None
    assert balance.balance_minor == 100_000 - 2_000 + 4_500
    assert await scene.world.discrepancies() == []


async def test_many_at_once_each_have_their_own_answer_and_a_wallet_is_never_overdrawn(scene: Scene) -> None:
    market = await scene.world.price()
    players = [await scene.world.open_player(f"p{n}", 5_000) for n in range(20)]
    requests = [bet_on(market, player, f"k{n}") for n in range(10) for player in players]
    answers = await asyncio.gather(*(scene.ledger.place(request) for request in requests))
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(answer, Placed):
            assert answer.bet.bet_id == request.bet_id
        else:
            assert answer.code is Code.INSUFFICIENT_BALANCE
    assert sum(isinstance(answer, Placed) for answer in answers) == 100
    balances = [await scene.world.balance(player) for player in players]
    assert {balance.balance_minor for balance in balances if balance is not None} == {0}
    assert await scene.world.discrepancies() == []
