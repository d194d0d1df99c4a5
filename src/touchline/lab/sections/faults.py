"""Faults: what users saw of each, second by second, and when all was well again.

Invariant: an answer that refuses for a reason counts as an answer; what failed is what had none, or one above 499.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

from touchline.lab.charts import Band, Bar, Series, bars, strips
from touchline.lab.evidence import KINDS, Evidence
from touchline.lab.fault_measures import answered, noted, out_s, share_answered, stretch, window
from touchline.lab.markup import Markup, count, exact, listed, milliseconds, number, percent, seconds, tag
from touchline.lab.records import Fault
from touchline.lab.scales import Axis
from touchline.lab.sections.parts import Section
from touchline.lab.sections.timeline import fault_label, kind_name, reason_name, reasons

BEFORE_S: Final = 8
AFTER_S: Final = 20
_FAILURES: Final = {"UNAVAILABLE", "INTERNAL", "TIMEOUT", "RESET", "REFUSED", "DROPPED", "no reason given"}
_PROPER: Final = {"valkey", "redis"}
AGAIN: Final = ("reoffer", "retry")
SLOW_MS: Final = 500.0  # an answer that a user notices waiting for
WELL: Final = 0.99  # of a second's requests are answered


def section(evidence: Evidence) -> Section:
    """Return what the run says of each fault."""
    faults = evidence.run.faults
    if not faults:
        return Section(f"Nothing was broken in this run of {evidence.platform}.")
    failed = {fault.what: found for fault in faults if (found := failed_s(evidence, fault)) is not None}
    worst = max(failed, key=lambda what: failed[what], default=None)
    if worst is None:
        told = "what users saw of it is not on record"
    elif failed[worst]:
        told = f"the worst, {_lower(worst)}, cost users {seconds(failed[worst])} of failed requests"
    else:
        told = "no request failed"
    money = _money(evidence)
    headline = f"{evidence.platform} was broken in {count(len(faults), 'way')}: {told}{money}."
    detail = "Each strip is one kind of request; a second is as red as the share of its requests that failed."
    figures = [
        ("faults", number(len(faults))),
        ("in which no request failed", number(sum(not value for value in failed.values()))),
        ("time with failed requests, in all", seconds(sum(failed.values()))),
    ]
    charts = [_costs(failed), *(_timeline(evidence, fault) for fault in faults)]
    return Section(headline, detail, figures, [chart for chart in charts if chart is not None])


def _costs(failed: Mapping[str, float]) -> Markup | None:
    """Return what each fault cost in which requests failed, the worst first; None where none did."""
    seen = sorted(((value, what) for what, value in failed.items() if value), key=lambda pair: -pair[0])
    if not seen:
        return None
    rows = [Bar(what[:1].upper() + what[1:], value, seconds(value), "", "c7") for value, what in seen]
    rest = len(failed) - len(seen)
    told = f" No request failed in the other {number(rest)}." if rest else ""
    return bars("What each fault cost", f"For how long requests failed. Shorter is better.{told}", rows)


def _money(evidence: Evidence) -> str:
    if evidence.checks is None:
        return "; whether money was lost was not checked"
    return "; no money was lost" if evidence.checks.ok else "; money was lost or wrongly moved"


def _lower(what: str) -> str:
    """Return the name of a fault within a sentence; one that begins with a proper name stays as it is."""
    first = what.split(" ", 1)[0]
    proper = first.lower() in _PROPER or any(letter.isupper() for letter in first[1:])
    return what if proper else what[:1].lower() + what[1:]


def span(evidence: Evidence, fault: Fault) -> tuple[int, int]:
    """Return the seconds that are drawn: some before it and after it, between its neighbours."""
    low, high = window(fault)
    earlier = [math.ceil(stretch(other)[1]) for other in evidence.run.faults if other.at_s < fault.at_s]
    later = [other.at_s for other in evidence.run.faults if other.at_s > fault.at_s]
    end = min([high + AFTER_S, evidence.end_s, *later])
    begin = min(int(low), max([0, int(low) - BEFORE_S, *earlier]))
    return begin, max(math.ceil(end), int(low) + 2)


def failed_s(evidence: Evidence, fault: Fault) -> float | None:
    """Return for how long requests of the kind that suffered most failed; None where nobody asked."""
    found = [out_s(evidence, fault, kind) for kind in KINDS]
    return max((value for value in found if value is not None), default=None)


def _timeline(evidence: Evidence, fault: Fault) -> Markup:
    low, high = span(evidence, fault)
    xs = [float(second) for second in range(low, high)]
    rows = [
        Series(kind_name(kind), _failed(evidence, kind, low, high), "c1", percent) for kind in _kinds(evidence)
    ]
    lasted = Band(*stretch(fault), "fault")
    x = Axis("seconds since the start", float(low), float(high), text=exact)
    if all(value is None for row in rows for value in row.values):
        rows = []
    title, told = fault_label(fault.what, fault.at_s), _told(evidence, fault)
    return strips(title, told, xs, rows, x, lasted, _noted(noted(evidence, fault)))


def _noted(found: Mapping[str, object]) -> Markup | None:
    """Return what the scenario noted of a fault, as a list; None where it noted nothing."""
    lines = []
    for name, value in found.items():
        if name == "fault" or value in (None, {}):
            continue
        if name in KINDS and isinstance(value, dict):
            what, text = kind_name(name), _looks(value)
        else:
            what, text = _measure(name, value)
        lines += [tag("dt", what), tag("dd", text)]
    return tag("dl", *lines, class_="noted") if lines else None


def _measure(name: str, value: object) -> tuple[str, str]:
    """Return a name in words and its value; a unit at the name's end goes with the value."""
    words, _, unit = name.rpartition("_")
    if unit in ("s", "ms") and isinstance(value, int | float):
        return words.replace("_", " "), seconds(value) if unit == "s" else milliseconds(value)
    return name.replace("_", " "), _plain(value)


def _looks(seen: Mapping[str, object]) -> str:
    failed, again, p99 = (_number(seen.get(name)) for name in ("unavailable_s", "whole_again_s", "p99_ms"))
    told = "never failed" if not failed else f"failed for {seconds(failed)}"
    if failed:
        told += ", and was not served again" if again is None else f", served again after {seconds(again)}"
    answers = seen.get("answers")
    if isinstance(answers, dict):
        told += f"; {', '.join(f'{name} × {_plain(amount)}' for name, amount in answers.items())}"
    return told if p99 is None else f"{told}; p99 {milliseconds(p99)}"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _plain(value: object) -> str:
    """Return a noted value as text."""
    if isinstance(value, dict):
        return ", ".join(f"{_plain(amount)} {name.replace('_', ' ')}" for name, amount in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value)
    return number(value) if isinstance(value, int | float) else str(value)


def _kinds(evidence: Evidence) -> list[str]:
    """Return the kinds that users ask of their own accord; what is sent again comes when it comes."""
    return [kind for kind in evidence.kinds if kind not in AGAIN]


def _failed(evidence: Evidence, kind: str, low: int, high: int) -> list[float | None]:
    seen = {second.t_s: second for second in evidence.seconds_by_kind[kind]}
    found: list[float | None] = []
    for at in range(low, high):
        second = seen.get(at)
        found.append(None if second is None or not second.offered else 1 - answered(second) / second.offered)
    return found


def _told(evidence: Evidence, fault: Fault) -> str:
    """Return what users saw, in sentences; briefly where the scenario noted more."""
    if noted(evidence, fault) and fault.until_s is not None:
        lasted = seconds(fault.until_s - fault.at_s)
        if failed_s(evidence, fault):
            return f"Users were served again after {lasted}."
        return f"No request failed{_slowest(noted(evidence, fault))}; it was over after {lasted}."
    _, high = span(evidence, fault)
    begin, end = window(fault)
    found = {kind: share_answered(evidence, kind, int(begin), end) for kind in _kinds(evidence)}
    shares = [f"{percent(share)} of {kind_name(kind)}" for kind, share in found.items() if share is not None]
    whole = all(share in (None, 1.0) for share in found.values())
    seen: Counter[str] = Counter()
    for second in evidence.seconds:
        if int(begin) <= second.t_s < high and answered(second) < second.offered:
            seen.update({code: amount for code, amount in reasons(second).items() if code in _FAILURES})
    told = ["It was an instant." if fault.until_s is None else f"It lasted {seconds(fault.until_s - fault.at_s)}."]
    if shares:
        told.append("All requests were answered." if whole else f"Answered meanwhile: {listed(shares)}.")
    if seen:
        most = [f"{reason_name(code)} × {number(amount)}" for code, amount in seen.most_common(3)]
        told.append(f"Failures said: {listed(most)}.")
    if not whole or seen:
        told.append(_recovery(evidence, int(begin), high, end))
    return " ".join(told)


def _slowest(found: Mapping[str, object]) -> str:
    """Return which kind of request had the slowest answer, and how slow; nothing where all were quick."""
    took = {kind: _number(seen.get("max_ms")) for kind, seen in found.items() if isinstance(seen, dict)}
    slow = {kind: value for kind, value in took.items() if kind in KINDS and value is not None and value > SLOW_MS}
    if not slow:
        return ""
    kind = max(slow, key=lambda kind: slow[kind])
    return f", but {kind_name(kind)} took up to {milliseconds(slow[kind])}"


def _recovery(evidence: Evidence, begin: int, high: int, end: float) -> str:
    bad = []
    for at in range(begin, high):
        offered = sum(second.offered for second in evidence.seconds if second.t_s == at)
        got = sum(answered(second) for second in evidence.seconds if second.t_s == at)
        if offered and got / offered < WELL:
            bad.append(at)
    if not bad:
        return "In no second did more than 1 % of the requests fail."
    last = bad[-1] + 1
    if last >= high:
        return "Users were not served again in what was watched."
    after = last - end
    when = "while it lasted" if after <= 0 else f"{seconds(after)} after its end"
    return f"Users were served again {when}, {seconds(last - begin)} after its beginning."
