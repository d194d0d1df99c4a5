"""The shared connection to Valkey: answers to their askers, outages told in time, and back by itself."""

import asyncio
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from touchline.adapters.valkey import connection
from touchline.adapters.valkey.connection import Valkey
from touchline.adapters.valkey.sessions import ValkeySessions
from touchline.core.errors import Outage
from touchline.core.ids import PlayerId
from touchline.ports import Balance
from touchline.runtime.valkey import ValkeyServer

SOON_MS = 300


async def test_answers_go_to_those_who_asked_however_many_ask_at_once(valkey_url: str) -> None:
    valkey = Valkey(valkey_url, 5_000)
    await asyncio.gather(*(valkey.call("SET", f"key-{n}", n) for n in range(500)))
    answers = await asyncio.gather(*(valkey.call("GET", f"key-{n}") for n in range(500)))
    assert answers == [str(n).encode() for n in range(500)]
    await valkey.close()


async def test_one_who_stops_waiting_does_not_shift_the_answers(valkey_url: str) -> None:
    valkey = Valkey(valkey_url, 5_000)
    await valkey.call("SET", "key", "mine")
    gone = asyncio.create_task(valkey.call("ECHO", "another's"))
    await asyncio.sleep(0)
    gone.cancel()
    assert await valkey.call("GET", "key") == b"mine"
    await valkey.close()


async def test_a_script_the_server_has_lost_is_sent_again(valkey_url: str) -> None:
    valkey = Valkey(valkey_url, 5_000)
    keep = valkey.script("keep.lua")
    await keep(["session:a"], [60, 1, "EUR", 1])
    await valkey.call("SCRIPT", "FLUSH")
    await keep(["session:a"], [60, 2, "EUR", 2])
    assert await valkey.call("HGET", "session:a", "balance") == b"2"
    await valkey.close()


@pytest.mark.parametrize("command", [("GET",), ("LPUSH", "text", "x"), ("NOSUCH",)])
async def test_what_the_server_refuses_is_an_outage_and_the_next_is_answered(
    valkey_url: str, command: tuple[str, ...]
) -> None:
    valkey = Valkey(valkey_url, 5_000)
    await valkey.call("SET", "text", "x")
    with pytest.raises(Outage):
        await valkey.call(*command)
    assert await valkey.call("GET", "text") == b"x"
    await valkey.close()


async def test_a_wrong_password_and_an_address_with_nobody_are_outages(valkey_url: str) -> None:
    url = urlsplit(valkey_url)
    for wrong in (f"redis://:wrong@{url.hostname}:{url.port}/0", f"redis://{url.hostname}:1/0"):
        with pytest.raises(Outage):
            await Valkey(wrong, 5_000).call("PING")


async def test_a_server_that_is_silent_is_an_outage_in_time_and_comes_back(servers_dir: Path) -> None:
    server = ValkeyServer(servers_dir / "silent")
    child = await server.start()
    valkey = Valkey(server.url, SOON_MS)
    assert await valkey.call("PING") == b"PONG"
    os.kill(child.pid, signal.SIGSTOP)
    try:
        asked = [asyncio.create_task(valkey.call("PING")) for _ in range(20)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        os.kill(child.pid, signal.SIGCONT)
    assert all(isinstance(answer, Outage) for answer in answers)
    assert await valkey.call("PING") == b"PONG"
    await valkey.close()
    await child.stop()


async def test_a_session_that_missed_a_balance_is_forgotten_once_the_cache_is_back(servers_dir: Path) -> None:
    server = ValkeyServer(servers_dir / "behind")
    child = await server.start()
    rates = {"bets_per_minute_max": 10, "velocity_bets": 3, "velocity_window_ms": 2_000}
    sessions = ValkeySessions(server.url, timeout_ms=SOON_MS, ttl_s=60, **rates)
    names = [PlayerId(name) for name in ("ann", "bob", "cid", "dot")]
    await sessions.keep({name: Balance(1_000, "EUR", 1) for name in names[:3]})
    os.kill(child.pid, signal.SIGSTOP)
    try:
        for missed in ({names[0]: Balance(900, "EUR", 2)}, {name: Balance(800, "EUR", 3) for name in names[:2]}):
            with pytest.raises(Outage):
                await sessions.keep(missed)
    finally:
        os.kill(child.pid, signal.SIGCONT)
    await sessions.keep({names[3]: Balance(500, "EUR", 1)})
    kept = [await sessions.balance(name) for name in names]
    assert kept == [None, None, Balance(1_000, "EUR", 1), Balance(500, "EUR", 1)]
    await sessions.close()
    await child.stop()


async def test_who_waits_for_an_attempt_to_connect_that_fails_waits_for_no_other() -> None:
    attempts: list[asyncio.StreamWriter] = []

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(writer)

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        valkey = Valkey(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", SOON_MS)
        for _ in range(2):
            asked = [valkey.call("PING") for _ in range(20)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(answer, Outage) for answer in answers)
        assert len(attempts) == 2
        for writer in attempts:
            writer.close()


async def test_what_waits_is_bounded(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WAITING_MAX", 10)
    valkey = Valkey(valkey_url, 5_000)
    await valkey.call("PING")
    answers = await asyncio.gather(*(valkey.call("PING") for _ in range(15)), return_exceptions=True)
    assert answers[:10] == [b"PONG"] * 10
    assert all(isinstance(answer, Outage) for answer in answers[10:])
    await valkey.close()


async def test_an_answer_that_is_none_gives_the_connection_up() -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Outage):
            await Valkey(f"redis://127.0.0.1:{port}/0", SOON_MS).call("PING")
