"""What generators tell, made into seconds and results."""

from pathlib import Path

from touchline.lab.histograms import Latencies
from touchline.lab.recorder import RIPE_AFTER_S, Recorder
from touchline.lab.records import SECONDS, Second, Step, read_lines, read_steps
from touchline.lab.samples import Sample

STEP = Step(name="10 users", users=10, starts_s=2, ends_s=4)


def sample(t_s: int, kind: str = "odds", offered: int = 2, took_us: tuple[int, ...] = (1000, 3000)) -> Sample:
    return Sample(
        t_s=t_s,
        kind=kind,
        offered=offered,
        errors=offered - len(took_us),
        statuses={"200": len(took_us)},
        codes={"TIMEOUT": offered - len(took_us)} if offered > len(took_us) else {},
        latencies_us=list(took_us),
        late_us=[10] * offered,
    )


def seconds(run_dir: Path) -> list[Second]:
    return list(read_lines(run_dir / SECONDS, Second))


def test_two_generators_make_one_line_of_a_second(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.begin(STEP)
    recorder.add([sample(2), sample(2, "bet")])
    recorder.add([sample(2, took_us=(9000,))])
    recorder.end(STEP)
    odds, bet = sorted(seconds(tmp_path), key=lambda second: second.kind, reverse=True)
    assert (odds.offered, odds.answered, odds.errors, odds.codes) == (4, 3, 1, {"TIMEOUT": 1})
    assert (odds.p50_ms, odds.max_ms, odds.late_p99_ms) == (3.0, 9.0, 0.01)
    assert (bet.offered, bet.step, bet.t_s) == (2, "10 users", 2)


def test_a_result_leaves_out_the_warming_up_and_what_came_after(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.begin(STEP)
    recorder.add([sample(t_s) for t_s in range(6)])
    [result] = recorder.end(STEP)
    assert [second.t_s for second in seconds(tmp_path)] == list(range(6))
    assert (result.offered_per_s, result.achieved_per_s, result.statuses) == (2.0, 2.0, {"200": 4})
    assert len(Latencies.decode(result.histogram)) == 4
    assert read_steps(tmp_path) == [result]


def test_only_answers_are_achieved(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.begin(STEP)
    mixed = sample(2, "bet", 6, ())
    mixed.statuses = {"201": 1, "409": 2, "503": 3}
    recorder.add([mixed])
    [result] = recorder.end(STEP)
    assert result.achieved_per_s == 1.5
    assert (result.p50_ms, result.max_ms) == (None, None)


def test_a_second_is_written_when_it_is_ripe_and_not_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.begin(STEP)
    recorder.add([sample(2), sample(3)])
    recorder.ripen(2 + RIPE_AFTER_S)
    assert seconds(tmp_path) == []
    recorder.ripen(3 + RIPE_AFTER_S)
    assert [second.t_s for second in seconds(tmp_path)] == [2]
    recorder.end(STEP)
    assert [second.t_s for second in seconds(tmp_path)] == [2, 3]


def test_a_step_that_was_cut_off_leaves_its_seconds_and_no_result(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.begin(STEP)
    recorder.add([sample(2)])
    recorder.close()
    assert [second.t_s for second in seconds(tmp_path)] == [2]
    assert read_steps(tmp_path) == []


def test_what_is_shown_live_is_of_the_last_whole_seconds(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.begin(STEP)
    recorder.add([sample(t_s) for t_s in range(10)])
    live = recorder.live(8.5)
    assert (live.offered_per_s, live.achieved_per_s, live.p99_ms) == (2.0, 2.0, 3.0)
