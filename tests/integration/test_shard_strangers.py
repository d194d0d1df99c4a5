"""Who does not know the platform's secret learns nothing, costs little, and gets no request."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.shard_stage import PATIENCE_S, Stage
from touchline.core.errors import Outage
from touchline.edge import shard_server
from touchline.ports import Placed
from touchline.wire.frames import put
from touchline.wire.hello_v1 import HELLO_BYTES_MAX, ChallengeV1, WelcomeV1

SOON_S = 0.4


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    await made.begin()
    yield made
    await made.end()


@pytest.mark.parametrize("wrong", [{"secret": "another secret of another platform"}, {"shard": 2}])
async def test_nothing_is_sent_to_a_writer_that_is_another(stage: Stage, wrong: dict[str, Any]) -> None:
    await stage.serve(stage.gate, **wrong)
    with pytest.raises(Outage):
        await stage.pod(answer_s=SOON_S).place(stage.bet("k"))
    assert stage.gate.begun == []


async def test_a_writer_that_takes_any_proof_gets_no_request(stage: Stage) -> None:
    heard = bytearray()

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        out = bytearray()
        put(out, ChallengeV1(1, 1, b"n" * 16))
        writer.write(out)
        heard.extend(await reader.read(HELLO_BYTES_MAX))
        out = bytearray()
        put(out, WelcomeV1(b"s" * 32))
        writer.write(out)
        while said := await reader.read(4096):
            heard.extend(said)
        writer.close()

    server = await asyncio.start_server(impostor, "127.0.0.1", 0)
    stage.addresses[1] = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(Outage):
        await stage.pod(answer_s=SOON_S).place(stage.bet("k"))
    assert b"proof" in heard
    assert b"place" not in heard
    server.close()


STRANGE = {
    "nothing of sense": os.urandom(4096),
    "a frame beyond all measure": b"\xff\xff\xff\xff" + b"x" * 100,
    "a request in place of a proof": b"\x00\x00\x00\x08\x92\x01\x91\xa4ping",
    "another's proof": b"\x00\x00\x00\x3b\x93\xa5proof\xc4\x10" + b"n" * 16 + b"\xc4\x20" + b"s" * 32,
    "an HTTP request": b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("said", STRANGE.values(), ids=STRANGE.keys())
async def test_a_stranger_is_cut_off_and_the_others_go_on(stage: Stage, said: bytes) -> None:
    pod = stage.pod()
    assert isinstance(await pod.place(stage.bet("before")), Placed)
    host, port = stage.addresses[1].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(said)
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert len(await reader.read()) < HELLO_BYTES_MAX
    except ConnectionResetError:
        pass
    writer.close()
    assert isinstance(await pod.place(stage.bet("after")), Placed)
    assert stage.server.strangers == 0
    assert len(stage.gate.begun) == 2


async def test_strangers_who_say_nothing_are_few_and_not_for_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_server, "STRANGERS_MAX", 2)
    monkeypatch.setattr(shard_server, "HELLO_S", 0.2)
    host, port = stage.addresses[1].split(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
    ends = await asyncio.gather(*(reader.read() for reader, _ in opened), return_exceptions=True)
    greeted = [end for end in ends if isinstance(end, bytes) and end]
    assert len(greeted) <= 2
    for _, writer in opened:
        writer.close()
    assert isinstance(await stage.pod().place(stage.bet("k")), Placed)
