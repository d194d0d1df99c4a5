"""What is no WebSocket, what can not be asked, and what is too much: refused by its code, and nobody else hurt."""

import asyncio

import msgspec
import pytest

from tests.gateways import (
    BINARY,
    CLOSE,
    EPOCH,
    PATIENCE_S,
    PING,
    PONG,
    TEXT,
    Client,
    Running,
    connected,
    frame,
    still_lives,
)
from touchline.edge.push.connection import FRAMES_AT_ONCE_MAX, PING_AFTER_S, SILENT_S, UNSUBSCRIBED_S
from touchline.wire.stream_v1 import (
    EVENTS_MAX,
    MARKETS_MAX,
    MESSAGE_BYTES_MAX,
    NAMED_MAX,
    SUBSCRIPTIONS_MAX,
    TOKEN_LENGTH_MAX,
)

CONTINUATION = 0
GOOD = b'{"op":"unsubscribe","id":"nothing"}'


@pytest.mark.parametrize(
    ("code", "answered"),
    [
        *((code, 1002) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)),
        *((code, code) for code in (1007, 1009, 1012, 1014, 3000, 4999)),
    ],
)
async def test_a_close_is_answered_with_its_code_or_failed_for_it(
    client: Client, code: int, answered: int
) -> None:
    client.write(frame(CLOSE, code.to_bytes(2, "big")))
    assert (await client.closed())[0] == answered
    assert await client.frame() == (-1, b"")


async def test_a_close_without_a_code_is_answered(client: Client) -> None:
    client.write(frame(CLOSE))
    assert (await client.closed())[0] == 1000


@pytest.mark.parametrize(
    "frames",
    [
        frame(CONTINUATION, GOOD),
        frame(TEXT, GOOD, fin=0) + frame(TEXT, GOOD),
        frame(TEXT, GOOD, fin=0) + frame(BINARY, GOOD, fin=0),
    ],
    ids=["none begun", "another", "one begun"],
)
async def test_fragments_out_of_order_fail_the_connection(client: Client, frames: bytes) -> None:
    client.write(frames)
    assert (await client.closed())[0] == 1002


async def test_a_request_in_fragments_is_put_together(client: Client) -> None:
    client.write(frame(TEXT, GOOD[:9], fin=0) + frame(PING, b"!") + frame(CONTINUATION, GOOD[9:]))
    assert await client.frame() == (PONG, b"!")
    assert (await client.hears("error"))["code"] == "NOT_FOUND"


def of_length(flag: int, length: bytes, payload: bytes = b"") -> bytes:
    """A text frame whose header says its length in this way."""
    return bytes([0x80 | TEXT, 0x80 | flag]) + length + bytes(4) + payload


BROKEN: dict[str, bytes] = {
    **{f"a reserved bit on {one}": frame(one, rsv=1) for one in (CONTINUATION, BINARY, CLOSE, PING, PONG)},
    **{f"{opcode} in fragments": frame(opcode, fin=0) for opcode in (CLOSE, PING, PONG)},
    **{f"{opcode} unmasked": frame(opcode, masked=False) for opcode in (TEXT, CLOSE, PING)},
    "a large ping": frame(PING, b"x" * 126),
    "a large close": frame(CLOSE, (1000).to_bytes(2, "big") + b"x" * 124),
    "a length in 16 bits that needs 7": of_length(126, (5).to_bytes(2, "big"), b"hello"),
    "a length in 64 bits that needs 16": of_length(127, (126).to_bytes(8, "big"), b"x" * 126),
    "a length below 0": of_length(127, (2**63).to_bytes(8, "big")),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_what_is_no_frame_fails_the_connection(client: Client, what: str) -> None:
    client.subscribe(markets=["m1"])
    await client.hears("image")
    client.write(BROKEN[what])
    assert (await client.closed())[0] == 1002


@pytest.mark.parametrize(
    "frames",
    [
        frame(TEXT, b"\xce", fin=0) + frame(PING) + frame(CONTINUATION, b"\x28"),
        frame(TEXT, b"\xce\xba", fin=0) + frame(CONTINUATION, b"\xed\xa0", fin=0) + frame(CONTINUATION, b"\x80"),
        frame(TEXT, b"\xf0\x90", fin=0) + frame(CONTINUATION),
    ],
    ids=["with a ping between", "a surrogate", "broken off"],
)
async def test_bad_utf8_across_fragments_fails_the_connection(client: Client, frames: bytes) -> None:
    client.write(frames)
    assert (await client.closed())[0] == 1007


@pytest.mark.parametrize(
    "frames",
    [
        frame(TEXT, b" " * (MESSAGE_BYTES_MAX + 9)) + frame(TEXT, GOOD) * 9,
        frame(PING, b"?") + frame(3) + frame(TEXT, GOOD),
        frame(TEXT, GOOD) + frame(TEXT, GOOD, masked=False),
        frame(CLOSE, (1000).to_bytes(2, "big")) + frame(TEXT, GOOD) + frame(PING),
    ],
    ids=["too large", "no opcode", "unmasked", "a close"],
)
async def test_nothing_is_said_after_a_close(running: Running, client: Client, frames: bytes) -> None:
    client.write(frames)
    assert (await client.frame())[0] == CLOSE
    assert await client.frame() == (-1, b"")
    async with asyncio.timeout(PATIENCE_S):
        while running.gateway.connections:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "frames",
    [
        frame(TEXT, b" " * (MESSAGE_BYTES_MAX + 1)),
        frame(TEXT, b" " * MESSAGE_BYTES_MAX, fin=0) + frame(CONTINUATION, b" "),
        frame(TEXT, fin=0)[:1] + bytes([0x80 | 127]) + (2**62).to_bytes(8, "big") + b"mask",
    ],
    ids=["one frame", "fragments", "as its header says"],
)
async def test_a_message_that_is_too_large_is_not_read(client: Client, frames: bytes) -> None:
    client.write(frames)
    assert (await client.closed())[0] == 1009


IMPOSSIBLE: dict[str, tuple[bytes, str | None]] = {
    "no JSON": (b"{", None),
    "nothing": (b"", None),
    "a number": (b"1e999", None),
    "a list": (b"[]", None),
    "nested": (b"[" * 60_000, None),
    "nested objects": (b'{"a":' * 12_000, None),
    "half a pair": (b'{"op": "subscribe", "id": "\\ud800", "markets": ["m1"]}', None),
    "a huge number": (b'{"op": "subscribe", "id": %s, "markets": ["m1"]}' % (b"9" * 60_000), "id"),
    "no op": (b'{"id": "1"}', None),
    "another op": (b'{"op": "image", "id": "1"}', "op"),
    "no id": (b'{"op": "subscribe", "markets": ["m1"]}', None),
    "an id that is none": (b'{"op": "subscribe", "id": null, "markets": ["m1"]}', "id"),
    "an id too long": (b'{"op": "subscribe", "id": "%s", "markets": ["m1"]}' % (b"x" * 65), "id"),
    "an id below 0": (b'{"op": "subscribe", "id": -1, "markets": ["m1"]}', "id"),
    "a field too many": (b'{"op": "subscribe", "id": "1", "markets": ["m1"], "odds": 1}', None),
    "nothing wanted": (b'{"op": "subscribe", "id": "1"}', "markets"),
    "no list": (b'{"op": "subscribe", "id": "1", "markets": "m1"}', "markets"),
    "a market that is none": (b'{"op": "subscribe", "id": "1", "markets": ["a b"]}', "markets"),
    "an event that is none": (b'{"op": "subscribe", "id": "1", "events": [""]}', "events"),
    "a market too long": (b'{"op": "subscribe", "id": "1", "markets": ["%s"]}' % (b"m" * 129), "markets"),
    "too many markets": (
        msgspec.json.encode(
            {"op": "subscribe", "id": "1", "markets": [f"m{number}" for number in range(MARKETS_MAX + 1)]}
        ),
        "markets",
    ),
    "the same market too often": (
        msgspec.json.encode({"op": "subscribe", "id": "1", "markets": ["m1"] * 10_000}),
        "markets",
    ),
    "too many events": (
        msgspec.json.encode(
            {"op": "subscribe", "id": "1", "events": [f"e{number}" for number in range(EVENTS_MAX + 1)]}
        ),
        "events",
    ),
    "too quick a pace": (b'{"op": "subscribe", "id": "1", "markets": ["m1"], "conflate_ms": 49}', "conflate_ms"),
    "a pace below 0": (b'{"op": "subscribe", "id": "1", "markets": ["m1"], "conflate_ms": -1}', "conflate_ms"),
    "too slow a pace": (
        b'{"op": "subscribe", "id": "1", "markets": ["m1"], "conflate_ms": 1e300}',
        "conflate_ms",
    ),
    "too many heartbeats": (
        b'{"op": "subscribe", "id": "1", "markets": ["m1"], "heartbeat_ms": 1}',
        "heartbeat_ms",
    ),
    "no heartbeats": (b'{"op": "subscribe", "id": "1", "markets": ["m1"], "heartbeat_ms": 60001}', "heartbeat_ms"),
    "no cursor": (b'{"op": "subscribe", "id": "1", "markets": ["m1"], "resume": "x"}', "resume"),
    "a cursor of words": (
        b'{"op": "subscribe", "id": "1", "markets": ["m1"], "resume": {"epoch": "a", "cursor": "one"}}',
        "resume",
    ),
    "a cursor below 0": (
        b'{"op": "subscribe", "id": "1", "markets": ["m1"], "resume": {"epoch": "a", "cursor": -1}}',
        "resume.cursor",
    ),
    "half a change": (
        b'{"op": "subscribe", "id": "1", "markets": ["m1"], "resume": {"epoch": "a", "cursor": 1.5}}',
        "resume.cursor",
    ),
    "half a cursor": (b'{"op": "subscribe", "id": "1", "markets": ["m1"], "resume": {"cursor": 1}}', "resume"),
    "a cursor beyond": (
        b'{"op": "subscribe", "id": "1", "markets": ["m1"], "resume": "a-9999999999999999999"}',
        "resume",
    ),
    "a token too long": (
        b'{"op": "subscribe", "id": "1", "bets": true, "token": "%s"}' % (b"t" * (TOKEN_LENGTH_MAX + 1)),
        "token",
    ),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
async def test_what_can_not_be_asked_is_refused_and_the_connection_goes_on(client: Client, what: str) -> None:
    message, field = IMPOSSIBLE[what]
    client.subscribe("before", markets=["m1"])
    await client.hears("image")
    client.write(frame(TEXT, message))
    error = await client.hears("error")
    assert error["code"] == "MALFORMED"
    assert error.get("field") == field
    if b'"id": "1"' in message and b'"op": "subscribe"' in message:
        assert error["id"] == "1"
    client.subscribe("after", markets=["m1"], resume=f"{EPOCH}-101")
    assert (await client.hears("change"))["id"] == "after"


async def test_a_connection_has_so_many_subscriptions_and_names_so_many_markets(running: Running) -> None:
    async with connected(running.port) as client:
        for number in range(SUBSCRIPTIONS_MAX):
            client.subscribe(number, markets=["m1"])
            await client.hears("image")
        client.subscribe("more", markets=["m1"])
        assert (await client.hears("error"))["id"] == "more"
        client.subscribe(0, markets=["m1"])  # in place of one that there is
        assert (await client.hears("image"))["id"] == 0
    async with connected(running.port) as client:
        for number in range(NAMED_MAX // MARKETS_MAX):
            client.subscribe(number, markets=[f"m{number}-{market}" for market in range(MARKETS_MAX)])
            assert len((await client.hears("image"))["unknown"]) == MARKETS_MAX
        client.subscribe("more", markets=["m1"])
        assert (await client.hears("error"))["code"] == "MALFORMED"
        running.change("m1")
        running.change("m0-0")
        assert (await client.hears("change"))["markets"][0]["market_id"] == "m0-0"


async def test_names_that_are_made_up_are_followed_to_a_bound_and_no_market_is_kept_out(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("touchline.edge.push.hub.FOLLOWED_MAX", 4)
    async with connected(running.port) as client, connected(running.port) as other:
        client.subscribe(1, markets=["u1", "u2", "u3"], events=["u4"])
        assert (await client.hears("image"))["unknown"] == ["u1", "u2", "u3"]
        other.subscribe(2, events=["u5"])
        error = await other.hears("error")
        assert (error["code"], error["id"], error["retry_after_s"]) == ("UNAVAILABLE", 2, 1)
        other.subscribe(2, markets=["m1"])
        assert (await other.hears("image"))["id"] == 2
        client.say(op="unsubscribe", id=1)
        await still_lives(client)
        other.subscribe(3, events=["u5"])
        assert (await other.hears("image"))["id"] == 3


FLOODS: dict[str, tuple[bytes, bytes]] = {
    "pings": (b"", frame(PING, b"?")),
    "pongs": (b"", frame(PONG)),
    "words": (b"", frame(TEXT, b"{")),
    "fragments": (frame(TEXT, fin=0), frame(CONTINUATION, fin=0)),
}


@pytest.mark.parametrize("what", FLOODS)
async def test_a_flood_ends_the_connection_and_no_other(running: Running, what: str) -> None:
    first, again = FLOODS[what]
    async with connected(running.port) as client, connected(running.port) as other:
        other.subscribe(markets=["m1"])
        await other.hears("image")
        client.write(first + again * (2 * FRAMES_AT_ONCE_MAX))
        assert await client.closed() == (1008, "too many frames")
        running.change("m1")
        await other.hears("change")


async def test_images_are_not_to_be_had_at_any_rate(client: Client) -> None:
    client.write(frame(TEXT, b'{"op":"subscribe","id":"1","markets":["m1"]}') * (FRAMES_AT_ONCE_MAX // 5))
    while (message := await client.message())["op"] == "image":
        pass
    assert (message["code"], message["id"], message["retry_after_s"]) == ("RATE_LIMITED", "1", 1)


async def test_who_is_silent_is_asked_and_then_let_go(running: Running, client: Client) -> None:
    client.subscribe(markets=["m1"])
    await client.hears("image")
    (connection,) = running.gateway._connections
    connection.sweep(connection.heard_at_s + PING_AFTER_S + 1)
    connection.sweep(connection.heard_at_s + PING_AFTER_S + 2)
    assert await client.frame() == (PING, b"")
    client.write(frame(PONG))
    await still_lives(client)
    connection.sweep(connection.heard_at_s + PING_AFTER_S + 1)
    assert await client.frame() == (PING, b"")  # once a silence
    connection.sweep(connection.heard_at_s + SILENT_S + 1)
    assert await client.closed() == (1001, "no answer to pings")


async def test_who_wants_nothing_is_let_go(running: Running, client: Client) -> None:
    await still_lives(client)
    (connection,) = running.gateway._connections
    connection.heard_at_s += UNSUBSCRIBED_S  # he answers pings
    connection.sweep(connection.heard_at_s + 1)
    assert await client.closed() == (1008, "no subscription")
