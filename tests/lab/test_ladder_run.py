"""The ladder as a person runs it: every rung under one load, what each gains, and what can not be run here."""

import subprocess
from pathlib import Path

import pytest

from tests.lab.synthetic_runs import ladder_run
from tests.lab.test_runs import command, environ, run_of
from touchline.architectures.settings import SettingsWrong, read_settings
from touchline.lab.records import REPORT, Run, read_steps
from touchline.lab.report import write
from touchline.lab.scenarios.ladder import ABSENT, ALL, LADDER, RUNGS, V1
from touchline.runtime.ladder import NO_POOLER
from touchline.runtime.pgbouncer import program

PGBOUNCER = "B7 PgBouncer"
TIMEOUT_S = 900  # eleven platforms, one after another
pytestmark = pytest.mark.timeout(TIMEOUT_S)
EVERY_RUNG = ",".join(LADDER.sizes["full"]["rungs"])


@pytest.fixture(scope="module")
def climbed(servers_dir: Path) -> tuple[Run, Path]:
    """A run of all of the ladder's rungs, each as short as in a smoke run."""
    place = servers_dir / "ladder-run"
    place.mkdir(mode=0o711)
    every = ("--size", "smoke", "--users", "30", "--parameter", f"rungs={EVERY_RUNG}")
    ended = subprocess.run(
        command("run", "ladder", *every, "--out", place / "out"),
        cwd=place,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the money is right" in ended.stdout
    return run_of(place / "out"), place / "out"


def test_every_rung_is_run_under_the_same_load_with_its_own_settings_alone(climbed: tuple[Run, Path]) -> None:
    run, out = climbed
    can_be_run = [rung for rung in RUNGS if rung.name != PGBOUNCER or program() is not None]
    assert [step.name for step in run.steps] == [*(rung.name for rung in can_be_run), ALL, V1]
    for rung, step in zip(can_be_run, run.steps, strict=False):
        assert step.settings == rung.settings
    assert run.steps[-1].settings == {"architecture": "stream"}
    assert run.steps[-2].settings == {name: value for rung in can_be_run for name, value in rung.settings.items()}
    assert {step.users for step in run.steps} == {30}
    offered = {result.offered_per_s for result in read_steps(out) if result.kind == "odds"}
    assert offered == {10.0}  # a poll every 3 s


def test_each_trial_shows_what_its_rung_is_for(climbed: tuple[Run, Path]) -> None:
    run, out = climbed
    lost, settled, away = (run.findings["trials"][name] for name in ("lost_answers", "settlement", "outage"))
    assert set(lost) == {"V0", "B4 keys required", ALL, V1}
    assert all(found["with_key"]["placed_twice"] == 0 for found in lost.values())
    assert lost["V0"]["without_key"]["placed_twice"] > 0
    for refusing in ("B4 keys required", V1):
        assert lost[refusing]["without_key"] == {"meant": 12, "placed": 0, "placed_twice": 0}
    assert set(settled) == {"V0", "B5 settlement in sets", ALL, V1}
    assert all(found["settled"] == found["bets"] == 150 for found in settled.values())
    assert set(away) == {"V0", "B6 breaker", ALL, V1}
    assert away["V0"]["polls"]["failed"] > 0
    assert away["V0"]["polls"]["stale"] == 0
    assert away["B6 breaker"]["polls"]["failed"] == 0
    assert away["B6 breaker"]["polls"]["stale"] > 0
    assert away["B6 breaker"]["bets"]["failed"] > 0
    assert away[V1]["polls"]["done"] > away[V1]["polls"]["failed"] == 0
    assert [fault.what for fault in run.faults] == [f"PostgreSQL kept down, {rung}" for rung in away]
    statuses = {(result.step, result.kind): result.statuses for result in read_steps(out)}
    assert statuses["B2 ETag", "odds"]["304"] > 0
    assert "304" not in statuses["V0", "odds"]
    assert {kind for step, kind in statuses if step == V1} >= {"bet", "balance", "price"}
    assert (V1, "odds") not in statuses
    page = (out / REPORT).read_text("utf-8")
    assert all(told in page for told in ("Bets placed twice", "Settling 150 bets", "Polls answered 304"))


def test_a_rung_that_can_not_be_run_here_is_named_with_the_reason(tmp_path: Path) -> None:
    page = write(ladder_run(tmp_path, findings={"skipped": {PGBOUNCER: NO_POOLER}})).read_text("utf-8")
    assert f"{PGBOUNCER} was skipped: {NO_POOLER}." in page


def test_what_the_platform_says_of_a_part_that_can_not_be_had_is_what_the_lab_listens_for() -> None:
    asked = {"TOUCHLINE_READ_REPLICA": "own", "TOUCHLINE_POSTGRES": "postgresql://somebody/else"}
    with pytest.raises(SettingsWrong) as wrong:
        read_settings(asked)
    assert all(any(why in said for why in ABSENT) for said in (NO_POOLER, *wrong.value.problems))
