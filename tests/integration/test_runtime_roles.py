"""A role in a process of its own: what it is refused for, and that nobody else is taken for it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from touchline.architectures.parts import Process
from touchline.architectures.settings import Settings
from touchline.runtime.addresses import LOCALHOST
from touchline.runtime.process import CannotStart, PartFailed
from touchline.runtime.roles import RolePart, prepare


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data directory is there."""
    tmp_path.joinpath("logs").mkdir()
    return msgspec.structs.replace(Settings(), data_dir=tmp_path)


async def test_a_refusal_without_a_word_is_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program(settings, "exit 2"))
    with pytest.raises(CannotStart) as refused:
        await prepare(settings)
    assert str(refused.value) == f"prepare refused and did not say why; see {settings.data_dir}/logs/prepare.log"


async def test_a_port_that_another_program_has_is_one_line(settings: Settings) -> None:
    part = RolePart(Process("pod-1", "pod"), settings)
    async with stranger(part.port):
        with pytest.raises(PartFailed) as refused:
            await part.start()
    assert (refused.value.why, refused.value.tail) == (f"port {part.port} is taken by another program", "")


async def test_a_stranger_who_was_quicker_to_listen_is_not_taken_for_the_role(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = settings.data_dir / "begun"
    os.mkfifo(begun)
    monkeypatch.setattr(sys, "executable", program(settings, f"echo $$ > {begun}; exec sleep 600"))
    part = RolePart(Process("pod-1", "pod"), settings)
    starting = asyncio.create_task(part.start())
    pid = int(await asyncio.to_thread(begun.read_text, "ascii"))
    async with stranger(part.port) as asked, asyncio.timeout(30):
        await asked.get()
        await asked.get()  # so the first answer did not do
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(PartFailed, match="ended with signal SIGKILL before it answered"):
            await starting


@asynccontextmanager
async def stranger(port: int) -> AsyncIterator[asyncio.Queue[bytes]]:
    """Have another program answer 200 at `port`; yields what it is asked."""
    asked: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, LOCALHOST, port):
        yield asked


def program(settings: Settings, script: str) -> str:
    """Return a program to be run in Python's place."""
    file = settings.data_dir / "program"
    file.write_text(f"#!/bin/sh\n{script}\n", "ascii")
    file.chmod(0o755)
    return str(file)
