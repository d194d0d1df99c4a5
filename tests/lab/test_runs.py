"""`touchline lab` as a person types it: short runs on a platform of its own, and what can be asked wrongly."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tests.platforms import OwnPlatform
from touchline.cli import app
from touchline.lab.histograms import Latencies
from touchline.lab.records import (
    BETS,
    CHECKS,
    METERS,
    REPORT,
    RUN,
    SECONDS,
    BetAttempt,
    Checks,
    Meter,
    Run,
    Second,
    read_lines,
    read_steps,
    read_whole,
)
from touchline.lab.runner import RUNS
from touchline.lab.scenarios import SCENARIOS
from touchline.runtime.instance import read_instance
from touchline.runtime.process import same_process

TIMEOUT_S = 200
PLATFORM = ".touchline-lab"
INTERRUPTED = "✗ interrupted: what is recorded is half a run"
NOBODYS_BET = "00000000-0000-4000-8000-000000000001"
# Runs the lab with a history that claims more than the books hold: a bet was acknowledged that is not on record.
PLANTING = f"""
import msgspec
from touchline.lab import judging
from touchline.lab.records import BetAttempt, append_lines, read_lines

honest = judging.check

async def check(dsn, history, tolerance):
    first = next(attempt for attempt in read_lines(history, BetAttempt) if attempt.status == 201)
    bet = first.bet | dict(bet_id="{NOBODYS_BET}")
    append_lines(history, [msgspec.structs.replace(first, key="planted", bet=bet)])
    return await honest(dsn, history, tolerance)

judging.check = check
from touchline.cli import main
main()
"""


def lab(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `touchline lab`, and return how it ended and what it printed."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environ(), capture_output=True, text=True, timeout=TIMEOUT_S
    )


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "touchline.cli", "lab", *map(str, arguments)]


def environ() -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
    return {**others, "COLUMNS": "160", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def place(servers_dir: Path) -> Path:
    """Where runs are made; the platform's directory in it is kept from one to the next."""
    place = servers_dir / "lab"
    place.mkdir()
    place.chmod(0o711)
    return place


def run_of(run_dir: Path) -> Run:
    """A run's record, after what every run must hold is seen to be there."""
    run = read_whole(run_dir / RUN, Run)
    assert run.complete
    assert run.ended_at is not None
    assert run.ended_at > run.started_at
    assert read_whole(run_dir / CHECKS, Checks).ok
    assert (run_dir / REPORT).read_text("utf-8").startswith("<!doctype html>")
    assert not {"postgres", "valkey", "token_secret"} & run.settings.keys()
    assert "postgresql://" not in (run_dir / RUN).read_text("utf-8")
    seconds = list(read_lines(run_dir / SECONDS, Second))
    results = read_steps(run_dir)
    for step in run.steps:
        for result in (result for result in results if result.step == step.name):
            own = [s for s in seconds if (s.step, s.kind) == (step.name, result.kind)]
            within = sum(s.answered for s in own if step.starts_s <= s.t_s < step.ends_s)
            assert within == sum(result.statuses.values()) == len(Latencies.decode(result.histogram))
    return run


def test_a_knee_is_run_from_nothing_to_its_report(place: Path) -> None:
    out = place / "knee"
    ended = lab("run", "knee", "--size", "smoke", "--users", "20,60", "--out", out, cwd=place)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the money is right" in ended.stdout
    run = run_of(out)
    assert [(step.name, step.users) for step in run.steps] == [("20 users", 20), ("60 users", 60)]
    assert (run.scenario, run.size, run.seed, run.architecture) == ("knee", "smoke", 1, "poll")
    assert run.settings["pods"] == "3"
    results = {(result.step, result.kind): result for result in read_steps(out)}
    assert results["60 users", "odds"].offered_per_s == pytest.approx(20, abs=0.5)  # users / 3
    parts = {meter.part for meter in read_lines(out / METERS, Meter)}
    assert parts >= {"host", "postgres", "valkey", "balancer", "pod-1", "settlement", "generator-1", "generator-2"}
    assert any(
        meter.extra.get("xact_per_s") for meter in read_lines(out / METERS, Meter) if meter.part == "postgres"
    )
    attempts = list(read_lines(out / BETS, BetAttempt))
    assert {attempt.status for attempt in attempts} >= {201}
    assert json.loads((out / RUN).read_text("utf-8"))["findings"]
    again = lab("report", out, cwd=place)
    assert (again.returncode, again.stdout.strip()) == (0, str(out / REPORT))


def test_prices_that_move_more_are_refused_more_on_a_platform_that_runs_already(place: Path) -> None:
    own = OwnPlatform(place / "own", settings={"bets_per_minute_max": "1000000"})
    own.up()
    try:
        ended = lab("run", "volatility", "--size", "smoke", "--running", "--data-dir", own.data_dir, cwd=place)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert own.run("status").returncode == 0  # it still runs: it was not the lab's to stop
    finally:
        own.remove()
    [run_dir] = (place / RUNS).glob("volatility-*")
    run = run_of(run_dir)
    calm, wild = run.findings["grid"]
    assert (calm["changes_per_s"], wild["changes_per_s"]) == (0.1, 2.0)
    assert calm["refused_share"] < wild["refused_share"]
    assert [step.settings["poll_interval_s"] for step in run.steps] == ["3", "3"]
    assert run.settings == {}  # nobody told the lab with which it was started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_is_half_a_run_and_says_so(place: Path, number: signal.Signals) -> None:
    out = place / f"half-{number.name}"
    asked = command("run", "knee", "--size", "smoke", "--users", "10,20,30,40", "--out", out)
    child = subprocess.Popen(
        asked, cwd=place, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("10 users:")  # the first step is over, the others are not
    child.send_signal(number)
    _, said = child.communicate(timeout=TIMEOUT_S)
    assert (child.returncode, said.strip()) == (2, INTERRUPTED)
    run = read_whole(out / RUN, Run)
    assert not run.complete
    assert [step.name for step in run.steps] == ["10 users"]
    assert (out / REPORT).exists()
    told = lab("report", out, cwd=place)
    assert told.returncode == 2
    assert "half a run" in told.stderr
    assert OwnPlatform(place / PLATFORM).run("status").stdout.strip() == "not running"


def test_who_is_interrupted_while_his_platform_starts_leaves_none_behind(place: Path) -> None:
    asked = command("run", "knee", "--size", "smoke", "--out", place / "early")
    child = subprocess.Popen(asked, cwd=place, env=environ(), stderr=subprocess.PIPE, text=True)
    own = OwnPlatform(place / PLATFORM)
    while (found := read_instance(own.data_dir)) is None or not found.parts:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)  # to it alone, not to what it started
    _, said = child.communicate(timeout=TIMEOUT_S)
    assert (child.returncode, said.strip()) == (2, INTERRUPTED)
    assert own.run("status").stdout.strip() == "not running"
    assert [part.name for part in found.parts if same_process(part.pid, part.started_at)] == []
    assert not (place / "early").exists()  # nothing had begun


def test_two_runs_do_not_share_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / f"{PLATFORM}.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        ended = CliRunner().invoke(app, ["lab", "run", "knee", "--db-latency-ms", "5"])
    assert ended.exit_code == 2
    assert f"another run is at work in {PLATFORM}; --data-dir names another place" in ended.stderr
    assert not list((tmp_path / RUNS).glob("*"))


def test_a_run_that_broke_a_rule_exits_1_and_names_the_bet(place: Path) -> None:
    out = place / "broken"
    asked = ["lab", "run", "knee", "--size", "smoke", "--users", "20,21", "--out", str(out)]
    ended = subprocess.run(
        [sys.executable, "-c", PLANTING, *asked],
        cwd=place,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert NOBODYS_BET in ended.stderr
    assert not read_whole(out / CHECKS, Checks).ok


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "everest"], "no scenario is called everest; there are knee"),
        (["run", "knee", "--size", "vast"], "--size vast: one of smoke, full"),
        (["run", "knee", "--users", "many"], "--users many: numbers with commas between them"),
        (["run", "knee", "--users", "0"], "--users: up to 50 numbers from 1 to 50,000"),
        (["run", "knee", "--users", "-5"], "--users: up to 50 numbers from 1 to 50,000"),
        (["run", "knee", "--users", "10,1000000000"], "--users: up to 50 numbers from 1 to 50,000"),
        (["run", "soak", "--users", "1,2"], "--users: soak takes one number"),
        (["run", "knee", "--generators", "0"], "--generators: from 1 to 32"),
        (["run", "knee", "--db-latency-ms", "-1"], "--db-latency-ms: from 0 to 1000"),
        (["run", "knee", "--db-latency-ms", "nan"], "--db-latency-ms: from 0 to 1000"),
        (["run", "knee", "--setting", "pods"], "--setting pods: NAME=VALUE"),
        (["run", "soak", "--parameter", "stretches"], "--parameter stretches: NAME=VALUE"),
        (["run", "soak", "--parameter", "users=5"], "--parameter users: soak has stretches, seconds, warm_s, ch"),
        (["run", "soak", "--parameter", "stretches=1.5"], "--parameter stretches=1.5: something like 12"),
        (["run", "soak", "--parameter", "seconds=-1"], "--parameter seconds=-1: something like 300"),
        (["run", "compare", "--parameter", "changes_per_s=1,nan"], "changes_per_s=1,nan: something like 0.1,0.5"),
        (["run", "ladder", "--parameter", "rungs=V0,misspelt"], "rungs=V0,misspelt: some of V0,B1 odds cache,B2"),
        (["run", "ladder", "--parameter", "rungs=V1,V0,V1"], "rungs=V1,V0,V1: some of V0,B1 odds cache,B2 ETag"),
        (["run", "ladder", "--parameter", "rungs="], "rungs=: some of V0,B1 odds cache,B2 ETag"),
        (["run", "ladder", "--parameter", "rungs=V0,,V1"], "rungs=V0,,V1: some of V0,B1 odds cache,B2 ETag"),
        (["run", "knee", "--running"], "no platform runs well in .touchline-lab; touchline up starts one"),
        (["run", "knee", "--running", "--fresh"], "--running: a platform that runs keeps its settings"),
        (["run", "faults", "--running"], "--running: a platform that runs keeps its settings"),
        (["run", "ladder", "--architecture", "stream"], "--architecture stream: ladder runs on poll"),
        (["run", "knee", "--setting", "odds=2"], "TOUCHLINE_ODDS is no setting"),
        (["run", "knee", "--architecture", "monolith"], "TOUCHLINE_ARCHITECTURE='monolith'"),
        (["run", "knee", "--out", "taken"], "taken is not empty; --out names another directory"),
        (["run", "knee", "--out", "/dev/null/runs"], "/dev/null/runs: Not a directory"),
        (["report", "nowhere"], "no run can be read in nowhere"),
        (["report", "[/nowhere] [red]"], "no run can be read in [/nowhere] [red]"),
    ],
)
def test_what_is_asked_wrongly_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("taken").mkdir()
    tmp_path.joinpath("taken", "something").touch()
    ended = CliRunner().invoke(app, ["lab", *arguments])
    assert ended.exit_code == 2, ended.stdout
    assert ended.stderr.startswith("✗ ")
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / RUNS).glob("*"))


def test_a_run_that_lists_says_what_there_is(tmp_path: Path) -> None:
    listed = lab("list", cwd=tmp_path)
    assert listed.returncode == 0
    assert all(
        scenario.name in listed.stdout and scenario.shows in listed.stdout for scenario in SCENARIOS.values()
    )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_ends_the_run_and_leaves_no_report_called_whole(place: Path) -> None:
    disk = place / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this root may not mount: {mounted.stderr.decode()}")
    try:
        ended = lab("run", "knee", "--size", "smoke", "--users", "40,41", "--out", disk / "run", cwd=place)
        assert ended.returncode == 2, ended.stdout
        assert "No space left on device" in ended.stderr
        assert not msgspec.json.decode((disk / "run" / RUN).read_bytes(), type=Run).complete
    finally:
        subprocess.run(["umount", disk], check=True)
