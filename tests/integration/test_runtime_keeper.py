"""What keeps one process running: growing pauses, logs that stay small, and no process left behind."""

import asyncio
import errno
import signal
from pathlib import Path

import asyncpg
import psutil
import pytest

from touchline.runtime import process as processes
from touchline.runtime.accounts import Account, can_reach
from touchline.runtime.addresses import FIRST_PORT, LAST_PORT, free_port, is_free
from touchline.runtime.keeper import Kept, Notice, State
from touchline.runtime.postgres import PostgresServer
from touchline.runtime.process import Child, PartFailed, Program, ready, same_process, start, to_its_end, trim

NOBODY = Account("nobody", 65_534, 65_534)


class Shell:
    """A part that runs a shell command."""

    name = "shell"
    port = 0

    def __init__(self, folder: Path, command: str) -> None:
        self.log = folder / "shell.log"
        self._program = Program(self.name, ("/bin/sh", "-c", command), self.log)

    async def start(self) -> Child:
        return await start(self._program)

    async def healthy(self) -> bool:
        return True


async def test_a_part_that_keeps_dying_is_started_after_growing_pauses(tmp_path: Path) -> None:
    told: asyncio.Queue[Notice] = asyncio.Queue()
    kept = Kept(Shell(tmp_path, "exit 3"), told.put_nowait)
    await kept.begin()
    pauses = []
    while len(pauses) < 4:
        notice = await told.get()
        if notice.state is State.DOWN:
            assert notice.detail.startswith("ended with status 3")
            pauses.append(notice.detail.rpartition(" in ")[2])
    await kept.stop()
    assert pauses == ["0.1 s", "0.2 s", "0.4 s", "0.8 s"]
    assert kept.restarts == 3
    assert kept.state is State.STOPPED


async def test_a_part_is_started_once_what_was_in_its_way_is_gone(tmp_path: Path) -> None:
    told: asyncio.Queue[Notice] = asyncio.Queue()
    folder = tmp_path / "logs"
    folder.mkdir()

    class Keeping(Shell):
        async def start(self) -> Child:
            (folder / "settings").write_text("kept")
            return await super().start()

    kept = Kept(Keeping(tmp_path, "sleep 600"), told.put_nowait)
    await kept.begin()
    assert kept.child is not None
    folder.joinpath("settings").unlink()
    folder.rmdir()
    kept.signal(signal.SIGKILL)
    async with asyncio.timeout(30):
        while "No such file" not in (await told.get()).detail:
            pass
        folder.mkdir()
        while (await told.get()).state is not State.READY:
            pass
    await kept.stop()


async def test_a_part_that_a_restart_could_not_start_is_started_after_growing_pauses(tmp_path: Path) -> None:
    told: asyncio.Queue[Notice] = asyncio.Queue()
    kept = Kept(Shell(tmp_path, "exec sleep 600"), told.put_nowait)
    await kept.begin()
    kept.part.log.unlink()
    kept.part.log.mkdir()  # so that it can't be opened
    with pytest.raises(PartFailed, match="Is a directory"):
        await kept.replace()
    pauses: list[str] = []
    async with asyncio.timeout(30):
        while len(pauses) < 3:
            notice = await told.get()
            if notice.state is State.DOWN:
                pauses.append(notice.detail.rpartition(" in ")[2])
        kept.part.log.rmdir()
        while (await told.get()).state is not State.READY:
            pass
    assert pauses == ["0.1 s", "0.2 s", "0.4 s"]
    assert kept.child is not None
    kept.signal(signal.SIGKILL)  # from now on it is kept as any other
    async with asyncio.timeout(30):
        while (await told.get()).state is not State.READY:
            pass
    await kept.stop()


async def test_what_is_in_the_way_of_a_part_at_first_is_told(tmp_path: Path) -> None:
    class Hindered(Shell):
        async def start(self) -> Child:
            raise OSError(errno.ENOSPC, "No space left on device", "valkey.conf")

    kept = Kept(Hindered(tmp_path, ""), lambda _: None)
    with pytest.raises(PartFailed, match=r"No space left on device: 'valkey\.conf'"):
        await kept.begin()
    assert kept.state is State.STOPPED


async def test_a_log_that_can_not_be_moved_aside_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_MAX_BYTES", 3)
    log = tmp_path / "shell.log"
    log.write_bytes(b"full")
    log.with_name("shell.log.1").mkdir()
    child = await start(Program("shell", ("/bin/sh", "-c", "exit 0"), log))
    assert await child.wait() == 0
    assert log.read_bytes() == b"full"


async def test_a_part_that_is_told_to_stop_stays_stopped(tmp_path: Path) -> None:
    told: list[Notice] = []
    kept = Kept(Shell(tmp_path, "sleep 600"), told.append)
    await kept.begin()
    child = kept.child
    assert child is not None
    await kept.stop()
    assert child.process.returncode == -signal.SIGTERM
    assert [notice.state for notice in told] == [State.STARTING, State.READY, State.STOPPED]


async def test_a_part_that_ends_before_it_answers_fails_with_the_end_of_its_log(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    child = await start(Program("shell", ("/bin/sh", "-c", "echo no room >&2; exit 7"), tmp_path / "shell.log"))
    with pytest.raises(PartFailed, match="ended with status 7") as failed:
        await ready(child, never, 30, "make room")
    assert (failed.value.tail, failed.value.remedy) == ("no room", "make room")


async def test_a_child_that_does_not_stop_when_asked_is_killed(tmp_path: Path) -> None:
    program = Program(
        "stubborn",
        ("/bin/sh", "-c", "trap '' TERM; echo armed; while :; do sleep 1; done"),
        tmp_path / "log",
        stop_timeout_s=0.2,
    )
    child = await start(program)
    async with asyncio.timeout(30):
        while b"armed" not in program.log.read_bytes():
            await asyncio.sleep(0.01)
    await child.stop()
    assert child.process.returncode == -signal.SIGKILL


async def test_a_program_that_is_not_waited_for_any_more_is_ended(tmp_path: Path) -> None:
    program = Program("sleep", ("/bin/sh", "-c", "echo $$; exec sleep 600"), tmp_path / "log")
    running = asyncio.create_task(to_its_end(program))
    async with asyncio.timeout(30):
        while not program.log.exists() or not program.log.read_bytes():
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not psutil.pid_exists(int(program.log.read_text("ascii")))


async def test_a_full_log_is_moved_aside_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_MAX_BYTES", 100)
    log = tmp_path / "part.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 101)
        trim(log)
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert log.with_name("part.log.1").read_bytes() == b"x" * 101


async def test_a_process_is_known_by_its_start_and_not_by_its_number_alone(tmp_path: Path) -> None:
    child = await start(Program("sleep", ("/bin/sleep", "600"), tmp_path / "log"))
    assert same_process(child.pid, child.started_at) is not None
    assert same_process(child.pid, child.started_at - 60) is None
    await child.stop()
    assert same_process(child.pid, child.started_at) is None


async def test_a_server_left_running_is_ended_before_another_begins_on_its_books(servers_dir: Path) -> None:
    first = PostgresServer(servers_dir / "left")
    left = await first.start()
    second = PostgresServer(servers_dir / "left")
    child = await second.start()
    try:
        assert same_process(left.pid, left.started_at) is None
        assert "was not properly shut down" not in second.log.read_text("utf-8")
        connection = await asyncpg.connect(second.dsn)
        await connection.close()
    finally:
        await child.stop()


def test_ports_lie_where_no_outgoing_connection_takes_them() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
    assert all(FIRST_PORT <= port <= LAST_PORT and is_free(port) for port in ports)


def test_an_account_reaches_what_lets_it_pass_and_nothing_behind_a_closed_door(servers_dir: Path) -> None:
    closed = servers_dir / "closed"
    inside = closed / "inside"
    inside.mkdir(parents=True)
    inside.chmod(0o755)
    closed.chmod(0o711)
    assert can_reach(NOBODY, inside)
    assert can_reach(NOBODY, closed / "to be made")
    closed.chmod(0o700)
    assert not can_reach(NOBODY, inside)
    assert not can_reach(NOBODY, closed / "to be made")
    assert can_reach(None, inside)
