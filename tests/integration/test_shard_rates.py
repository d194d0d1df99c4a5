"""What a shard's writer keeps of its players: how often they bet, and the balances in their sessions."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.ledger_scene import authority_of
from tests.scene import Stores, memory_sessions, superuser
from tests.writer_scene import ANN, BOB, books, count, ledger_over, request
from touchline.core.errors import Code, Fault, Outage, Rejection
from touchline.core.funds import MoveFunds
from touchline.core.ids import MarketId, PlayerId
from touchline.core.ledger import TransferKind
from touchline.core.rates import RateRules
from touchline.flows.local_ledger import LocalLedger
from touchline.ports import Balance, Placed
from touchline.ports.shards import Offered

RATE = RateRules(bets_per_minute_max=3, velocity_bets=2, velocity_window=timedelta(seconds=2))


@pytest_asyncio.fixture
async def stores(database_dsn: str) -> AsyncIterator[Stores]:
    """V0's stores, to prepare the books with and to read them."""
    async with books(database_dsn) as made:
        yield made


async def flagged(stores: Stores, player: PlayerId) -> bool:
    profile = await stores.accounts.profile(player)
    assert profile is not None
    return profile.velocity_flagged_at is not None


async def test_a_player_is_held_to_his_rate_by_whoever_writes_his_shard(stores: Stores) -> None:
    async def codes(ledger: LocalLedger, player: PlayerId, *keys: str) -> list[Code | None]:
        asked = [ledger.place(await request(stores, player, key=key)) for key in keys]
        answers = await asyncio.gather(*asked)
        return [answer.code if isinstance(answer, Rejection) else None for answer in answers]

    async with ledger_over(stores, rate=RATE) as ledger:
        assert await codes(ledger, ANN, "k1", "k2") == [None, None]
        stores.clock.move(timedelta(seconds=30))
    async with ledger_over(stores, rate=RATE) as ledger:  # another writer, which reads what there was
        assert await codes(ledger, ANN, "k3", "k4", "k1") == [None, Code.RATE_LIMITED, None]
        assert await codes(ledger, BOB, "k1", "k2", "k3", "k4") == [None] * 3 + [Code.RATE_LIMITED]
        stores.clock.move(timedelta(seconds=30))
        assert await codes(ledger, ANN, "k4", "k5", "k6") == [None, None, Code.RATE_LIMITED]


async def test_a_writer_that_takes_the_shard_learns_rates_by_the_authoritys_clock(stores: Stores) -> None:
    shown = authority_of(stores.markets)

    async def ahead(market_ids: Collection[MarketId]) -> Offered:
        return replace(await shown(market_ids), at=stores.clock.now() + timedelta(minutes=2))

    async with ledger_over(stores, ahead, rate=replace(RATE, bets_per_minute_max=1)) as ledger:
        assert isinstance(await ledger.place(await request(stores, key="k1")), Placed)
    async with ledger_over(stores, ahead, rate=replace(RATE, bets_per_minute_max=1)) as ledger:
        deposit = MoveFunds(
            move_id=uuid4(), player_id=BOB, kind=TransferKind.DEPOSIT, amount_minor=1_000, idempotency_key="d1"
        )
        await ledger.move_funds(deposit)  # which asks no authority, and is decided by our clock
        assert isinstance(await ledger.place(await request(stores, key="k2")), Rejection)


async def test_a_bet_that_is_not_recorded_costs_no_rate(stores: Stores) -> None:
    async with ledger_over(stores, rate=replace(RATE, bets_per_minute_max=2)) as ledger:
        first = await request(stores, key="k1")
        assert isinstance(await ledger.place(first), Placed)
        for _ in range(3):  # the books refuse it: its id is another's
            with pytest.raises(Fault):
                await ledger.place(replace(await request(stores, key="k2"), bet_id=first.bet_id))
        assert isinstance(await ledger.place(await request(stores, key="k3")), Placed)
        assert isinstance(await ledger.place(await request(stores, key="k4")), Rejection)


async def test_who_bets_faster_than_a_person_is_flagged(stores: Stores) -> None:
    async with ledger_over(stores, rate=RATE) as ledger:
        for player in (ANN, BOB, BOB):
            assert isinstance(await ledger.place(await request(stores, player)), Placed)
    assert (await flagged(stores, ANN), await flagged(stores, BOB)) == (False, True)


async def test_an_account_that_somebody_has_locked_is_not_flagged_and_holds_no_bet_up(stores: Stores) -> None:
    async with superuser(stores) as somebody, ledger_over(stores, rate=replace(RATE, velocity_bets=1)) as ledger:
        async with somebody.transaction():
            await somebody.execute("SELECT FROM players WHERE user_id = $1 FOR UPDATE", ANN)
            assert isinstance(await ledger.place(await request(stores, key="k1")), Placed)
            assert not await flagged(stores, ANN)
        assert isinstance(await ledger.place(await request(stores, key="k2")), Placed)
        assert await flagged(stores, ANN)


async def test_the_session_has_a_balance_before_the_bet_has_its_answer(stores: Stores) -> None:
    sessions, gate = memory_sessions(), asyncio.Event()

    class Slow:
        async def keep(self, balances: Mapping[PlayerId, Balance]) -> None:
            await gate.wait()
            await sessions.keep(balances)
            raise Outage("Valkey")  # and its death costs no bet

    async with ledger_over(stores, sessions=Slow()) as ledger:
        bets = [asyncio.ensure_future(ledger.place(await request(stores, key=f"k{n}"))) for n in range(3)]
        async with asyncio.timeout(20):
            while await count(stores, "bets") < 3:  # the next is recorded meanwhile
                await asyncio.sleep(0)
        assert not any(bet.done() for bet in bets)
        gate.set()
        answers = await asyncio.gather(*bets)
        assert [answer.balance for answer in answers][-1] == await sessions.balance(ANN)


async def test_a_cache_that_fails_in_whatever_way_costs_no_bet_its_answer(stores: Stores) -> None:
    class Broken:
        async def keep(self, _balances: Mapping[PlayerId, Balance]) -> None:
            raise Fault("nobody thought of it")

    async with asyncio.timeout(20), ledger_over(stores, sessions=Broken()) as ledger:
        assert isinstance(await ledger.place(await request(stores)), Placed)
