"""The report of a run: one HTML file that needs nothing else, beside the records that it is made of.

Invariant: it fetches nothing and runs no script but its own, by a policy in its head; every run gets a report, and
one that did not end, or whose books are wrong, says so in red before anything else.
"""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from touchline.lab.charts import numbered
from touchline.lab.claims import Judgement, Verdict, claims_of, judge_claims
from touchline.lab.evidence import KINDS, Evidence, read_evidence
from touchline.lab.markup import Markup, count, join, listed, milliseconds, number, percent, seconds, table, tag
from touchline.lab.records import BETS, CHECKS, METERS, REPORT, RUN, SECONDS, STEPS
from touchline.lab.saturation import LATE_P99_MS_MAX, late_ms
from touchline.lab.sections import compare, faults, knee, ladder, settlement, soak, timeline, volatility
from touchline.lab.sections.parts import Section, Sections

SECTIONS: Final[Mapping[str, Sections]] = {
    "knee": knee.section,
    "volatility": volatility.section,
    "settlement": settlement.section,
    "ladder": ladder.section,
    "faults": faults.section,
    "soak": soak.section,
    "compare": compare.section,
}
VIOLATIONS_TOLD_MAX: Final = 20
PROBLEMS_TOLD_MAX: Final = 10
FILES: Final = (
    (RUN, "the run: settings, steps, faults"),
    (STEPS, "results of each step, with their histograms"),
    (SECONDS, "each second of each kind of request"),
    (BETS, "each bet as its client saw it"),
    (METERS, "each part's CPU, memory and connections, each second"),
    (CHECKS, "the checker's verdict"),
)
RULES: Final = {
    "prices": "each bet at a price that was current while it was placed",
    "wallets": "no wallet below zero",
    "keys": "one bet under one key",
    "payouts": "each bet of a settled market paid once, and rightly",
    "balances": "balances and transfers agree",
    "acknowledged": "each bet that was acknowledged is on record",
    "refused": "no bet that was refused is on record",
    "history": "each version of each market on record, in its order",
    "facts": "the log of facts has no gap, and agrees with the records",
    "pushes": "no bettor was shown an older price than before",
    "rebuild": "what is folded from the facts is what stands",
}


def write(run_dir: Path) -> Path:
    """Write `report.html` into `run_dir` from the records there, and return its path.

    Raises:
        Unreadable: `run_dir` holds no run.
        OSError: it can't be written; no half a report is left.
    """
    path = run_dir / REPORT
    beside = path.with_name(f".{REPORT}.new")
    page = render(read_evidence(run_dir))
    try:
        beside.write_bytes(page.encode("utf-8", "replace"))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def render(evidence: Evidence) -> str:
    """Return the report's HTML."""
    section = _section(evidence)
    body = (
        _top(evidence),
        tag("main", _banner(evidence), _headline(evidence, section), _charts(evidence, section), *_rest(evidence)),
        tag("script", Markup(_text("report.js"))),
    )
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("title", f"touchline lab: {evidence.run.scenario}, {_when(evidence)}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(_text("report.css"))),
    )
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', *body), lang='en')}\n"


@cache
def _text(name: str) -> str:
    return (files("touchline.lab") / name).read_text("utf-8")


def _policy() -> str:
    """Return a policy that allows this file's own style and script, and no request to anywhere."""
    digest = base64.b64encode(hashlib.sha256(_text("report.js").encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"


def _section(evidence: Evidence) -> Section:
    if not evidence.asked and not evidence.results:
        return Section("No request was made in this run: nothing was measured.")
    section = SECTIONS.get(evidence.run.scenario)
    if section is not None:
        return section(evidence)
    return Section(f"{evidence.platform} was asked {count(evidence.asked, 'time')} in {seconds(evidence.end_s)}.")


def _when(evidence: Evidence) -> str:
    return evidence.run.started_at.strftime("%Y-%m-%d %H:%M UTC")


def _top(evidence: Evidence) -> Markup:
    mark = Markup(
        '<svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="#12351f"/>'
        '<path d="M10 0v32M10 8.5a7.5 7.5 0 0 1 0 15" fill="none" stroke="#f3f7f1" stroke-width="2.2"/>'
        '<circle cx="23" cy="16" r="3.6" fill="#c3f53c"/></svg>'
    )
    run = evidence.run
    what = f"{run.scenario}, {run.size} size, architecture {run.architecture}"
    time = tag("time", _when(evidence), datetime=run.started_at.isoformat())
    return tag("header", mark, tag("b", "touchline"), tag("span", "lab", class_="tag"), what, time, class_="top")


def _banner(evidence: Evidence) -> Markup | None:
    """Return what must be known before any number is read; None for a whole run."""
    run, told = evidence.run, []
    if not run.complete:
        planned = run.parameters.get("length_s")
        of = f" of {seconds(float(planned))}" if isinstance(planned, int | float) else ""
        last = f", in the step {run.steps[-1].name}" if run.steps else ""
        told.append(
            f"This run did not come to its end: it has {seconds(evidence.end_s)}{of}{last}. Read it as a part."
        )
    if evidence.problems:
        told.append("Not all of its records can be read:")
    if not told:
        return None
    problems = list(evidence.problems[:PROBLEMS_TOLD_MAX])
    more = len(evidence.problems) - len(problems)
    listing = [tag("li", text) for text in problems + [f"and {more} more"] * (more > 0)]
    return tag("div", " ".join(told), tag("ul", *listing) if listing else None, class_="banner", role="alert")


def _headline(evidence: Evidence, section: Section) -> Markup:
    rough = "A smoke run: it is short, and its numbers are rough." if evidence.run.size == "smoke" else ""
    detail = f"{section.detail} {rough}".strip()
    figures = [tag("div", tag("dt", what), tag("dd", how_much)) for what, how_much in section.figures]
    return tag(
        "div",
        tag("h1", section.headline),
        tag("p", detail) if detail else None,
        _checked(evidence),
        _went_back(evidence),
        tag("dl", *figures, class_="figures") if figures else None,
        class_="headline",
    )


def _checked(evidence: Evidence) -> Markup:
    """Return the checker's result in one line."""
    checks = evidence.checks
    if checks is None:
        ok, text = "unknown", "The books were not checked: nothing is known of the money."
    elif checks.ok:
        bets = next((rule.checked for rule in checks.rules if rule.name == "acknowledged"), None)
        bets = max((rule.checked for rule in checks.rules), default=0) if bets is None else bets
        ok, text = "yes", f"No money was lost: {count(bets, 'bet')} checked."
    else:
        broken = [rule for rule in checks.rules if rule.violations]
        names = listed([rule.name for rule in broken])
        first = f" {broken[0].violations[0]}" if broken else ""
        ok, text = "no", f"The books are wrong, by the rule{'s' * (len(broken) != 1)} {names}.{first}"
    return tag("p", tag("span", text), class_="verdict", data_ok=ok)


def _went_back(evidence: Evidence) -> Markup | None:
    """Return that prices went back for somebody; None where they did for nobody."""
    if not evidence.went_back:
        return None
    text = f"{count(evidence.went_back, 'time')} a bettor was shown an older price than before."
    return tag("p", tag("span", text), class_="verdict", data_ok="no")


def _charts(evidence: Evidence, section: Section) -> Markup:
    shared = [
        timeline.load_chart(evidence),
        timeline.latency_chart(evidence),
        timeline.refusals_chart(evidence),
        timeline.cpu_chart(evidence),
        timeline.connections_chart(evidence),
    ]
    if not any(step.name == "settling" for step in evidence.run.steps) and evidence.run.scenario != "settlement":
        shared.append(settlement.progress_chart(evidence))
    drawn = [chart for chart in shared if chart is not None]
    numbers = numbered(timeline.time_notes(evidence).bands)
    own = tag("section", tag("h2", "What was found"), _paired(section.charts)) if section.charts else None
    rest = tag("section", tag("h2", "The whole run"), numbers, _paired(drawn)) if evidence.end_s else None
    return join([own, rest])


def _paired(charts: Sequence[Markup]) -> Markup:
    return tag("div", *charts, class_="pair")


def _rest(evidence: Evidence) -> list[Markup]:
    parts = [
        _claims(evidence),
        _steps(evidence),
        _faults(evidence),
        _rules(evidence),
        _run(evidence),
        _files(evidence),
    ]
    return [part for part in parts if part is not None]


def _claims(evidence: Evidence) -> Markup:
    (of_what, _), judgements = claims_of(evidence), judge_claims(evidence)
    known = [judged for judged in judgements if judged.verdict is not Verdict.NOT_MEASURED]
    heads = ("claim", "claimed", "measured", "ratio", "verdict", "why")
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    body = tag("table", head, tag("tbody", *(_claim(judged) for judged in known)), class_="claims")
    scroll = tag("div", body, class_="scroll", tabindex="0", role="region", aria_label="Claims")
    agreed = sum(judged.verdict is Verdict.AGREES for judged in known)
    told = (
        f"Of {count(len(judgements), 'claim')} of {of_what}, this run measures {number(len(known))}; "
        f"{number(agreed)} of them agree, within 20 % where they are numbers."
    )
    rest = [
        (judged.claim.about, judged.claim.claimed, _measured_by(judged))
        for judged in judgements
        if judged.verdict is Verdict.NOT_MEASURED
    ]
    others = tag(
        "details",
        tag("summary", f"{count(len(rest), 'claim')} not measured in this run, and what measures them"),
        table(["claim", "claimed", "measured by"], rest, caption="Claims that are not measured in this run"),
    )
    shown = tag("div", scroll if known else None, others if rest else None, class_="card")
    return tag("section", tag("h2", "The seed's claims"), tag("p", told), shown)


def _measured_by(judged: Judgement) -> str:
    if judged.measured is None:
        return judged.claim.measured_by
    return f"{judged.claim.measured_by}; this run's {judged.measured.text} can't tell"


def _claim(judged: Judgement) -> Markup:
    assert judged.measured is not None
    ratio = (
        "–" if judged.ratio is None else "within" if judged.ratio == 1 else f"× {number(round(judged.ratio, 2))}"
    )
    return tag(
        "tr",
        tag("th", judged.claim.about, scope="row"),
        tag("td", judged.claim.claimed, data_name="claimed"),
        tag("td", judged.measured.text, data_name="measured"),
        tag("td", ratio, class_="none" if judged.ratio is None else "num", data_name="ratio"),
        tag("td", tag("span", judged.verdict.value, class_="badge-text")),
        tag("td", judged.measured.why),
        data_verdict=judged.verdict.name.lower(),
    )


def _steps(evidence: Evidence) -> Markup | None:
    rows = []
    for index, step in enumerate(evidence.run.steps, start=1):
        for kind in evidence.kinds:
            result = evidence.result(step, kind)
            if result is None:
                continue
            took = (result.p50_ms, result.p90_ms, result.p95_ms, result.p99_ms, result.p999_ms, result.max_ms)
            rows.append(
                [
                    step.name,
                    index,
                    KINDS.get(kind, kind),
                    result.users,
                    round(result.offered_per_s, 1),
                    round(result.achieved_per_s, 1),
                    *(milliseconds(value) for value in took),
                    milliseconds(result.late_p99_ms),
                    percent(1 - result.achieved_per_s / result.offered_per_s) if result.offered_per_s else "–",
                ]
            )
    if not rows:
        return None
    percentiles = ("p50", "p90", "p95", "p99", "p99.9", "most")
    heads = ["step", "no.", "kind", "users", "offered/s", "answered/s", *percentiles, "late p99", "failed"]
    told = "Latency counts from the instant at which a request was due; late is the generator's own part of it."
    late = [step.name for step in evidence.run.steps if late_ms(evidence, step) > LATE_P99_MS_MAX]
    if late:
        told += f" The generator was late by more than {milliseconds(LATE_P99_MS_MAX)} at p99 in {listed(late)}."
    inner = table(heads, rows, caption="Steps")
    return tag("section", tag("h2", "Steps"), tag("p", told), tag("div", inner, class_="card"))


def _faults(evidence: Evidence) -> Markup | None:
    if not evidence.run.faults:
        return None
    rows = [
        [fault.what, seconds(fault.at_s), "–" if fault.until_s is None else seconds(fault.until_s)]
        for fault in evidence.run.faults
    ]
    inner = table(["what was broken", "at", "until"], rows, caption="Faults")
    return tag("section", tag("h2", "Faults"), tag("div", inner, class_="card"))


def _rules(evidence: Evidence) -> Markup | None:
    if evidence.checks is None:
        return None
    rows = []
    for rule in evidence.checks.rules:
        told = rule.violations[:VIOLATIONS_TOLD_MAX]
        more = len(rule.violations) - len(told)
        lines = [tag("div", text) for text in told + [f"and {number(more)} more, in {CHECKS}"] * (more > 0)]
        kept = "kept" if not rule.violations else join(lines)
        rows.append([rule.name, RULES.get(rule.name, "–"), rule.checked, kept])
    inner = table(["rule", "what must hold", "checked", "found"], rows, caption="Rules")
    told_of = "From what clients saw and, apart from it, from the books."
    return tag("section", tag("h2", "The money"), tag("p", told_of), tag("div", inner, class_="card"))


def _run(evidence: Evidence) -> Markup:
    run, machine = evidence.run, evidence.run.hardware
    lasted = None if run.ended_at is None else (run.ended_at - run.started_at).total_seconds()
    cards: list[tuple[str, Mapping[str, object]]] = [
        (
            "Run",
            {
                "scenario": f"{run.scenario}, {run.size}",
                "architecture": f"{run.architecture} ({evidence.platform})",
                "started": run.started_at.isoformat(timespec="seconds"),
                "lasted": "it did not end" if lasted is None else seconds(lasted),
                "commit": run.commit,
                "seed": run.seed,
            },
        ),
        (
            "Machine",
            {
                "CPU": machine.cpu,
                "cores": f"{machine.cores}, shared by platform and load",
                "memory": f"{machine.memory_mib:,} MiB",
                "system": machine.os,
                **run.versions,
            },
        ),
        ("Parameters", run.parameters),
        ("Settings", run.settings),
        ("What the scenario noted", _of_no_fault(run.findings)),
    ]
    drawn = [tag("div", tag("h3", name), _facts(values), class_="card") for name, values in cards if values]
    return tag("section", tag("h2", "Where and how"), tag("div", *drawn, class_="facts"))


def _of_no_fault(findings: Mapping[str, object]) -> Mapping[str, object]:
    """Return what is not shown with its fault."""
    lists = {key: value if isinstance(value, list) else [value] for key, value in findings.items()}
    faults = {key for key, ones in lists.items() if any(isinstance(one, dict) and "fault" in one for one in ones)}
    return {key: value for key, value in findings.items() if key not in faults}


def _facts(values: Mapping[str, object]) -> Markup:
    return tag(
        "dl", *(tag(name, text) for key, value in values.items() for name, text in (("dt", key), ("dd", value)))
    )


def _files(evidence: Evidence) -> Markup:
    rows = [
        tag("li", tag("a", name, href=name), f": {what}")
        for name, what in FILES
        if (evidence.path / name).exists()
    ]
    told = tag("p", "The records that this page is made of, beside it.")
    return tag("section", tag("h2", "Files"), tag("div", told, tag("ul", *rows), class_="card"))
