"""A player's own bets over the stream: his, nobody else's, and only while his token is good."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from tests.clock import NOON
from tests.gateways import Client, Running, connected
from tests.samples import ALICE, EVENT, bet
from touchline.adapters.memory.fact_log import MemoryFactLog
from touchline.adapters.tokens import Tokens
from touchline.core.account import Role
from touchline.core.bet import Bet, BetResult, BetStatus
from touchline.core.errors import Outage
from touchline.core.facts import BetAccepted, BetDecided, Body, Fact
from touchline.core.ids import BetId, PlayerId
from touchline.core.settlement import SettlementKind
from touchline.edge.push import own_bets as module
from touchline.ports import Revocation

BOB = PlayerId("bob")


class Ledger:
    """What becomes of bets: kept where the gateway reads them, and told in the log."""

    def __init__(self, running: Running) -> None:
        self.log = MemoryFactLog()
        self._running = running
        self._seq = 0

    async def accept(self, number: int = 1, player_id: PlayerId = ALICE) -> Bet:
        made = bet(bet_id=BetId(UUID(int=number)), player_id=player_id)
        self._running.bets.bets[player_id, made.bet_id] = made
        await self._tell(BetAccepted(bet=made))
        return made

    async def settle(self, made: Bet) -> None:
        won = replace(
            made, status=BetStatus.SETTLED, result=BetResult.WON, payout_minor=2_500, settled_at=NOON
        )
        self._running.bets.bets[made.player_id, made.bet_id] = won
        await self._tell(
            BetDecided(
                bet_id=made.bet_id,
                player_id=made.player_id,
                event_id=EVENT,
                settlement_id=1,
                kind=SettlementKind.SETTLE,
                status=won.status,
                result=won.result,
                payout_minor=won.payout_minor,
                decided_at=NOON,
            )
        )

    async def _tell(self, body: Body) -> None:
        self._seq += 1
        fact = Fact(shard=1, seq=self._seq, epoch=1, fact_id=uuid4(), recorded_at=NOON, body=body)
        await self.log.publish([fact])


@pytest_asyncio.fixture
async def ledger(running: Running) -> AsyncIterator[Ledger]:
    """A ledger whose log the gateway reads."""
    one = Ledger(running)
    own_bets = running.gateway.own_bets
    tasks = [asyncio.create_task(own_bets.follow(one.log)), asyncio.create_task(own_bets.tell())]
    await asyncio.sleep(0)  # the log is read from now on
    yield one
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def ask_for_bets(client: Client, token: str | None, subscription_id: str = "bets") -> None:
    client.subscribe(subscription_id, bets=True, token=token)
    image = await client.hears("image")
    assert (image["id"], image["markets"]) == (subscription_id, [])


async def test_a_player_hears_of_his_bets_as_they_are_accepted_and_settled(
    running: Running, ledger: Ledger
) -> None:
    async with connected(running.port) as alice, connected(running.port) as bob:
        await ask_for_bets(alice, running.token(ALICE))
        await ask_for_bets(bob, running.token(BOB))
        made = await ledger.accept()
        told = await alice.hears("bet")
        assert (told["bet_id"], told["status"], told["stake"]) == (str(made.bet_id), "PLACED", "10.00")
        await ledger.settle(made)
        told = await alice.hears("bet")
        assert (told["status"], told["result"], told["payout"]) == ("SETTLED", "won", "25.00")
        await ledger.accept(2, BOB)
        assert (await bob.hears("bet"))["bet_id"] == str(UUID(int=2))  # the first that he hears


async def test_bets_and_odds_come_over_one_connection(running: Running, ledger: Ledger) -> None:
    async with connected(running.port) as alice:
        alice.subscribe("all", markets=["m1"], bets=True, token=running.token(ALICE))
        await alice.hears("image")
        running.change("m1")
        await alice.hears("change")
        await ledger.accept()
        await alice.hears("bet")
        alice.say(op="unsubscribe", id="all")
        alice.subscribe("sentinel", markets=["m1"])
        await alice.hears("image")
        assert len(running.gateway.own_bets) == 0


async def test_every_connection_of_a_player_hears_of_his_bets(running: Running, ledger: Ledger) -> None:
    async with connected(running.port) as first, connected(running.port) as second:
        for client in (first, second):
            await ask_for_bets(client, running.token(ALICE))
        await ledger.accept()
        assert await first.hears("bet") == await second.hears("bet")


def forged(running: Running) -> dict[str, str | None]:
    stranger = Tokens("t" * 32, timedelta(hours=1), 10, running.clock)
    alien = stranger.issue(ALICE, Role.PLAYER, uuid4(), running.clock.now())[0]
    good = running.token(ALICE)
    head, body, signature = good.split(".")
    return {
        "none": None,
        "empty": "",
        "no token": "x.y.z",
        "another's signature": alien,
        "no signature": f"{head}.{body}.",
        "none as algorithm": f"eyJhbGciOiJub25lIn0.{body}.{signature}",
        "altered": f"{head}.{body[:-2]}AA.{signature}",
    }


@pytest.mark.parametrize(
    "what",
    [
        "none",
        "empty",
        "no token",
        "another's signature",
        "no signature",
        "none as algorithm",
        "altered",
    ],
)
async def test_a_token_that_is_not_ours_opens_nothing(running: Running, ledger: Ledger, what: str) -> None:
    async with connected(running.port) as client:
        client.subscribe("bets", markets=["m1"], bets=True, token=forged(running)[what])
        error = await client.hears("error")
        assert (error["code"], error["id"]) == ("UNAUTHENTICATED", "bets")
        client.subscribe("odds", markets=["m1"])
        assert (await client.hears("image"))["id"] == "odds"
        assert len(running.gateway.own_bets) == 0
        running.change("m1")
        await client.hears("change")


@pytest.mark.parametrize("role", [Role.TRADER, Role.FEED])
async def test_who_is_no_player_has_no_bets(running: Running, role: Role) -> None:
    async with connected(running.port) as client:
        client.subscribe("bets", bets=True, token=running.token("someone", role))
        assert (await client.hears("error"))["code"] == "FORBIDDEN"


async def test_a_token_that_has_expired_opens_nothing_and_ends_what_it_opened(
    running: Running, ledger: Ledger
) -> None:
    token = running.token(ALICE)
    async with connected(running.port) as client:
        await ask_for_bets(client, token)
        running.clock.move(timedelta(hours=1))
        await ledger.accept()
        error = await client.hears("error")  # and not the bet
        assert (error["code"], error["id"]) == ("UNAUTHENTICATED", "bets")
        client.subscribe("again", bets=True, token=token)
        assert (await client.hears("error"))["id"] == "again"


async def test_a_revocation_ends_the_channel_without_waiting_for_a_bet(running: Running) -> None:
    async with connected(running.port) as client:
        token = running.token(ALICE)
        await ask_for_bets(client, token)
        identity = running.tokens.verify(token)
        running.tokens.revoke(Revocation(until=identity.expires_at, token_id=identity.token_id))
        running.gateway.own_bets.check_tokens()
        assert (await client.hears("error"))["code"] == "UNAUTHENTICATED"
        assert len(running.gateway.own_bets) == 0


async def test_a_store_that_is_away_delays_bets_and_loses_none(running: Running) -> None:
    ledger, own_bets = Ledger(running), running.gateway.own_bets
    async with connected(running.port) as client:
        await ask_for_bets(client, running.token(ALICE))
        made = await ledger.accept()
        own_bets.hear([fact_of(made)])
        running.bets.failing = Outage("PostgreSQL")
        with pytest.raises(Outage):
            await own_bets.tell_changed()
        running.bets.failing = None
        await own_bets.tell_changed()
        assert (await client.hears("bet"))["bet_id"] == str(made.bet_id)


def fact_of(made: Bet, seq: int = 1) -> Fact:
    body = BetAccepted(bet=made)
    return Fact(shard=1, seq=seq, epoch=1, fact_id=uuid4(), recorded_at=NOON, body=body)


class BreakingLog:
    """A log that is away, or is read and then goes away."""

    def __init__(self, *yielded: Sequence[Fact]) -> None:
        self._yielded = yielded

    async def tail(self) -> AsyncIterator[Sequence[Fact]]:
        for facts in self._yielded:
            yield facts
        raise Outage("the log")


async def test_who_is_told_of_his_bets_is_told_when_the_log_goes_and_when_it_is_back(running: Running) -> None:
    own_bets = running.gateway.own_bets

    async def follow(log: BreakingLog) -> None:
        """As `serve` begins a work again and again."""
        with pytest.raises(Outage):
            await own_bets.follow(log)  # type: ignore[arg-type]  # nobody consumes it

    async def hears_that_some_may_be_missed(client: Client, subscription_id: str) -> None:
        await own_bets.tell_changed()
        error = await client.hears("error")
        assert (error["code"], error["id"]) == ("UNAVAILABLE", subscription_id)
        assert "GET /bets" in error["detail"]

    async with connected(running.port) as early, connected(running.port) as late:
        await ask_for_bets(early, running.token(ALICE))
        await follow(BreakingLog())
        await hears_that_some_may_be_missed(early, "bets")
        for _ in range(3):  # it is said once
            await follow(BreakingLog())
            await own_bets.tell_changed()
        await ask_for_bets(late, running.token(BOB), "his")
        await hears_that_some_may_be_missed(late, "his")
        made = bet(bet_id=BetId(UUID(int=1)), player_id=ALICE)
        running.bets.bets[ALICE, made.bet_id] = made
        running.bets.failing = Outage("PostgreSQL")  # one that can't be read delays no such word
        await follow(BreakingLog((), [fact_of(made)]))
        with pytest.raises(Outage):
            await own_bets.tell_changed()
        running.bets.failing = None
        for client, subscription_id in ((late, "his"), (early, "bets")):
            await hears_that_some_may_be_missed(client, subscription_id)
        assert (await early.hears("bet"))["bet_id"] == str(made.bet_id)
        assert len(own_bets) == 2  # it goes on


async def test_more_changes_than_can_be_noted_are_told_as_missed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGED_MAX", 3)
    own_bets = running.gateway.own_bets
    async with connected(running.port) as client:
        await ask_for_bets(client, running.token(ALICE))
        many = [bet(bet_id=BetId(UUID(int=number))) for number in range(5)]
        running.bets.bets = {(one.player_id, one.bet_id): one for one in many}
        own_bets.hear([fact_of(one) for one in many])
        await own_bets.tell_changed()
        assert [(await client.message())["op"] for _ in range(4)] == ["bet", "bet", "bet", "error"]


async def test_a_slow_player_is_told_each_bet_once_as_it_stands_when_he_reads(running: Running) -> None:
    own_bets = running.gateway.own_bets
    ledger = Ledger(running)
    async with connected(running.port, 4_096) as client:
        client.subscribe("all", markets=["m1"], bets=True, token=running.token(ALICE))
        await client.hears("image")
        async with asyncio.timeout(20):
            while running.hub.boxed == 0:
                running.change("m1", words="x" * 1_000)
                await asyncio.sleep(0)
        made = await ledger.accept()
        own_bets.hear([fact_of(made)])
        await own_bets.tell_changed()
        await ledger.settle(made)
        own_bets.hear([fact_of(made)])
        await own_bets.tell_changed()
        telling = asyncio.create_task(own_bets.tell())
        while (message := await client.message())["op"] == "change":
            pass
        assert (message["op"], message["status"]) == ("bet", "SETTLED")
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
