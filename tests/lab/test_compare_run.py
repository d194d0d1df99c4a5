"""V0 and V1 as a person compares them: one after the other, the same load, the books of both judged."""

from pathlib import Path

from tests.lab.test_runs import lab, run_of
from tests.platforms import OwnPlatform
from touchline.lab.evidence import read_evidence
from touchline.lab.measures import refused_share
from touchline.lab.records import BETS, CHECKS, BetAttempt, Checks, read_lines, read_whole


def test_v0_and_v1_are_run_one_after_the_other_under_the_same_load(servers_dir: Path) -> None:
    place = servers_dir / "compare"
    place.mkdir()
    place.chmod(0o711)
    out = place / "run"
    ended = lab("run", "compare", "--size", "smoke", "--out", out, cwd=place)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    run = run_of(out)
    assert run.architecture == "poll and stream"
    assert [step.settings["architecture"] for step in run.steps] == ["poll", "poll", "stream", "stream"]
    for name in ("V0", "V1"):
        settled = run.findings[f"settlement on {name}"]
        assert settled["finished"]
        assert settled["settled"] == settled["bets"] == run.parameters["open_bets"]
    evidence = read_evidence(out)
    v0, v1 = run.steps[0], run.steps[2]
    bets = [evidence.result(step, "bet") for step in (v0, v1)]
    prices = [evidence.price(step) for step in (v0, v1)]
    polls, pushes = (price.p50_ms for price in prices if price is not None)
    assert polls is not None
    assert pushes is not None
    assert pushes < polls / 10  # half an interval of 3 s against a way over three processes
    first, second = (refused_share([bet]) for bet in bets if bet is not None)
    assert first is not None
    assert second is not None
    assert second < first
    assert evidence.result(v1, "odds") is None  # nobody polls where prices are pushed
    assert {second.codes.get("VERSION_WENT_BACK", 0) for second in evidence.prices} == {0}
    checked = {rule.name: rule.checked for rule in read_whole(out / CHECKS, Checks).rules}
    assert {"history", "facts", "pushes", "rebuild"} <= checked.keys()
    attempts = [list(read_lines(out / name, BetAttempt)) for name in (BETS, f"stream-{BETS}")]
    players = [{attempt.player_id for attempt in kept} for kept in attempts]
    assert all(players)
    assert not players[0] & players[1]  # each platform has books and players of its own
    assert checked["acknowledged"] == sum(attempt.status == 201 for kept in attempts for attempt in kept)
    for data_dir in (".touchline-lab", ".touchline-lab-stream"):
        assert OwnPlatform(place / data_dir).run("status").stdout.strip() == "not running"
