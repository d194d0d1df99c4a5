"""The whole platform as its operator meets it: started, killed in parts, restarted under load, stopped."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.platforms import OwnPlatform, log_in
from touchline.runtime.control import Answer, Request, ask
from touchline.runtime.instance import is_running
from touchline.runtime.keeper import State
from touchline.runtime.process import same_process

HEAL_TIMEOUT_S = 60
CLIENTS = 6
MARKET = "rolling-winner"


@pytest.fixture(scope="module")
def own(servers_dir: Path) -> Iterator[OwnPlatform]:
    """A platform that tests may hurt."""
    platform = OwnPlatform(servers_dir / "hurt", settings={"bets_per_minute_max": "100000"})
    platform.up()
    yield platform
    platform.remove()


@asynccontextmanager
async def notices(platform: OwnPlatform) -> AsyncIterator[AsyncIterator[Answer]]:
    """What the supervisor tells from now on."""
    async with aclosing(ask(Path(platform.instance.control), Request("watch"))) as answers:
        assert (await anext(answers)).parts
        yield answers


async def until_ready(answers: AsyncIterator[Answer], part: str) -> None:
    async with asyncio.timeout(HEAL_TIMEOUT_S):
        async for answer in answers:
            if answer.notice and answer.notice.part == part and answer.notice.state is State.READY:
                return


async def kill_and_heal(platform: OwnPlatform, part: str) -> None:
    """Kill a part as the kernel would, and return once it serves again."""
    before = next(record for record in platform.instance.parts if record.name == part)
    async with notices(platform) as told:
        os.kill(before.pid, signal.SIGKILL)
        await until_ready(told, part)
    after = next(record for record in platform.instance.parts if record.name == part)
    assert (after.port, after.restarts) == (before.port, before.restarts + 1)
    assert after.pid != before.pid


@pytest.mark.parametrize("part", ["postgres", "valkey", "pod-1", "settlement", "balancer"])
async def test_a_killed_part_is_started_again_at_its_address(own: OwnPlatform, part: str) -> None:
    await kill_and_heal(own, part)
    async with httpx.AsyncClient(base_url=own.address) as http:
        alice = await log_in(http, "alice")
        balance = await http.get("/account/balance", headers=alice)
    assert balance.status_code == 200, balance.text


async def test_without_pods_the_answer_is_502_with_a_problem_document(own: OwnPlatform) -> None:
    pods = [record.pid for record in own.instance.parts if record.name.startswith("pod-")]
    for pod in pods:
        os.kill(pod, signal.SIGUSR1)  # not ready any more
    async with httpx.AsyncClient(base_url=own.address) as http, asyncio.timeout(HEAL_TIMEOUT_S):
        while (answer := await http.get("/health/live")).status_code == 200:
            pass
    assert answer.status_code == 502
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert (answer.json()["code"], answer.json()["status"]) == ("UNAVAILABLE", 502)
    restart = own.run("restart")
    assert restart.returncode == 0, restart.stderr
    assert not {record.pid for record in own.instance.parts} & set(pods)


async def test_a_part_that_can_not_be_restarted_keeps_no_other_from_it(own: OwnPlatform) -> None:
    before = {record.name: record.pid for record in own.instance.parts}
    log = own.data_dir / "logs" / "settlement.log"
    aside = log.rename(log.with_name("aside"))
    log.mkdir()  # so that it can't be opened
    failed = own.run("restart")
    assert failed.returncode == 1
    assert "settlement" in failed.stderr
    after = {record.name: record.pid for record in own.instance.parts}
    assert "settlement" not in after
    assert {name for name in after if before[name] != after[name]} == {"pod-1", "pod-2"}
    log.rmdir()
    aside.rename(log)
    again = own.run("restart")
    assert again.returncode == 0, again.stdout + again.stderr
    async with httpx.AsyncClient(base_url=own.address) as http:
        assert (await http.get("/account/balance", headers=await log_in(http, "alice"))).status_code == 200


async def test_a_rolling_restart_under_load_fails_no_request(own: OwnPlatform) -> None:
    before = {record.name: record.pid for record in own.instance.parts}
    async with httpx.AsyncClient(base_url=own.address, timeout=30) as http:
        await prepare_bets(http)
        done = asyncio.Event()
        load = asyncio.gather(
            *(bettor(http, done) for _ in range(CLIENTS)), *(poller(http, done) for _ in range(CLIENTS))
        )
        restart = await asyncio.to_thread(own.run, "restart", "--rolling")
        done.set()
        answers = [answer for answers in await load for answer in answers]
    assert restart.returncode == 0, restart.stdout + restart.stderr
    after = {record.name: record.pid for record in own.instance.parts}
    assert {name for name in before if before[name] != after[name]} == {"pod-1", "pod-2", "settlement"}
    assert len(answers) > 100
    assert [answer.text for answer in answers if answer.status_code not in (200, 201)] == []
    assert own.run("reconcile").returncode == 0


async def prepare_bets(http: httpx.AsyncClient) -> None:
    feed = await log_in(http, "feed")
    message = {
        "kind": "odds_change",
        "message_id": uuid.uuid4().hex,
        "event_id": "rolling",
        "market_id": MARKET,
        "occurred_at": "2026-01-01T00:00:00Z",
        "selections": [
            {"selection_id": name, "name": name, "odds": "2.00", "status": "active"} for name in ("home", "away")
        ],
    }
    answer = await http.post("/feed/messages", json=[message], headers=feed)
    assert answer.status_code == 200, answer.text
    deposit = {"amount": "9000.00", "idempotency_key": "for many bets"}
    answer = await http.post("/account/deposits", json=deposit, headers=await log_in(http, "alice"))
    assert answer.status_code in (200, 201), answer.text


async def bettor(http: httpx.AsyncClient, done: asyncio.Event) -> list[httpx.Response]:
    player = await log_in(http, "alice")
    odds = (await http.get(f"/odds/{MARKET}", headers=player)).json()
    answers = []
    while not done.is_set():
        bet = {
            "market_id": MARKET,
            "selection_id": "home",
            "odds": "2.00",
            "odds_version": odds["odds_version"],
            "stake": "0.10",
            "idempotency_key": uuid.uuid4().hex,
        }
        answers.append(await http.post("/bets", json=bet, headers=player))
    return answers


async def poller(http: httpx.AsyncClient, done: asyncio.Event) -> list[httpx.Response]:
    player = await log_in(http, "bob")
    answers = []
    while not done.is_set():
        answers.append(await http.get(f"/odds/{MARKET}", headers=player))
    return answers


def test_status_shows_every_part_and_its_restarts(own: OwnPlatform) -> None:
    shown = own.run("status")
    assert shown.returncode == 0, shown.stdout
    for record in own.instance.parts:
        assert str(record.pid) in shown.stdout
        assert record.name in shown.stdout


def test_a_second_start_in_one_directory_is_refused_and_hurts_nothing(own: OwnPlatform) -> None:
    before = own.instance
    refused = own.run("up", "--detach", "--port", "0")
    assert refused.returncode == 2
    assert f"running already at {own.address}" in refused.stderr
    assert own.instance == before


def test_secrets_are_their_owners_alone(own: OwnPlatform) -> None:
    for name in ("instance.json", "postgres.password", "signing.key", "valkey.conf", "balancer/Caddyfile"):
        assert own.data_dir.joinpath(name).stat().st_mode & 0o077 == 0, name


def test_a_killed_supervisor_takes_its_parts_along_and_the_next_start_begins_clean(own: OwnPlatform) -> None:
    left = own.instance
    control = Path(left.control)
    os.kill(left.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(left.pid)], timeout=HEAL_TIMEOUT_S)
    assert not is_running(left)
    assert own.run("status").returncode == 1
    own.up()
    assert [part.name for part in left.parts if same_process(part.pid, part.started_at)] == []
    assert not control.parent.exists()
    assert own.run("reconcile").returncode == 0


def test_two_platforms_run_side_by_side_and_stop_apart(own: OwnPlatform, servers_dir: Path) -> None:
    other = OwnPlatform(servers_dir / "other")
    other.up()
    try:
        ours, theirs = own.instance, other.instance
        assert {part.port for part in ours.parts}.isdisjoint(part.port for part in theirs.parts)
        assert httpx.get(f"{own.address}/health/ready").status_code == 200
        assert httpx.get(f"{other.address}/health/ready").status_code == 200
    finally:
        other.remove()
    assert [part.name for part in theirs.parts if same_process(part.pid, part.started_at)] == []
    assert not is_running(theirs)
    assert httpx.get(f"{own.address}/health/ready").status_code == 200


def test_ctrl_c_stops_everything_in_order(servers_dir: Path) -> None:
    own = OwnPlatform(servers_dir / "foreground")
    command = [sys.executable, "-m", "touchline.cli", "up", "--pods", "1", "--feed", "none"]
    command += ["--port", str(own.port), "--data-dir", str(own.data_dir)]
    with subprocess.Popen(command, env=own.environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line.strip())
            if line.startswith("Ctrl-C stops it"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert f"touchline is ready at {own.address}; trader's desk at {own.address}/desk" in shown
    assert "demo logins: alice, bob, trader, feed; password demo" in shown
    stopped = [line.split()[1] for line in shown if line.endswith(" stopped")]
    assert stopped == ["balancer", "pod-1", "settlement", "valkey", "postgres"]
    assert not own.data_dir.joinpath("instance.json").exists()


def test_a_taken_port_is_one_clear_line(servers_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = OwnPlatform(servers_dir / "refused", port=port).run("up", "--detach", "--port", str(port))
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [f"✗ port {port} is taken; free it, or choose another with --port"]


def test_wrong_settings_are_a_line_each(servers_dir: Path) -> None:
    wrong = OwnPlatform(servers_dir / "wrong", settings={"pods": "many", "colour": "red"})
    refused = wrong.run("up", "--port", "-1")
    assert refused.returncode == 2
    assert [line.split("=")[0].split()[:2] for line in refused.stderr.splitlines()] == [
        ["✗", "TOUCHLINE_COLOUR"],
        ["✗", "TOUCHLINE_PODS"],
        ["✗", "TOUCHLINE_PORT"],
    ]


def test_commands_without_a_platform_say_so(servers_dir: Path) -> None:
    nothing = OwnPlatform(servers_dir / "nothing")
    assert nothing.run("status").returncode == 1
    assert nothing.run("reconcile").returncode == 2
    assert nothing.run("restart").returncode == 2
    assert nothing.run("down").returncode == 0


def test_an_address_where_no_server_is_fails_with_the_reason_and_leaves_nothing(servers_dir: Path) -> None:
    away = OwnPlatform(servers_dir / "away", settings={"postgres": "postgresql://touchline@127.0.0.1:1/touchline"})
    failed = away.run("up", "--detach", "--port", str(away.port))
    assert failed.returncode == 1
    assert "PostgreSQL is away" in failed.stderr
    assert not away.data_dir.joinpath("instance.json").exists()
