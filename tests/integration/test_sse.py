"""The stream as server-sent events, over the server that a pod runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
import msgspec
import pytest
import pytest_asyncio
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from tests.clock import HandClock
from tests.gateways import PATIENCE_S, Client, Offered, ids, request, versions
from tests.pods import listening, memory_platform, port_of
from tests.scene import memory_stores
from touchline.adapters.memory.tables import Tables
from touchline.architectures.wiring import Surroundings
from touchline.core.delivery import Board
from touchline.core.market import MarketStatus
from touchline.edge.http.service import Readiness
from touchline.edge.http.sse import PATH, STREAMS_MAX, WAITING_BYTES_MAX, SentEvents
from touchline.edge.push.framing import sent_event
from touchline.edge.push.hub import FRAME_BYTES_MAX, Hub

MARKETS = [f"m{number}" for number in range(20)]
WORDS = "x" * 1_000
EPOCH = "a" * 32


@dataclass
class Pod:
    """What answers, and what it stands on."""

    hub: Hub
    offered: Offered
    readiness: Readiness
    events: SentEvents
    server: uvicorn.Server

    @property
    def port(self) -> int:
        return port_of(self.server)

    def change(self, *market_ids: str, status: MarketStatus = MarketStatus.ACTIVE, words: str = "") -> None:
        self.hub.apply([self.offered.change(market_id, status, words=words) for market_id in market_ids])


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """What else the pod answers."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"elsewhere"})


@asynccontextmanager
async def running_pod(streams_max: int = STREAMS_MAX, *, shown: bool = True) -> AsyncIterator[Pod]:
    offered, hub, readiness = Offered(), Hub(Board(), HandClock(), sent_event), Readiness()
    for market_id in MARKETS:
        offered.change(market_id)
    if shown:
        hub.show(offered.image())
    readiness.ready = True
    events, around = SentEvents(hub, nothing, readiness, streams_max), Surroundings.fresh()
    tasks = [asyncio.create_task(work()) for work in events.works().values()]
    try:
        async with listening(memory_platform(memory_stores(HandClock(), Tables()), around), events) as server:
            yield Pod(hub, offered, readiness, events, server)
            readiness.ready = False
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        around.passwords.close()


@pytest_asyncio.fixture
async def pod() -> AsyncIterator[Pod]:
    async with running_pod() as one:
        yield one


class Reader:
    """A client that reads events."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def event(self) -> dict[str, Any]:
        """The next event's message, whose `op` is the event's name."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_S):
            async for line in self._lines:
                if not line:
                    break
                name, _, value = line.partition(": ")
                fields[name] = value
        assert set(fields) == {"event", "id", "data"}, fields
        self.last_id = fields["id"]
        message: dict[str, Any] = msgspec.json.decode(fields["data"])
        assert message["op"] == fields["event"]
        return message


@asynccontextmanager
async def reading(pod: Pod, last_id: str = "", **query: Any) -> AsyncIterator[Reader]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with (
        httpx.AsyncClient(timeout=PATIENCE_S) as client,
        client.stream("GET", f"http://127.0.0.1:{pod.port}{PATH}", params=query, headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        yield Reader(response)


async def slow_reader(pod: Pod) -> Client:
    """A client who follows all markets, and reads no more than a little of what he is sent."""
    head = f"GET {PATH}?markets={','.join(MARKETS)} HTTP/1.1\r\nHost: touchline\r\n\r\n"
    _, client = await request(pod.port, head, 4_096)
    return client


async def block(pod: Pod) -> None:
    """Change prices until the one slow reader can be written no more."""
    async with asyncio.timeout(PATIENCE_S):
        while pod.hub.boxed == 0:
            pod.change(*MARKETS, words=WORDS)
            await asyncio.sleep(0)


async def until_nobody(pod: Pod) -> None:
    """Wait until no connection is left."""
    async with asyncio.timeout(PATIENCE_S):
        while pod.server.server_state.connections:
            await asyncio.sleep(0.001)


async def test_events_are_an_image_then_changes_each_with_the_cursor_as_its_id(pod: Pod) -> None:
    async with reading(pod, markets="m1,m2") as reader:
        image = await reader.event()
        assert (image["op"], versions(image)) == ("image", {"m1": 1, "m2": 1})
        assert reader.last_id == f"{pod.offered.epoch}-120"
        pod.change("m3", "m2")
        change = await reader.event()
        assert (change["op"], versions(change)) == ("change", {"m2": 2})
        assert reader.last_id == f"{pod.offered.epoch}-122"


async def test_last_event_id_goes_on_where_a_connection_was_cut(pod: Pod) -> None:
    async with reading(pod, events="e1") as reader:
        assert len((await reader.event())["markets"]) == 20
    pod.change("m1")
    pod.change("m1", "m2")
    async with reading(pod, reader.last_id, events="e1") as again:
        missed = await again.event()
        assert (missed["resumed"], versions(missed)) == (True, {"m1": 3, "m2": 2})
        pod.change("m3")
        assert versions(await again.event()) == {"m3": 2}
    async with reading(pod, resume=again.last_id, events="e1") as third:
        assert (await third.event())["markets"] == []
    async with reading(pod, "b" * 32 + "-1", events="e1") as stranger:
        assert (await stranger.event())["resumed"] is False


async def test_heartbeats_and_paces_are_as_in_the_gateway(pod: Pod) -> None:
    async with reading(pod, markets="m1,m2", heartbeat_ms="500", conflate_ms="300") as reader:
        await reader.event()
        pod.change("m1")
        pod.change("m1")
        pod.change("m2", status=MarketStatus.SUSPENDED)
        assert ids([await reader.event()]) == ["m2"]
        change = await reader.event()
        assert (versions(change), change["conflated"]) == ({"m1": 3}, "asked")
        assert (await reader.event())["op"] == "heartbeat"


async def test_a_slow_reader_is_told_the_latest_and_others_hear_everything(pod: Pod) -> None:
    slow = await slow_reader(pod)
    async with reading(pod, markets=",".join(MARKETS)) as quick:
        await quick.event()
        for _ in range(250):  # 7 MB: more than any kernel holds for who does not read
            pod.change(*MARKETS, words=WORDS)
            change = await quick.event()
            assert "conflated" not in change
            assert change["cursor"] == pod.offered.cursor
        assert pod.hub.boxed == 1
    told = b""
    last = f'"cursor":{pod.offered.cursor},'.encode()
    async with asyncio.timeout(PATIENCE_S):
        while last not in told or not told.endswith(b"\n\n\r\n"):
            told += await slow._reader.read(65_536)
    assert told.count(b'"conflated":"slow_reader"') >= 1
    assert told.count(b"event: change") < 250
    await slow.close()


async def test_streams_have_a_most_and_end_with_their_client() -> None:
    async with running_pod(streams_max=1) as pod, httpx.AsyncClient(timeout=PATIENCE_S) as client:
        async with reading(pod, markets="m1") as reader:
            await reader.event()
            answer = await client.get(f"http://127.0.0.1:{pod.port}{PATH}?markets=m1")
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["code"] == "UNAVAILABLE"
        async with asyncio.timeout(PATIENCE_S):
            while pod.events.streams:
                await asyncio.sleep(0.001)
        assert len(pod.hub._group_of) == 0


async def test_a_pod_that_has_nothing_to_show_says_so() -> None:
    async with running_pod(shown=False) as pod, httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{pod.port}{PATH}?markets=m1")
        assert answer.status_code == 503


async def test_a_pod_that_leaves_ends_its_streams(pod: Pod) -> None:
    async with reading(pod, markets="m1") as reader:
        await reader.event()
        pod.readiness.ready = False
        with pytest.raises(AssertionError, match=r"^set\(\)|\{\}"):
            await reader.event()  # the answer ends, as answers do
    assert pod.events.streams == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "markets"),
        ("markets=", "markets"),
        ("markets=a%20b", "markets"),
        ("markets=m1,,m2", "markets"),
        ("markets=" + ",".join(["m"] * 201), "markets"),
        ("markets=m1&conflate_ms=1", "conflate_ms"),
        ("markets=m1&conflate_ms=x", "conflate_ms"),
        ("markets=m1&heartbeat_ms=99999999999", "heartbeat_ms"),
        ("markets=m1&resume=x", "resume"),
        ("markets=m1&token=x", "token"),
        ("markets=m1&markets=m2", ""),
        ("&".join(["markets=m1"] * 40), None),
    ],
)
async def test_what_can_not_be_asked_is_refused(pod: Pod, query: str, field: str | None) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{pod.port}{PATH}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED")
    assert answer.json().get("field") == field
    assert answer.headers["content-type"] == "application/problem+json"


async def test_other_methods_are_refused_and_other_paths_are_for_others(pod: Pod) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pod.port}") as client:
        answer = await client.post(PATH)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        assert (await client.get("/stream")).text == "elsewhere"


async def test_a_head_is_told_what_a_get_would_be_and_no_event(pod: Pod) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pod.port}", timeout=PATIENCE_S) as client:
        for query, status, content_type in (
            ("markets=m1", 200, "text/event-stream"),
            ("markets=", 400, "application/problem+json"),
        ):
            answer = await client.head(f"{PATH}?{query}")
            assert (answer.status_code, answer.headers["content-type"]) == (status, content_type)
            assert answer.content == b""
    assert pod.events.streams == 0


@pytest.mark.parametrize(
    "last_id",
    [
        "x",
        "-1",
        f"{EPOCH}-",
        f"{EPOCH}--1",
        f"{EPOCH}-1e3",
        f"{EPOCH}-{2**63}",
        f"{EPOCH}-{'9' * 20}",
        f"{EPOCH}-\u0663",
        f"{'a' * 65}-1",
        "é-1",
        "a" * 15_000,
    ],
)
async def test_a_cursor_that_is_none_of_ours_is_refused(pod: Pod, last_id: str) -> None:
    told = last_id.encode()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pod.port}") as client:
        by_header = await client.get(PATH, params={"markets": "m1"}, headers={b"Last-Event-ID": told})
        by_query = await client.get(PATH, params={"markets": "m1", "resume": last_id})
    for answer in (by_header, by_query):
        assert (answer.status_code, answer.json()["field"]) == (400, "resume")
    assert pod.events.streams == 0


async def test_a_cursor_that_never_comes_gets_an_image_after_a_while(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("touchline.edge.push.subscriber.AHEAD_S", 0.0)
    async with reading(pod, f"{EPOCH}-{2**63 - 1}", markets="m1") as reader:
        assert (await reader.event())["resumed"] is False


async def test_a_token_in_the_address_is_refused_and_one_in_a_header_is_nothing_here(pod: Pod) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pod.port}") as client:
        answer = await client.get(PATH, params={"markets": "m1", "token": "a.b.c"})
        assert (answer.status_code, answer.json()["field"]) == (400, "token")
        head = {"Authorization": "Bearer a.b.c"}
        async with client.stream("GET", PATH, params={"markets": "m1"}, headers=head) as response:
            assert response.status_code == 200  # prices are everybody's


async def test_what_there_is_no_room_to_follow_is_refused_before_anything_is_sent(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("touchline.edge.push.hub.FOLLOWED_MAX", 1)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pod.port}") as client:
        answer = await client.get(PATH, params={"markets": "made-up,and-another"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "UNAVAILABLE"
    assert pod.events.streams == len(pod.hub._group_of) == 0
    async with reading(pod, markets="m1,m2") as reader:
        assert len((await reader.event())["markets"]) == 2


async def test_what_is_kept_for_who_reads_nothing_does_not_grow(pod: Pod) -> None:
    slow = await slow_reader(pod)
    await block(pod)
    (connection,), (stream,) = pod.server.server_state.connections, pod.events._streams
    transport = cast(asyncio.Transport, connection.transport)
    for _ in range(1_000):  # 20 MB
        pod.change(*MARKETS, words=WORDS)
        await asyncio.sleep(0)
        assert stream._bytes <= WAITING_BYTES_MAX + FRAME_BYTES_MAX
        assert transport.get_write_buffer_size() <= 2 * (WAITING_BYTES_MAX + FRAME_BYTES_MAX) + HIGH_WATER_LIMIT
    outbox = stream._subscriber.outbox
    assert outbox is not None
    assert len(outbox) <= len(MARKETS)
    await slow.close()


async def test_who_reads_nothing_for_long_is_cut_off(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("touchline.edge.http.protocol.UNREAD_S", 0.05)
    slow = await slow_reader(pod)
    async with asyncio.timeout(PATIENCE_S):
        while pod.events.streams:
            pod.change(*MARKETS, words=WORDS)
            await asyncio.sleep(0)
    await until_nobody(pod)
    assert len(pod.hub._group_of) == 0
    await slow.close()


async def test_a_server_that_stops_waits_for_nobody_who_reads_nothing(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("touchline.edge.http.protocol.CLOSING_S", 0.05)
    slow = await slow_reader(pod)
    await block(pod)
    (connection,) = pod.server.server_state.connections
    async with asyncio.timeout(PATIENCE_S):
        while not connection.flow.write_paused:
            pod.change(*MARKETS, words=WORDS)
            await asyncio.sleep(0)
    pod.readiness.ready = False
    pod.server.should_exit = True
    await until_nobody(pod)
    assert "timeout graceful shutdown exceeded" not in caplog.text
    await slow.close()


@pytest.mark.parametrize("conflate_ms", [0, 50])
async def test_whoever_goes_is_forgotten(pod: Pod, conflate_ms: int) -> None:
    for _ in range(5):
        async with reading(pod, markets="m1,nowhere", events="e1", conflate_ms=conflate_ms) as reader:
            await reader.event()
    await until_nobody(pod)
    hub = pod.hub
    held = (hub._groups, hub._group_of, hub._of_market, hub._of_event, hub._paces, hub._pace_of, hub._ahead)
    assert [len(one) for one in (*held, pod.events._streams)] == [0] * (len(held) + 1)
