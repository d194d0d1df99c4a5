"""What a run says of the seed's claims, its knee and what ran out."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.lab import synthetic_runs as runs
from touchline.lab.claims import CLAIMS, Claim, Judgement, Verdict, judge_claim, judge_claims
from touchline.lab.evidence import read_evidence
from touchline.lab.fault_measures import out_s
from touchline.lab.measured import Measured
from touchline.lab.measures import expected_share
from touchline.lab.records import Meter, append_lines
from touchline.lab.saturation import find_knee


def judged(run_dir: Path) -> dict[str, Judgement]:
    return {judgement.claim.about: judgement for judgement in judge_claims(read_evidence(run_dir))}


@pytest.mark.parametrize(
    ("write", "about", "text", "verdict"),
    [
        (runs.knee_run, "Each user polls every three seconds", "333/s", Verdict.AGREES),
        (runs.knee_run, "A fifth of the requests are bets", "95/s", Verdict.DIFFERS),
        (runs.knee_run, "What it serves for long", "476/s", Verdict.AGREES),
        (runs.knee_run, "Where polling becomes too much", "1,000 users", Verdict.AGREES),
        (runs.knee_run, "The ceiling, whatever the pods", "1,250 users", Verdict.DIFFERS),
        (runs.knee_run, "What runs out first", "the machine's CPU", Verdict.DIFFERS),
        (runs.knee_run, "The load balancer never runs out", "14 % of a core", Verdict.AGREES),
        (runs.knee_run, "A poll, 99 of 100", "90.9 ms", Verdict.AGREES),
        (runs.knee_run, "A bet, 99 of 100", "409 ms", Verdict.DIFFERS),
        (runs.knee_run, "A poll's read, without load", "5.08 ms", Verdict.DIFFERS),
        (runs.volatility_run, "That share at the peak", "76 %", Verdict.AGREES),
        (runs.settlement_run, "Settling 50,000 open bets one by one", "2 min 5 s", Verdict.DIFFERS),
        (runs.faults_run, "A pod dies while an event settles", "0 wrong of 41,207 bets", Verdict.DIFFERS),
        (
            runs.faults_run,
            "A bet sent again after a lost answer",
            "placed twice: 0 of 10 with a key, 4 of 10 without",
            Verdict.AGREES,
        ),
        (runs.faults_run, "Every pod is unhealthy", "0 % of the answers were 502", Verdict.DIFFERS),
        (runs.ladder_run, "Odds cached in Redis", "0 % fewer transactions", Verdict.DIFFERS),
        (runs.soak_run, "Availability", "100 %", Verdict.DIFFERS),
    ],
)
def test_a_claim_is_set_beside_what_was_measured(
    tmp_path: Path, write: Callable[[Path], Path], about: str, text: str, verdict: Verdict
) -> None:
    found = judged(write(tmp_path))[about]
    assert found.measured is not None
    assert (found.measured.text, found.verdict) == (text, verdict)
    assert found.measured.why.endswith(".")


def test_every_claim_is_measured_by_the_scenario_that_it_names(tmp_path: Path) -> None:
    writers = [
        runs.knee_run,
        runs.volatility_run,
        runs.settlement_run,
        runs.ladder_run,
        runs.faults_run,
        runs.soak_run,
    ]
    for write in writers:
        scenario = write.__name__.removesuffix("_run")
        found = judged(write(tmp_path / scenario))
        named = {claim.about for claim in CLAIMS if claim.measured_by == scenario}
        assert named <= {about for about, each in found.items() if each.verdict is not Verdict.NOT_MEASURED}


def test_what_a_run_does_not_measure_is_said_so_and_told_last(tmp_path: Path) -> None:
    runs.Recorder().write(tmp_path, "knee")
    judgements = judge_claims(read_evidence(tmp_path))
    assert {judgement.verdict for judgement in judgements} == {Verdict.NOT_MEASURED}
    verdicts = [judgement.verdict for judgement in judge_claims(read_evidence(runs.soak_run(tmp_path / "soak")))]
    assert verdicts == sorted(verdicts, key=lambda verdict: verdict is Verdict.NOT_MEASURED)


def _range(low: float, high: float) -> Claim:
    return Claim("users", "some", lambda evidence: None, "knee", low, high)


@pytest.mark.parametrize(
    ("measured", "ratio", "verdict"),
    [
        (Measured("", "", 1500), 1.0, Verdict.AGREES),
        (Measured("", "", 800), 0.8, Verdict.AGREES),
        (Measured("", "", 799), 0.799, Verdict.DIFFERS),
        (Measured("", "", 2400), 1.2, Verdict.AGREES),
        (Measured("", "", 2500), 1.25, Verdict.DIFFERS),
        (Measured("", "", 0), 0.0, Verdict.DIFFERS),
        (Measured("", "", 1500, at_least=True), 1.0, Verdict.AGREES),
        (Measured("", "", 2500, at_least=True), 1.25, Verdict.DIFFERS),
    ],
)
def test_a_ratio_is_to_the_nearer_end_of_what_is_claimed(
    measured: Measured, ratio: float, verdict: Verdict
) -> None:
    found = judge_claim(_range(1000, 2000), measured)
    assert found.ratio == pytest.approx(ratio)
    assert found.verdict is verdict


def test_what_was_served_below_the_claim_without_a_knee_says_nothing_of_it() -> None:
    assert judge_claim(_range(1000, 2000), Measured("", "", 500, at_least=True)).verdict is Verdict.NOT_MEASURED


@pytest.mark.parametrize(
    ("changes", "interval", "share"), [(0, 3, 0.0), (1, 3, 0.6833), (0.1, 3, 0.1361), (50, 3, 0.9933)]
)
def test_chance_refuses_as_many_bets_as_changes_fall_between_poll_and_bet(
    changes: float, interval: float, share: float
) -> None:
    assert expected_share(changes, interval) == pytest.approx(share, abs=1e-4)
    steps = 100_000
    by_hand = sum(1 - math.exp(-changes * interval * (step + 0.5) / steps) for step in range(steps)) / steps
    assert expected_share(changes, interval) == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(
    ("used", "extra", "clause"),
    [
        ({"pod-1": 97}, {}, "the pods' CPU runs out"),
        ({"generator-1": 99}, {}, "the load generator runs out of CPU, before the platform"),
        ({}, {"postgres": {"active": 28}}, "the pods' database connections run out"),
        ({}, {"pool-1": {"in_use": 9, "room": 10}}, "the pods' database connections run out"),
        ({}, {"pool-1": {"in_use": 8, "room": 10}, "postgres": {"active": 30}}, None),
        ({}, {"postgres": {"active": 9, "waiting_on_locks": 6}}, "bets wait for each other's row locks"),
        (
            {"postgres": 180, "host": 390, "pod-1": 150},
            {},
            "the machine's four cores run out, 46 % of them in PostgreSQL",
        ),
        ({"pod-1": 180, "pod-2": 90, "host": 390}, {}, "the machine's four cores run out, mostly in the pods"),
        ({"host": 390}, {}, "the machine's four cores run out, mostly in other processes"),
        ({}, {}, None),
    ],
)
def test_what_ran_out_is_told_by_the_meters(
    tmp_path: Path, used: dict[str, float], extra: dict[str, dict[str, float]], clause: str | None
) -> None:
    recorder = runs.Recorder(runs.Model(cores=4))
    recorder.step("100 users", 100)
    recorder.step("5000 users", 5000)
    parts = {
        "pod-1": 20.0,
        "pod-2": 20.0,
        "postgres": 60.0,
        "generator-1": 20.0,
        "host": 150.0,
        "pool-1": 0,
        **used,
    }
    recorder.meters = [
        Meter(t_s=at, part=name, cpu_percent=cpu, rss_mib=1, threads=1, extra=extra.get(name, {}))
        for at in range(20, 40)
        for name, cpu in parts.items()
    ]
    knee = find_knee(read_evidence(recorder.write(tmp_path, "knee")))
    assert knee.last is not None
    assert knee.last.step.users == 100
    assert (knee.ran_out and knee.ran_out.clause) == clause


def test_a_settlement_takes_as_long_as_its_scenario_noted(tmp_path: Path) -> None:
    noted = {"settlement": {"bets": 50_000, "settled": 50_000, "seconds": 100.0, "finished": True}}
    found = judged(runs.settlement_run(tmp_path, findings=noted))["Settling 50,000 open bets one by one"]
    assert found.measured is not None
    assert found.measured.text == "100 s"
    assert found.measured.why.startswith("50,000 bets in 100 s, 2 ms each")


def test_what_the_scenario_noted_of_a_fault_is_finer_than_seconds(tmp_path: Path) -> None:
    evidence = read_evidence(runs.faults_run(tmp_path))
    killed, cache = evidence.run.faults[:2]
    assert out_s(evidence, killed, "odds") == 5.2
    assert out_s(evidence, killed, "bet") == 6.0
    assert out_s(evidence, cache, "odds") == 0.0
    assert out_s(evidence, cache, "unheard of") is None


def test_a_late_generator_is_told_beside_the_knee(tmp_path: Path) -> None:
    recorder = runs.Recorder(runs.Model(late_ms=180))
    recorder.step("100 users", 100)
    recorder.step("5000 users", 5000)
    knee = find_knee(read_evidence(recorder.write(tmp_path, "knee")))
    assert knee.first_not is not None
    assert knee.first_not.late_ms == 180


def steadily(fails: float, _at: float, _kind: str) -> float:
    return fails


def test_a_step_that_is_served_again_is_no_knee(tmp_path: Path) -> None:
    recorder = runs.Recorder()
    for users, fails in ((100, 0.0), (200, 0.5), (300, 0.0)):
        recorder.step(f"{users} users", users, fails=partial(steadily, fails))
    knee = find_knee(read_evidence(recorder.write(tmp_path, "knee")))
    assert knee.last is not None
    assert knee.first_not is not None
    assert (knee.last.step.users, knee.first_not.step.users) == (100, 200)


def test_bets_under_a_key_are_one_bet_whatever_their_answers(tmp_path: Path) -> None:
    recorder = runs.Recorder()
    recorder.step("one", 100)
    run_dir = recorder.write(tmp_path, "faults")
    bets = runs.sent_again()
    append_lines(run_dir / "bets.jsonl", [bet for bet in bets if bet.key is not None])
    found = judged(run_dir)["A bet sent again after a lost answer"]
    assert found.measured is not None
    assert found.measured.text == "placed twice: 0 of 10 with a key, 0 of 0 without"
