"""The report of a run: whole, half, torn or hostile."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from tests.lab import synthetic_runs as runs
from touchline.lab.evidence import POINTS_MAX, WENT_BACK, read_evidence
from touchline.lab.records import (
    BETS,
    CHECKS,
    METERS,
    REPORT,
    RUN,
    SECONDS,
    STEPS,
    Fault,
    Hardware,
    Step,
    Unreadable,
)
from touchline.lab.report import write

VOID = {"meta", "link", "br", "path", "rect", "circle", "line"}
HOSTILE = "<script>alert(1)</script>\"'&amp;\u202e\x00<img src=x onerror=alert(2)>"
WRITERS: dict[str, Callable[..., Path]] = {
    "knee": runs.knee_run,
    "volatility": runs.volatility_run,
    "settlement": runs.settlement_run,
    "ladder": runs.ladder_run,
    "faults": runs.faults_run,
    "soak": runs.soak_run,
    "compare": runs.compare_run,
}


class Page(HTMLParser):
    """A report as a parser sees it: its elements and words; each element is closed where it should be."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, str] = {}  # of each kind of element, all together
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.words[tag] = self.words.get(tag, "") + data.replace("\u00a0", " ")

    @property
    def headline(self) -> str:
        return self.words["h1"]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(run_dir: Path) -> Page:
    return Page(write(run_dir))


@pytest.mark.parametrize(
    ("scenario", "headline"),
    [
        ("knee", "V0 on this machine serves 1,000 users (333 polls/s); then the machine's two cores run out, "),
        ("volatility", "V0 refuses 83 % of bets for a moved price at 2 changes a second when polled every 5 s, "),
        ("settlement", "V0 settles 50,000 bets in 2 min 5 s (400 a second); a poll takes "),
        ("ladder", "B1 odds cache takes a poll from 90.9 ms to 17.3 ms at p99; B3 tolerance takes refused bets "),
        ("faults", "V0 was broken in 4 ways: the worst, PostgreSQL killed, cost users "),
        ("soak", "V0 served 500 users for 30 min; polls take "),
        ("compare", "V1 refuses 0.26 % of bets for a moved price where V0 refuses 13 %, at 0.1 changes a second "),
    ],
)
def test_the_headline_is_one_sentence_of_what_was_measured(tmp_path: Path, scenario: str, headline: str) -> None:
    page = page_of(WRITERS[scenario](tmp_path))
    assert page.headline.startswith(headline)
    assert page.headline.endswith(".")
    assert "No money was lost: 41,207 bets checked." in page.source.replace("\u00a0", " ")
    assert "alert" not in {attributes.get("role") for _, attributes in page.elements}


def test_a_ladder_tells_of_v1_beside_the_mitigations_and_is_held_to_the_claims_of_v0(tmp_path: Path) -> None:
    page = page_of(runs.ladder_run(tmp_path))
    assert page.headline.endswith("V1 refuses 0 % and shows a new price within 28 ms instead of 3 s.")
    source = page.source.replace("\u00a0", " ")
    assert "Nobody polls V1: its prices are pushed." in source
    assert "claims of the naive architecture" in source


def test_the_cost_of_each_fault_stands_before_the_faults(tmp_path: Path) -> None:
    waited = {"unavailable_s": 0.0, "max_ms": 1_971.5}
    findings = {"observations": [{"fault": "Valkey killed", "odds": waited, "bet": {**waited, "max_ms": 20.0}}]}
    source = page_of(runs.faults_run(tmp_path, findings=findings)).source.replace("\u00a0", " ")
    assert "No request failed, but polls took up to 1.97 s; it was over after 2.1 s." in source
    cost = source.index("<h3>What each fault cost</h3>")
    assert cost < source.index("<h3>PostgreSQL killed")
    assert "No request failed in the other 2." in source[cost:]


@pytest.mark.parametrize("scenario", WRITERS)
def test_every_chart_has_a_title_a_sentence_and_its_numbers(tmp_path: Path, scenario: str) -> None:
    source = page_of(WRITERS[scenario](tmp_path)).source
    figures = re.findall(r'<figure class="chart">.*?</figure>', source, re.DOTALL)
    assert len(figures) >= 5
    for figure in figures:
        assert re.search(r"<h3>[^<]+</h3><p>[^<]+</p>", figure)
        assert "<details>" in figure or '<ul class="bars">' in figure
        assert "nan" not in figure.lower()
        assert "None" not in figure


@pytest.mark.parametrize("scenario", WRITERS)
def test_a_report_fetches_nothing_and_runs_its_own_script_alone(tmp_path: Path, scenario: str) -> None:
    page = page_of(WRITERS[scenario](tmp_path))
    addresses = [
        attributes[name] for _, attributes in page.elements for name in ("href", "src") if name in attributes
    ]
    files = {RUN, STEPS, SECONDS, BETS, METERS, CHECKS}
    assert set(addresses) == {"data:,", *files}
    assert "http://" not in page.source
    assert "https://" not in page.source
    assert "@import" not in page.source
    assert "url(" not in page.source
    [policy] = [
        meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    [script] = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_knee_is_the_last_step_before_the_first_that_was_not_served(tmp_path: Path) -> None:
    page = page_of(runs.knee_run(tmp_path))
    assert "knee: 1,000 users" in page.source
    assert "At 1,250 users 94 % of the requests were answered" in page.words["p"]


def test_a_machine_that_was_not_the_runs_own_is_told(tmp_path: Path) -> None:
    run_dir = runs.knee_run(tmp_path)
    meters = (run_dir / METERS).read_text("utf-8")
    (run_dir / METERS).write_text(
        re.sub(r'("part":"postgres","cpu_percent":)[0-9.]+', r"\g<1>1.0", meters), "utf-8"
    )
    page = page_of(run_dir)
    assert re.search(r"Processes that are not part of the run took (4|5)\d % of a core meanwhile", page.words["p"])
    assert re.search(r"other processes (4|5)\d %", page.words["figcaption"])


def test_a_run_in_which_all_was_served_says_so(tmp_path: Path) -> None:
    page = page_of(runs.knee_run(tmp_path, users=(250, 500)))
    assert page.headline == (
        "V0 on this machine serves all of the 500 users that were tried (167 polls/s); nothing ran out."
    )
    assert "at least 500 users" in page.words["td"]
    assert "knee:" not in page.source


def test_a_run_in_which_nothing_was_served_says_so(tmp_path: Path) -> None:
    page = page_of(runs.knee_run(tmp_path, users=(2000, 3000)))
    assert page.headline.startswith("V0 on this machine does not serve even 2,000 users: the machine's two cores")


def test_a_run_that_did_not_end_says_so_in_red_before_anything_else(tmp_path: Path) -> None:
    page = page_of(runs.knee_run(tmp_path, complete=False, checks=None))
    assert [attributes["class"] for _, attributes in page.elements if attributes.get("role") == "alert"] == [
        "banner"
    ]
    assert page.source.index('class="banner"') < page.source.index("<h1>")
    assert "This run did not come to its end" in page.words["div"]
    assert "The books were not checked" in page.words["p"]


def test_the_bet_that_breaks_a_rule_is_named_in_the_first_lines(tmp_path: Path) -> None:
    page = page_of(
        runs.knee_run(tmp_path, checks=runs.broken("bet b-17: paid 12.00, due 9.75", "bet b-18: unpaid"))
    )
    assert 'data-ok="no"' in page.source
    assert "The books are wrong, by the rule payouts. bet b-17: paid 12.00, due 9.75" in page.words["p"]
    assert "bet b-18: unpaid" in page.words["td"]


@pytest.mark.parametrize("missing", [STEPS, SECONDS, METERS, BETS, CHECKS])
@pytest.mark.parametrize("scenario", WRITERS)
def test_a_file_that_is_missing_leaves_a_report_that_says_so(tmp_path: Path, scenario: str, missing: str) -> None:
    (WRITERS[scenario](tmp_path) / missing).unlink()
    page = page_of(tmp_path)
    told = "The books were not checked" if missing == CHECKS else f"{missing} is missing"
    assert told in page.words["main"]
    assert page.headline


@pytest.mark.parametrize("torn", [STEPS, SECONDS, METERS, CHECKS])
@pytest.mark.parametrize("scenario", WRITERS)
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, scenario: str, torn: str) -> None:
    path = WRITERS[scenario](tmp_path) / torn
    contents = path.read_bytes()
    path.write_bytes(contents[: len(contents) * 2 // 3])
    evidence = read_evidence(tmp_path)
    assert evidence.seconds
    assert evidence.meters
    assert len(evidence.problems) == 1
    page = page_of(tmp_path)
    assert "Not all of its records can be read" in page.words["div"]
    assert torn in page.words["li"]


def test_a_step_without_a_result_is_summed_from_its_seconds(tmp_path: Path) -> None:
    (runs.knee_run(tmp_path) / STEPS).write_text("[]")
    evidence = read_evidence(tmp_path)
    offered = {result.step: result.offered_per_s for result in evidence.results if result.kind == "odds"}
    assert offered["750 users"] == pytest.approx(250, rel=0.01)
    assert "1,000 users" in page_of(tmp_path).headline


@pytest.mark.parametrize("scenario", [*WRITERS, "a scenario of tomorrow"])
def test_a_run_without_a_request_has_a_report(tmp_path: Path, scenario: str) -> None:
    runs.Recorder().write(tmp_path, scenario, checks=runs.clean(0))
    page = page_of(tmp_path)
    assert page.headline == "No request was made in this run: nothing was measured."
    assert "No money was lost: 0 bets checked." in page.words["p"]


def test_a_scenario_that_the_report_does_not_know_is_shown_by_its_charts(tmp_path: Path) -> None:
    recorder = runs.Recorder()
    recorder.step("one", 300)
    page = page_of(recorder.write(tmp_path, "tomorrow", architecture="tomorrow's"))
    assert page.headline.startswith("tomorrow's was asked 2,8")
    assert "Load over time" in page.words["h3"]


@pytest.mark.parametrize("scenario", WRITERS)
def test_text_that_would_be_html_stays_text(tmp_path: Path, scenario: str) -> None:
    clean = page_of(WRITERS[scenario](tmp_path / "clean"))
    run_dir = WRITERS[scenario](
        tmp_path / "hostile",
        checks=runs.broken(HOSTILE),
        commit=HOSTILE,
        settings={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        parameters={HOSTILE: HOSTILE, "poll_interval_s": HOSTILE},
        findings={HOSTILE: {"fault": HOSTILE, HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]}, "more": HOSTILE},
        faults=[Fault(at_s=1, until_s=2, what=HOSTILE)],
        hardware=Hardware(cpu=HOSTILE, cores=0, memory_mib=-1, os=HOSTILE),
        architecture=HOSTILE,
    )
    for name in (SECONDS, STEPS, METERS, RUN):  # the names of steps, of codes and of parts
        path, quoted = run_dir / name, HOSTILE.replace("\x00", "\\u0000").replace('"', '\\"')
        text = path.read_text("utf-8")
        for known in ("ODDS_CHANGED", "pod-1", "odds_cache", "750 users", "settling"):
            text = text.replace(f'"{known}"', f'"{quoted}"')
        path.write_text(text, "utf-8")
    page = page_of(run_dir)
    assert page.words["main"].count("<script>alert(1)</script>") > 8
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert {name for name, _ in page.elements} <= {name for name, _ in clean.elements} | {
        "ul",
        "ol",
        "li",
        "b",
        "dl",
    }
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_prices_that_went_back_are_told_in_red(tmp_path: Path) -> None:
    recorder = runs.Recorder()
    recorder.step("one", 100)
    recorder.seconds[3] = msgspec.structs.replace(recorder.seconds[3], codes={WENT_BACK: 2})
    page = page_of(recorder.write(tmp_path, "knee", checks=runs.clean()))
    assert "2 times a bettor was shown an older price than before." in page.words["p"]
    assert "older price" not in page_of(runs.soak_run(tmp_path / "other", length_s=60)).source


def test_a_long_run_is_drawn_in_columns(tmp_path: Path) -> None:
    recorder = runs.Recorder()
    recorder.step("long", 30, 3700)
    page = page_of(recorder.write(tmp_path, "soak"))
    figures = re.findall(r'<figure class="chart">.*?</figure>', page.source, re.DOTALL)
    assert max(figure.count("<tr data-at=") for figure in figures) <= POINTS_MAX
    assert len(page.source) < 500_000


def test_a_step_in_which_nothing_was_answered_is_no_knee(tmp_path: Path) -> None:
    recorder = runs.Recorder()
    recorder.step("250 users", 250)
    recorder.step("500 users", 500, fails=lambda at, kind: 1.0)
    page = page_of(recorder.write(tmp_path, "knee"))
    assert page.headline.startswith(
        "V0 on this machine serves 250 users (83 polls/s); at 500 users 0 % of the requests"
    )


def test_numbers_beyond_reason_are_drawn_somewhere(tmp_path: Path) -> None:
    run_dir = runs.knee_run(tmp_path)
    text = (run_dir / SECONDS).read_text("utf-8")
    (run_dir / SECONDS).write_text(re.sub(r'"p99_ms":[0-9.]+', '"p99_ms":1e300', text, count=9), "utf-8")
    steps = [Step(name="250 users", users=250, starts_s=5.0, ends_s=1.0)]
    (run_dir / RUN).write_text((run_dir / RUN).read_text("utf-8").replace('"cores": 2', '"cores": -7'), "utf-8")
    assert "Latency over time" in page_of(run_dir).source
    assert page_of(runs.knee_run(tmp_path / "backwards", steps=steps)).headline


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=RUN):
        write(tmp_path)
    (tmp_path / RUN).write_text("{")
    with pytest.raises(Unreadable, match=RUN):
        write(tmp_path)
    assert not (tmp_path / REPORT).exists()


def test_a_full_disk_leaves_the_report_that_was_there(tmp_path: Path) -> None:
    old = write(runs.knee_run(tmp_path)).read_text("utf-8")
    (tmp_path / f".{REPORT}.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path)
    assert (tmp_path / REPORT).read_text("utf-8") == old
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_the_same_records_make_the_same_report(tmp_path: Path) -> None:
    first = write(runs.ladder_run(tmp_path / "a")).read_bytes()
    assert write(runs.ladder_run(tmp_path / "b")).read_bytes() == first


def test_v0_and_v1_stand_side_by_side_beside_what_is_claimed_of_them(tmp_path: Path) -> None:
    page = page_of(runs.compare_run(tmp_path))
    source = page.source.replace("\u00a0", " ")
    assert "a new price takes 14 ms to a bettor, 1.5 s by polls" in page.headline
    assert "a tenth of V0's, and below 2 %: kept" in page.words["dt"].replace("&#x27;", "'")
    assert "25 s" in page.words["li"]
    assert "Of 9 claims of the streaming architecture, this run measures" in source
    claimed = next(part for part in source.split("<table") if "350,000 requests/s at the peak" in part)
    for said in ("50 to 200 ms", "a poll ", "under 100 ms", "a push 14 ms at p50, 28 ms at p99", "$730", "$3,500"):
        assert said in claimed


def test_v1_that_refuses_more_than_it_may_is_told(tmp_path: Path) -> None:
    recorder = runs.Recorder()
    for architecture, name, share in (("poll", "V0", 0.3), ("stream", "V1", 0.029)):
        recorder.model = runs.Model(odds_changed=share)
        recorder.step(name, 400, 30, {"architecture": architecture, "changes_per_s": "1"}, price_ms=20)
    page = page_of(recorder.write(tmp_path, "compare", checks=runs.clean(), architecture="poll and stream"))
    assert "below 2 %: not kept" in page.words["dt"].replace("&#x27;", "'")
