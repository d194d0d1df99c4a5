"""A pod's connections: what is answered from memory is answered just as from a store, whatever comes around it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio
import uvicorn

from tests.clock import HandClock
from tests.pods import listening, memory_platform, port_of
from tests.samples import MARKET
from tests.scene import memory_stores, open_player, price
from touchline.adapters.memory.tables import Tables
from touchline.adapters.tokens import Tokens
from touchline.architectures.wiring import Surroundings
from touchline.core.account import Role
from touchline.core.ids import MarketId, PlayerId
from touchline.edge.http.lanes import HEADER_BYTES_MAX
from touchline.edge.http.pages import pages
from touchline.edge.http.platform import Platform
from touchline.flows.serve_board import BoardServing
from touchline.ports import Revocation
from touchline.wire.odds_v1 import market_to_wire

ANN = PlayerId("ann")
POLL = f"/odds/{MARKET}"


class Shelf:
    """A board of one market; what it has been asked for is counted."""

    def __init__(self, body: bytes) -> None:
        self.body: bytes | None = body
        self.asked = 0

    def held_body(self, market_id: MarketId) -> bytes | None:
        self.asked += 1
        return self.body if market_id == MARKET else None

    async def events_body(self, status: str | None) -> bytes:
        return b'{"events":[]}'

    async def changes_body(self, cursor: str | None) -> bytes:
        return b'{"cursor":"c","markets":[]}'


@dataclass
class Pod:
    """A pod in this process, with its one market and one player."""

    server: uvicorn.Server
    port: int
    shelf: Shelf
    platform: Platform
    token: str

    def request(self, line: str, *headers: str, body: bytes = b"", token: str | None = None) -> bytes:
        bearer = f"Authorization: Bearer {self.token if token is None else token}"
        return "\r\n".join((f"{line} HTTP/1.1", "Host: pod", bearer, *headers, "", "")).encode() + body

    def poll(self, *headers: str, **more: str) -> bytes:
        return self.request(f"GET {POLL}", *headers, **more)

    def bet(self) -> bytes:
        asked = {"market_id": MARKET, "selection_id": "home", "odds": "2.00", "odds_version": 1, "stake": "1.00"}
        return msgspec.json.encode({**asked, "idempotency_key": uuid4().hex})

    def place(self, *headers: str) -> bytes:
        body = self.bet()
        return self.request("POST /bets", *headers, f"Content-Length: {len(body)}", body=body)

    async def ask(self, *pieces: bytes, answers: int = 1) -> list["Answer"]:
        """Send `pieces`, each on its own, and return so many answers; all until the end where that is 0."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        found = []
        async with asyncio.timeout(20):
            while len(found) < answers or not answers:
                answer = await read_answer(reader)
                if answer is None:
                    break
                found.append(answer)
        writer.close()
        return found


@dataclass
class Answer:
    """An answer's status, headers but for the date, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


async def read_answer(reader: asyncio.StreamReader, bodiless: bool = False) -> Answer | None:
    head = await reader.readline()
    if not head:
        return None
    headers = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode().partition(": ")
        headers[name] = value
    assert headers.pop("date")
    body = b"" if bodiless else await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(head.split()[1]), headers, body)


def workers() -> int:
    """How many connections have a task that answers them, or waits to."""
    return sum("PodProtocol._work" in repr(task.get_coro()) for task in asyncio.all_tasks())


@pytest_asyncio.fixture
async def pod() -> AsyncIterator[Pod]:
    clock, tables = HandClock(), Tables()
    memory, around = memory_stores(clock, tables), Surroundings.fresh()
    await open_player(memory, ANN)
    shelf = Shelf(msgspec.json.encode(market_to_wire(await price(memory))))
    platform = memory_platform(memory, around, BoardServing(memory.markets, shelf))
    assert isinstance(platform.tokens, Tokens)
    token, _ = platform.tokens.issue(ANN, Role.PLAYER, uuid4(), around.clock.now())
    async with listening(platform, pages()) as server:
        yield Pod(server, port_of(server), shelf, platform, token)
    around.passwords.close()


async def test_a_poll_from_memory_is_answered_just_as_one_from_a_store(pod: Pod) -> None:
    [at_hand] = await pod.ask(pod.poll())
    assert pod.shelf.asked == 1
    pod.shelf.body = None
    [looked_up] = await pod.ask(pod.poll())
    assert at_hand.status == looked_up.status == 200
    assert at_hand.headers == looked_up.headers
    assert msgspec.json.decode(at_hand.body) == msgspec.json.decode(looked_up.body)


async def test_events_and_changes_go_out_as_the_bytes_they_are(pod: Pod) -> None:
    [events] = await pod.ask(pod.request("GET /events"))
    [changes] = await pod.ask(pod.request("GET /odds"))
    assert (events.body, changes.body) == (b'{"events":[]}', b'{"cursor":"c","markets":[]}')


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é"])
async def test_whoever_has_no_token_of_ours_gets_no_price(pod: Pod, token: str) -> None:
    [answer] = await pod.ask(pod.poll(token=token))
    assert answer.status == 401
    assert pod.shelf.asked == 0


async def test_a_token_that_was_revoked_gets_no_price_any_more(pod: Pod) -> None:
    [before] = await pod.ask(pod.poll())
    now = pod.platform.clock.now()
    pod.platform.tokens.revoke(Revocation(until=now + timedelta(hours=9), player_id=ANN, issued_until=now))
    [after] = await pod.ask(pod.poll())
    assert (before.status, after.status) == (200, 401)


async def test_what_is_unusual_about_a_poll_is_answered_as_ever(pod: Pod) -> None:
    escaped = POLL.replace("-", "%2D")
    expected = {
        f"GET {escaped}": 200,
        f"GET {POLL}?": 200,
        f"GET {POLL}?x=1": 400,
        f"GET {POLL}x": 404,
        "GET /odds/": 404,
        f"GET {POLL}/": 404,
        f"POST {POLL}": 405,
        f"GET http://pod{POLL}": 200,
        "GET /no/such/page": 404,
        "GET /": 200,
    }
    for line, status in expected.items():
        answers = await pod.ask(pod.request(line, "Content-Length: 0"), pod.poll(), answers=2)
        assert [answer.status for answer in answers] == [status, 200], line


async def test_a_head_is_answered_without_a_body(pod: Pod) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
    writer.write(pod.request(f"HEAD {POLL}"))
    answer = await read_answer(reader, bodiless=True)
    writer.write(pod.poll())
    after = await read_answer(reader)
    assert answer is not None
    assert after is not None
    assert (answer.status, after.status) == (200, 200)
    writer.close()


async def test_a_poll_with_a_body_does_not_shift_what_comes_after_it(pod: Pod) -> None:
    chunked = pod.poll("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"
    sized = pod.poll("Content-Length: 3") + b"abc"
    answers = await pod.ask(chunked + sized + pod.poll(), answers=3)
    assert [answer.status for answer in answers] == [200, 200, 200]


async def test_headers_beyond_their_maximum_are_refused(pod: Pod) -> None:
    [answer] = await pod.ask(pod.poll(f"X: {'x' * HEADER_BYTES_MAX}"))
    assert answer.status == 400
    assert pod.shelf.asked == 0


@pytest.mark.parametrize("line", [f"GET {POLL}", "GET /account"])
async def test_a_client_that_wants_the_connection_closed_has_it_closed(pod: Pod, line: str) -> None:
    [answer] = await pod.ask(pod.request(line, "Connection: close"), answers=0)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    old = pod.request(line).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert [answer.status for answer in await pod.ask(old, answers=0)] == [200]


async def test_answers_come_in_the_order_of_their_requests(pod: Pod) -> None:
    sent = [pod.poll(), pod.place(), pod.poll(), pod.place(), pod.poll(token="x"), pod.poll(), pod.place()]
    for pieces in ([b"".join(sent)], sent):
        answers = await pod.ask(*pieces, answers=len(sent))
        assert [answer.status for answer in answers] == [200, 201, 200, 201, 401, 200, 201]


async def test_a_request_may_come_in_pieces(pod: Pod) -> None:
    whole = pod.poll() + pod.place() + pod.poll()
    pieces = [whole[at : at + 37] for at in range(0, len(whole), 37)]
    answers = await pod.ask(*pieces, answers=3)
    assert [answer.status for answer in answers] == [200, 201, 200]


async def test_pages_and_operations_take_turns_on_one_connection(pod: Pod) -> None:
    page, old = pod.request("GET /"), pod.request("GET /odds/%6Done")
    sent = [pod.place(), page, pod.place(), old, pod.request("GET /bets#x"), page, pod.place()]
    for pieces in ([b"".join(sent)], sent):
        answers = await pod.ask(*pieces, answers=len(sent))
        assert [answer.status for answer in answers] == [201, 200, 201, 404, 200, 200, 201]


async def test_a_bet_is_on_record_though_its_client_has_gone_and_nothing_goes_on_for_him(pod: Pod) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", pod.port)
    writer.write(pod.place() + pod.place()[:-1])
    await writer.drain()
    writer.close()
    async with asyncio.timeout(20):
        while pod.server.server_state.connections or workers():
            await asyncio.sleep(0.01)
    [answer] = await pod.ask(pod.request("GET /bets"))
    assert len(msgspec.json.decode(answer.body)["bets"]) == 1


async def test_a_server_that_stops_answers_what_it_has_begun_and_closes_what_is_idle(pod: Pod) -> None:
    idle, other = await asyncio.open_connection("127.0.0.1", pod.port)
    other.write(pod.place())
    assert await read_answer(idle) is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
    bet = pod.place()
    writer.write(bet[:-5])
    async with asyncio.timeout(20):
        while not pod.server.server_state.tasks:
            await asyncio.sleep(0.01)
        pod.server.should_exit = True
        assert await idle.read() == b""
        writer.write(bet[-5:])
        answer = await read_answer(reader)
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert await reader.read() == b""
    other.close()
    writer.close()


@pytest.mark.parametrize("kind", ["at hand", "from a store", "a page", "a bet"])
async def test_a_server_that_stops_answers_what_was_on_its_way_on_an_idle_connection(pod: Pod, kind: str) -> None:
    asked = {
        "at hand": pod.poll(),
        "from a store": pod.request("GET /bets"),
        "a page": pod.request("GET /"),
        "a bet": pod.place(),
    }
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
    writer.write(pod.poll())
    assert await read_answer(reader) is not None
    pod.server.should_exit = True
    async with asyncio.timeout(20):
        while pod.server.servers[0].is_serving():
            await asyncio.sleep(0)
        writer.write(asked[kind])
        answer = await read_answer(reader)
        assert answer is not None
        assert (answer.status in (200, 201), answer.headers["connection"]) == (True, "close")
        assert await reader.read() == b""
    writer.close()


async def test_a_body_is_asked_for_where_the_client_waits_for_that(pod: Pod) -> None:
    body = pod.bet()
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.port)
    writer.write(pod.request("POST /bets", "Expect: 100-continue", f"Content-Length: {len(body)}"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    answer = await read_answer(reader)
    assert answer is not None
    assert answer.status == 201
    writer.close()


async def test_a_body_in_chunks_is_read_and_one_beyond_its_maximum_is_not(pod: Pod) -> None:
    body = pod.bet()
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    chunked = pod.request("POST /bets", "Transfer-Encoding: chunked", body=chunks)
    endless = pod.request("POST /bets", "Content-Length: 20000") + b"x" * 20_000
    answers = await pod.ask(chunked, endless, answers=2)
    assert [answer.status for answer in answers] == [201, 400]


async def test_a_client_that_does_not_read_is_not_answered_beyond_a_bound(pod: Pod) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.port, limit=1024)
    flood = pod.poll() * 500
    writer.transport.set_write_buffer_limits(1024)
    sent = 0
    stalled = False
    while not stalled and sent < 200:
        writer.write(flood)
        sent += 1
        try:
            async with asyncio.timeout(0.5):
                await writer.drain()
        except TimeoutError:
            stalled = True
    assert stalled  # it takes no more than it can answer
    for _ in range(sent * 500):
        answer = await read_answer(reader)
        assert answer is not None
        assert answer.status == 200
    writer.close()


async def test_polls_from_memory_are_counted_and_their_players_heard_of(pod: Pod) -> None:
    await pod.ask(pod.poll() * 3, answers=3)
    assert pod.platform.meters.audience.live() == 1
    [answer] = await pod.ask(pod.request("GET /metrics"))
    text = answer.body.decode()
    assert 'touchline_http_requests_total{method="GET",route="/odds/{market_id}",status="200"} 3.0' in text
    assert 'touchline_http_request_seconds_bucket{le="+Inf",method="GET",route="/odds/{market_id}"} 3.0' in text
    assert 'touchline_http_request_seconds_count{method="GET",route="/odds/{market_id}"} 3.0' in text
