"""The lab's HTTP client against a real server that answers, is slow, breaks off, or is not there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.lab.tiny_server import Request, TinyServer, ok
from touchline.lab.http_client import DROPPED, REFUSED, RESET, TIMEOUT, HttpClient
from touchline.runtime.addresses import free_port


@asynccontextmanager
async def client_of(
    address: str, connections_max: int = 4, waiting_max: int = 100, timeout_s: float = 5
) -> AsyncIterator[HttpClient]:
    client = HttpClient(address, connections_max=connections_max, waiting_max=waiting_max, timeout_s=timeout_s)
    try:
        yield client
    finally:
        await client.close()


async def at_once(_: Request) -> bytes:
    return ok()


async def test_connections_are_kept_and_never_more_than_allowed() -> None:
    async with TinyServer(at_once).running() as server, client_of(server.address, connections_max=3) as client:
        request = client.request("GET", "/odds/m", "a token", more=b"If-None-Match: 7\r\n")
        exchanges = await asyncio.gather(*(client.ask(request) for _ in range(50)))
    assert {exchange.status for exchange in exchanges} == {200}
    assert len(server.requests) == 50
    assert server.connections <= 3
    head = server.requests[0].head
    assert b"Authorization: Bearer a token\r\n" in head
    assert b"If-None-Match: 7\r\n" in head
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in head


async def test_a_body_goes_out_whole_and_comes_back_in_pieces() -> None:
    async def echo(request: Request) -> bytes:
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (request.body[:3], request.body[3:]))
        return b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nEtag: W/9\r\n\r\n" + pieces + b"0\r\n\r\n"

    async with TinyServer(echo).running() as server, client_of(server.address) as client:
        exchange = await client.ask(client.request("POST", "/bets", "t", b'{"a": "body"}'))
    assert (exchange.status, exchange.body, exchange.etag) == (201, b'{"a": "body"}', b"W/9")
    assert exchange.lost is None
    assert exchange.sent_s is not None
    assert exchange.answered_s is not None
    assert exchange.asked_s <= exchange.sent_s <= exchange.answered_s


async def test_an_answer_without_a_body_ends_with_its_head() -> None:
    async def unchanged(_: Request) -> bytes:
        return b"HTTP/1.1 304 Not Modified\r\nEtag: 7\r\n\r\n"

    async with TinyServer(unchanged).running() as server, client_of(server.address, 1) as client:
        exchanges = [await client.ask(client.request("GET", "/")) for _ in range(3)]
    assert [exchange.status for exchange in exchanges] == [304] * 3
    assert server.connections == 1


async def test_no_answer_in_time_is_a_timeout_and_its_connection_is_given_up() -> None:
    never = asyncio.Event()

    async def slow(request: Request) -> bytes:
        if request.path == "/slow":
            await never.wait()
        return ok()

    async with (
        TinyServer(slow).running() as server,
        client_of(server.address, connections_max=1, timeout_s=0.3) as client,
    ):
        held, waiting = await asyncio.gather(
            client.ask(client.request("GET", "/slow")), client.ask(client.request("GET", "/behind"))
        )
        assert (held.lost, held.status) == (TIMEOUT, None)
        assert held.sent_s is not None
        assert waiting.status == 200 or (waiting.lost == TIMEOUT and waiting.sent_s is None)
        assert (await client.ask(client.request("GET", "/"))).status == 200
        never.set()


async def test_a_connection_that_ends_before_its_answer_is_a_reset() -> None:
    async def vanish(request: Request) -> bytes | None:
        return None if request.path == "/gone" else ok()

    async with TinyServer(vanish).running() as server, client_of(server.address, 1) as client:
        assert (await client.ask(client.request("GET", "/gone"))).lost == RESET
        assert (await client.ask(client.request("GET", "/here"))).status == 200


@pytest.mark.parametrize("words", [b"no HTTP at all\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
async def test_what_is_no_answer_is_a_reset(words: bytes) -> None:
    async def garble(_: Request) -> bytes:
        return words

    async with TinyServer(garble).running() as server, client_of(server.address) as client:
        assert (await client.ask(client.request("GET", "/"))).lost == RESET


async def test_a_server_that_wants_to_close_is_obeyed() -> None:
    async def last(_: Request) -> bytes:
        return ok(head=b"Connection: close\r\n")

    async with TinyServer(last).running() as server, client_of(server.address, 1) as client:
        assert [(await client.ask(client.request("GET", "/"))).status for _ in range(3)] == [200] * 3
    assert server.connections == 3


async def test_nobody_there_is_refused_each_time() -> None:
    async with client_of(f"http://127.0.0.1:{free_port()}") as client:
        exchanges = await asyncio.gather(*(client.ask(client.request("GET", "/")) for _ in range(20)))
    assert {exchange.lost for exchange in exchanges} == {REFUSED}


async def test_what_waits_is_bounded_and_the_rest_is_dropped() -> None:
    enough = asyncio.Event()

    async def hold(_: Request) -> bytes:
        await enough.wait()
        return ok()

    async with (
        TinyServer(hold).running() as server,
        client_of(server.address, connections_max=2, waiting_max=5) as client,
    ):
        asked = [asyncio.create_task(client.ask(client.request("GET", "/"))) for _ in range(20)]
        dropped = [task for task in asked if await _is_over(task)]
        assert {(await task).lost for task in dropped} == {DROPPED}
        enough.set()
        lost = [(await task).lost for task in asked]
    assert server.open_most <= 2
    assert lost.count(None) == 20 - len(dropped)
    assert 5 <= lost.count(None) <= 7


async def _is_over(task: "asyncio.Task[object]") -> bool:
    for _ in range(5):  # a task that needs no answer is over after a few turns of the loop
        await asyncio.sleep(0)
    return task.done()


async def test_closing_ends_what_is_under_way() -> None:
    never = asyncio.Event()

    async def hold(_: Request) -> bytes:
        await never.wait()
        return ok()

    async with TinyServer(hold).running() as server:
        async with client_of(server.address, connections_max=1) as client:
            asked = [asyncio.create_task(client.ask(client.request("GET", "/"))) for _ in range(3)]
            while not server.requests:  # a server has no event for a request of a test
                await asyncio.sleep(0.001)
        assert {(await task).lost for task in asked} == {RESET}
        never.set()
