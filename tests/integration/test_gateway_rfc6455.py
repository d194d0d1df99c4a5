"""What RFC 6455 asks of a server, frame by frame: a gateway's, directly and through the balancer."""

from pathlib import Path
from typing import Any

import pytest

from tests.gateways import (
    BINARY,
    CLOSE,
    PONG,
    Client,
    Running,
    balanced,
    connected,
    frame,
    handshake,
    request,
    still_lives,
)
from tests.shared import DATA, shared_json

CASES = "websocket/rfc6455_cases.json"


def cases() -> list[Any]:
    """The cases where they are beside the project, else one that skips."""
    if not (DATA / CASES).exists():
        return [pytest.param(None, id="absent")]
    return [pytest.param(case, id=case["id"]) for case in shared_json(CASES)["vectors"]]


def payload_of(described: dict[str, Any]) -> bytes:
    if "payload_hex" in described:
        return bytes.fromhex(described["payload_hex"])
    repeat = described["payload_repeat"]
    return bytes.fromhex(repeat["byte_hex"]) * int(repeat["count"])


@pytest.mark.parametrize("case", cases())
async def test_rfc_6455(case: dict[str, Any] | None, client: Client) -> None:
    if case is None:
        shared_json(CASES)  # which skips, and says why
        return
    await judge(case, client)


async def test_rfc_6455_through_the_balancer(running: Running, tmp_path: Path) -> None:
    async with balanced(tmp_path, running.port) as port:
        for case in shared_json(CASES)["vectors"]:
            async with connected(port) as client:
                try:
                    await judge(case, client)
                except AssertionError as wrong:
                    raise AssertionError(case["id"]) from wrong


async def test_who_asks_so_that_no_gateway_answers_keeps_nobody_else_out(running: Running, tmp_path: Path) -> None:
    many = "".join(f"X-{number}: x\r\n" for number in range(2_000))
    async with balanced(tmp_path, running.port) as port:
        answer, client = await request(port, handshake().removesuffix("\r\n") + many + "\r\n")
        assert answer.startswith("HTTP/1.1 502 ")
        await client.close()
        async with connected(port) as other:
            await still_lives(other)
        head = "POST /stream HTTP/1.1\r\nHost: touchline\r\nContent-Length: 0\r\n\r\n"
        answer, client = await request(port, head)
        assert answer.startswith("HTTP/1.1 404 ")  # as a pod says
        await client.close()


async def judge(case: dict[str, Any], client: Client) -> None:
    """Send what a case sends, and look at the answer."""
    client.write(
        b"".join(
            frame(one["opcode"], payload_of(one), fin=one["fin"], rsv=one["rsv"], masked=one["masked"])
            for one in case["frames"]
        )
    )
    expect = case["expect"]
    if expect["kind"] == "pong":
        assert await client.frame() == (PONG, bytes.fromhex(expect["payload_hex"]))
        await still_lives(client)
    elif expect["kind"] == "pong_then_message":
        assert (await client.frame())[0] == PONG
        assert (await client.hears("error"))["code"] == "MALFORMED"
        await still_lives(client)
    elif expect["kind"] == "message_same_if_echo" and expect["opcode"] == BINARY:
        assert (await client.closed())[0] == 1003
    elif expect["kind"] == "message_same_if_echo":
        assert (await client.hears("error"))["code"] == "MALFORMED"  # text, and no request
        await still_lives(client)
    elif expect["kind"] == "close_echo":
        assert await client.frame() == (CLOSE, int(expect["close_code"]).to_bytes(2, "big"))
        assert await client.frame() == (-1, b"")
    else:
        assert expect["kind"] == "fail"
        assert (await client.closed())[0] == expect["close_code"]
