"""Pods and writers over TCP: what is lost, late, moved, crowded or not meant for them; nothing is worked twice."""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.clock import NOON
from tests.contract.test_ledger_in_shards import bet_on, credentials, deposit
from tests.integration.shard_stage import Gate, Stage, break_off
from tests.ledgers import SECRET, OtherProcess, at
from touchline.adapters import shard_line, shards
from touchline.adapters.shards import RemoteLedger
from touchline.core.errors import Code, Fault, Outage, Rejection
from touchline.core.ids import BetId, PlayerId
from touchline.edge import shard_server
from touchline.ports import Placed

SOON_S = 0.4


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    await made.begin()
    yield made
    await made.end()


async def test_a_slow_answer_holds_up_no_other(stage: Stage) -> None:
    pod = stage.pod()
    stage.gate.open.clear()
    slow = asyncio.create_task(pod.place(stage.bet("slow")))
    await stage.gate.until_begun(1)
    assert await pod.move_funds(deposit(stage.ann, 500, "k"))
    assert not slow.done()
    stage.gate.open.set()
    assert isinstance(await slow, Placed)


async def test_a_line_that_is_left_is_closed_once_what_was_asked_on_it_is_answered(stage: Stage) -> None:
    pod = stage.pod()
    stage.gate.open.clear()
    asked = asyncio.create_task(pod.place(stage.bet("k")))
    await stage.gate.until_begun(1)
    (line,) = pod._lines.values()
    line.retire()
    assert stage.servers[0].peers
    stage.gate.open.set()
    assert isinstance(await asked, Placed)
    async with asyncio.timeout(20):
        while stage.servers[0].peers:
            await asyncio.sleep(0.01)


async def test_an_answer_that_is_late_is_an_outage_and_the_same_key_tells(stage: Stage) -> None:
    pod = stage.pod(answer_s=SOON_S)
    stage.gate.open.clear()
    with pytest.raises(Outage):
        await pod.place(stage.bet("k"))
    stage.gate.open.set()
    while not (held := await stage.world.bets()):
        await asyncio.sleep(0)
    assert await pod.place(stage.bet("k")) == Placed(held[0], None)
    assert len(stage.servers[0].peers) == 1  # and that on the same connection


async def test_a_bet_whose_answer_is_lost_is_asked_for_again_under_its_key(stage: Stage) -> None:
    pod = stage.pod()
    stage.gate.open.clear()
    asked = asyncio.create_task(pod.place(stage.bet("k")))
    await stage.gate.until_begun(1)
    await break_off(stage.server)
    stage.gate.open.set()
    answer = await asked
    assert isinstance(answer, Placed)
    assert [bet.idempotency_key for bet in await stage.world.bets()] == ["k"]
    assert len(stage.gate.begun) == 2


async def test_a_bet_without_a_key_is_not_sent_twice_once_it_may_have_been_begun(stage: Stage) -> None:
    pod = stage.pod()
    stage.gate.open.clear()
    asked = asyncio.create_task(pod.place(stage.bet()))
    await stage.gate.until_begun(1)
    await break_off(stage.server)
    with pytest.raises(Outage):
        await asked
    stage.gate.open.set()
    assert isinstance(await pod.place(stage.bet()), Placed)
    assert len(stage.gate.begun) == 2


async def test_a_registration_whose_answer_is_lost_is_answered_as_the_first_time(stage: Stage) -> None:
    pod, ledger = stage.pod(), stage.world.ledger
    began, answer = asyncio.Event(), asyncio.Event()
    register = ledger.register

    async def slowly(*arguments: Any) -> bool:
        opened = await register(*arguments)
        began.set()
        await answer.wait()
        return opened

    stage.world.ledger.register = slowly  # type: ignore[method-assign]  # the answer waits, the deed does not
    asked = asyncio.create_task(pod.register(credentials("bob"), "Bob", "EUR", NOON))
    await began.wait()
    await break_off(stage.server)
    answer.set()
    assert await asked is True


async def test_a_writer_that_ends_answers_what_it_began_and_the_next_gets_the_rest(stage: Stage) -> None:
    pod = stage.pod()
    stage.gate.open.clear()
    first = asyncio.create_task(pod.place(stage.bet()))
    await stage.gate.until_begun(1)
    other = Gate(stage.world)
    ending = asyncio.create_task(stage.server.close())
    await asyncio.sleep(0)
    second = asyncio.create_task(pod.place(stage.bet()))  # without a key: it was not begun, so it may go on
    await asyncio.sleep(shards.AGAIN_S)
    await stage.serve(other)
    assert isinstance(await second, Placed)
    assert (len(stage.gate.begun), len(other.begun)) == (1, 1)
    stage.gate.open.set()
    assert isinstance(await first, Placed)
    await ending
    assert not stage.server.peers or all(peer._transport.is_closing() for peer in stage.server.peers)


async def test_a_writer_that_was_replaced_and_does_not_know_it_is_left(stage: Stage) -> None:
    pod, other = stage.pod(), Gate(stage.world)
    assert isinstance(await pod.place(stage.bet("first")), Placed)
    stage.gate.raises = Outage("PostgreSQL", 3)
    await stage.serve(other)
    with pytest.raises(Outage) as outage:
        await pod.place(stage.bet("k"))
    assert (outage.value.dependency, outage.value.retry_after_s) == ("PostgreSQL", 3)
    for _ in range(100):  # it is looked where the writer is by now
        try:
            assert isinstance(await pod.place(stage.bet("k")), Placed)
            break
        except Outage:
            await asyncio.sleep(0)
    assert len(other.begun) == 1


async def test_a_writer_that_loses_its_shard_hands_all_that_has_a_key_to_the_next(stage: Stage) -> None:
    serving = True
    await stage.serve(stage.gate, serves=lambda: serving)
    pod, other = stage.pod(), Gate(stage.world)
    stage.gate.open.clear()
    begun = [asyncio.create_task(pod.place(stage.bet(key))) for key in ("k", None)]
    await stage.gate.until_begun(2)
    serving = False
    stage.gate.raises = Outage("shard 1")
    stage.gate.open.set()
    not_begun = [asyncio.create_task(pod.place(stage.bet(key))) for key in ("l", None)]
    await asyncio.sleep(shards.DOUBT_S)
    assert not any(task.done() for task in not_begun)  # there is time for another to take the shard
    await stage.serve(other)
    answers = await asyncio.gather(*begun, *not_begun, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Placed, Outage, Placed, Placed]
    assert len(stage.gate.begun) == 2
    assert len(await stage.world.bets()) == 3


async def test_nobody_there_is_an_outage_in_time_and_a_writer_that_comes_is_found(stage: Stage) -> None:
    await stage.server.close()
    with pytest.raises(Outage):
        await stage.pod(answer_s=SOON_S).place(stage.bet("k"))
    del stage.addresses[1]
    pod = stage.pod()
    asked = [asyncio.create_task(pod.place(stage.bet(f"k{n}"))) for n in range(50)]
    await asyncio.sleep(shards.AGAIN_S)
    await stage.serve(stage.gate)
    assert all(isinstance(answer, Placed) for answer in await asyncio.gather(*asked))
    assert len(stage.servers[-1].peers) == 1


async def test_addresses_that_cannot_be_read_leave_the_writer_where_it_was(stage: Stage) -> None:
    reads = iter([stage.addresses])

    async def look() -> dict[int, str]:
        try:
            return next(reads)
        except StopIteration:
            raise Outage("PostgreSQL") from None

    pod = RemoteLedger(1, look, SECRET)
    stage.pods.append(pod)
    assert isinstance(await pod.place(stage.bet("a")), Placed)
    await break_off(stage.server)
    assert isinstance(await pod.place(stage.bet("b")), Placed)


async def test_a_fault_of_the_writer_is_one_at_the_pod_and_tells_nothing(stage: Stage) -> None:
    pod = stage.pod()
    stage.gate.raises = Fault("the books are wrong by 5.00")
    with pytest.raises(Fault) as fault:
        await pod.place(stage.bet("k"))
    assert "5.00" not in str(fault.value)
    stage.gate.raises = None
    assert isinstance(await pod.place(stage.bet("k")), Placed)


async def test_whoever_stops_waiting_leaves_his_place_to_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "WAITING_MAX", 20)
    pod = stage.pod()
    stage.gate.open.clear()
    gone = [asyncio.create_task(pod.place(stage.bet(f"gone{n}"))) for n in range(20)]
    await stage.gate.until_begun(20)
    with pytest.raises(Outage):
        await pod.place(stage.bet("too many"))
    for task in gone:
        task.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    waits = [asyncio.create_task(pod.place(stage.bet(f"k{n}"))) for n in range(20)]
    await stage.gate.until_begun(40)
    stage.gate.open.set()
    for number, answer in enumerate(await asyncio.gather(*waits)):
        assert isinstance(answer, Placed)
        assert answer.bet.idempotency_key == f"k{number}"


async def test_a_writer_with_all_it_can_do_says_so_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_server, "OF_PEER_MAX", 3)
    pod = stage.pod()
    stage.gate.open.clear()
    asked = [asyncio.create_task(pod.place(stage.bet(f"k{n}"))) for n in range(5)]
    _, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
    assert len(waiting) >= 3
    stage.gate.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Placed, Placed, Placed, Outage, Outage]
    assert len(stage.gate.begun) == 3


async def test_a_pod_that_sends_garbage_is_cut_off(stage: Stage) -> None:
    pod = stage.pod()
    assert isinstance(await pod.place(stage.bet("a")), Placed)
    [line] = pod._lines.values()
    line._transport.write(b"\x00\x00\x00\x05hello")
    while not line.lost:
        await asyncio.sleep(0)
    assert isinstance(await pod.place(stage.bet("b")), Placed)


async def test_a_pod_that_reads_no_answers_is_cut_off_and_keeps_nobody_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_server, "UNREAD_BYTES_MAX", 64 * 1024)
    monkeypatch.setattr(shard_server, "UNREAD_S", 0.3)
    deaf, pod = stage.pod(), stage.pod()
    assert isinstance(await deaf.place(stage.bet("k")), Placed)
    [line] = deaf._lines.values()
    line._transport.pause_reading()
    stage.gate.raises = Rejection(Code.FORBIDDEN, "x" * 100_000)
    asked = [asyncio.create_task(deaf.place(stage.bet(f"k{n}"))) for n in range(300)]
    await stage.gate.until_begun(301)
    assert await pod.move_funds(deposit(stage.ann, 500, "k"))
    while len(stage.server.peers) == 2:
        await asyncio.sleep(0.01)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert await pod.move_funds(deposit(stage.ann, 500, "l"))


async def test_a_writer_that_stands_still_is_an_outage_and_goes_on_when_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_line, "SILENCE_S", 0.1)
    monkeypatch.setattr(shard_line, "DEAD_S", 0.3)
    process = await OtherProcess.begun(1)
    pod = RemoteLedger(1, at(process.addresses), SECRET, answer_s=1.0)
    market, ann = await process.price(), await process.open_player("ann")
    request = bet_on(market, ann, "k")
    process.child.send_signal(signal.SIGSTOP)
    with pytest.raises(Outage):
        await pod.place(request)
    process.child.send_signal(signal.SIGCONT)
    answer = await pod.place(replace(request, bet_id=BetId(uuid4())))
    assert isinstance(answer, Placed)
    assert await process.bets() == [answer.bet]
    await pod.close()
    await process.end()


async def test_a_rejection_that_was_raised_is_raised(stage: Stage) -> None:
    with pytest.raises(Rejection) as refused:
        await stage.pod().place(bet_on(stage.market, PlayerId("nobody"), "k"))
    assert refused.value.code is Code.UNAUTHENTICATED
