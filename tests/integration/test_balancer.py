"""The balancer before pods that a test plays: whom it gives requests, and when it has let go of one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.gateways import PATIENCE_S
from touchline.lab.http_client import HttpClient
from touchline.runtime.addresses import free_port
from touchline.runtime.balancer import Balancer
from touchline.runtime.probes import READY_PATH

CLIENTS = 12
LETTING_GO = 3


class Pod:
    """A pod that answers everything, and keeps its connections open for as long as it is let."""

    def __init__(self) -> None:
        self.ready = True
        self.given = 0  # requests, those aside that ask whether it is ready
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def hang_up(self) -> None:
        """Close every connection, whatever is on its way on it."""
        for writer in self._writers:
            writer.transport.abort()

    def close(self) -> None:
        self._server.close()
        self.hang_up()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if READY_PATH.encode() in head.partition(b"\r\n")[0]:
                    answer = b"200 OK" if self.ready else b"503 Service Unavailable"
                else:
                    self.given += 1
                    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    await reader.readexactly(int(length or b"0"))
                    answer = b"201 Created"
                writer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self._writers.discard(writer)


@asynccontextmanager
async def balanced(folder: Path, count: int) -> AsyncIterator[tuple[Balancer, list[Pod]]]:
    """Yield a balancer before so many pods."""
    (folder / "logs").mkdir()
    pods = [Pod() for _ in range(count)]
    for pod in pods:
        await pod.listen()
    balancer = Balancer(folder, free_port(), [pod.port for pod in pods])
    child = await balancer.start()
    try:
        yield balancer, pods
    finally:
        await child.stop()
        for pod in pods:
            pod.close()


@asynccontextmanager
async def posting(port: int) -> AsyncIterator[list[int | None]]:
    """Yield the statuses of what `CLIENTS` post one request after another, as they come."""
    statuses: list[int | None] = []
    client = HttpClient(
        f"http://127.0.0.1:{port}", connections_max=CLIENTS, waiting_max=CLIENTS, timeout_s=PATIENCE_S
    )

    async def post() -> None:
        while True:
            statuses.append((await client.ask(client.request("POST", "/bets", body=b"{}"))).status)

    posts = [asyncio.create_task(post()) for _ in range(CLIENTS)]
    try:
        yield statuses
    finally:
        for task in posts:
            task.cancel()
        await asyncio.gather(*posts, return_exceptions=True)
        await client.close()


async def more(statuses: list[int | None], count: int) -> None:
    """Wait until so many more requests are answered."""
    count += len(statuses)
    async with asyncio.timeout(PATIENCE_S):
        while len(statuses) < count:
            await asyncio.sleep(0.001)


async def test_a_pod_that_is_let_go_may_hang_up_and_no_request_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("touchline.runtime.balancer.ON_THE_WAY_S", 0.2)
    async with balanced(tmp_path, 2) as (balancer, pods), posting(balancer.port) as statuses:
        ports = [pod.port for pod in pods]
        for leaving in pods * LETTING_GO:
            await balancer.until_used(ports)
            leaving.ready = False
            await balancer.until_unused(leaving.port)
            given = leaving.given
            leaving.hang_up()
            await more(statuses, 100)
            assert leaving.given == given
            leaving.ready = True
        assert set(statuses) == {201}


async def test_a_pod_that_stays_is_not_taken_for_one_that_was_let_go(tmp_path: Path) -> None:
    async with balanced(tmp_path, 3) as (balancer, pods), posting(balancer.port):
        await balancer.until_used([pod.port for pod in pods])
        word = balancer._words[pods[1].port]
        assert {await balancer._reached_by(word) for _ in range(50)} == {pods[1].port}


async def test_a_request_that_comes_slowly_holds_no_connection_that_a_pod_may_close(tmp_path: Path) -> None:
    async with balanced(tmp_path, 1) as (balancer, [pod]):
        async with posting(balancer.port) as statuses:
            await more(statuses, CLIENTS)  # which leaves connections to the pod that can be used again
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        writer.write(b"POST /bets HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n12345")
        async with posting(balancer.port) as statuses:
            await more(statuses, 10 * CLIENTS)  # by which the balancer has read it
        pod.hang_up()
        async with posting(balancer.port) as statuses:
            await more(statuses, 10 * CLIENTS)  # by which it knows that
        writer.write(b"67890")
        async with asyncio.timeout(PATIENCE_S):
            assert (await reader.readline()).split()[1] == b"201"
        writer.close()
