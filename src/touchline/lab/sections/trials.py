"""The trials of a ladder: what lost answers, a settlement and an outage come to on the rungs that are about them.

Invariant: a rung that was not tried has no bar.
"""

from collections.abc import Mapping
from typing import Any

from touchline.lab.charts import Bar, bars
from touchline.lab.evidence import Evidence
from touchline.lab.markup import Markup, milliseconds, number, percent, seconds, table, tag

Tried = Mapping[str, Mapping[str, Any]]  # by the rung's name


def skipped(evidence: Evidence) -> str:
    """Return which rungs could not be run and why, as sentences behind another; empty where all were."""
    found: Mapping[str, str] = evidence.run.findings.get("skipped", {})
    return "".join(f" {rung} was skipped: {why}." for rung, why in found.items())


def trial_charts(evidence: Evidence) -> list[Markup]:
    """Return what is to be shown of each trial that was made."""
    tried = evidence.run.findings.get("trials", {})
    made = (("lost_answers", _lost_answers), ("settlement", _settlement), ("outage", _outage))
    return [shown for name, show in made if tried.get(name) for shown in show(tried[name])]


def _lost_answers(tried: Tried) -> list[Markup]:
    rows = []
    for rung, found in tried.items():
        for how, one in found.items():
            note = "" if one["placed"] else "refused"
            name = f"{rung}, {how.replace('_', ' ')}"
            twice = one["placed_twice"]
            rows.append(Bar(name, float(twice), f"{number(twice)} of {number(one['meant'])}", note, _look(rung)))
    told = "Clients that were cut off before the answer and asked again. Shorter is better."
    return [bars("Bets placed twice", told, rows)]


def _settlement(tried: Tried) -> list[Markup]:
    took = {rung: found["seconds"] for rung, found in tried.items()}
    rows = [Bar(rung, took_s, seconds(took_s), "", _look(rung)) for rung, took_s in took.items()]
    bets = number(next(iter(tried.values()))["bets"])
    return [bars(f"Settling {bets} bets", "From the request to the last bet paid. Shorter is better.", rows)]


def _outage(tried: Tried) -> list[Markup]:
    rows, cells = [], []
    for rung, found in tried.items():
        polls, bets = found["polls"], found["bets"]
        share = polls["failed"] / max(1, polls["done"] + polls["stale"] + polls["failed"])
        rows.append(Bar(rung, share, percent(share), "", _look(rung)))
        cells.append(
            [
                rung,
                *(number(polls[name]) for name in ("done", "stale", "failed")),
                *(number(bets[name]) for name in ("done", "failed")),
                milliseconds(bets["slowest_ms"]),
                seconds(found["back_s"]),
            ]
        )
    chart = bars("Polls that fail while PostgreSQL is away", "Shorter is better.", rows)
    heads = ["rung", "polls answered", "as old", "failed", "bets answered", "refused", "slowest", "back after"]
    inner = table(heads, cells, caption="While PostgreSQL is away")
    met = tag("figure", tag("h3", "What users met while PostgreSQL was away"), inner, class_="card")
    return [chart, met]


def _look(rung: str) -> str:
    return "c7" if rung == "V0" else "c1"
