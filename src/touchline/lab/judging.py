"""All that is judged of a platform when a run is done with it: its books, its log of facts, what it pushed.

Invariant: what is judged is named with the architecture where a run had several.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from touchline.lab.bets_judged import Tolerance
from touchline.lab.checker import check
from touchline.lab.generator import REQUEST_TIMEOUT_S, look_up
from touchline.lab.http_client import HttpClient
from touchline.lab.records import PRICE, SECONDS, Checks, RuleCheck, Second, Step, read_lines
from touchline.lab.scenario import Lab
from touchline.lab.stream_judged import judge_pushes
from touchline.lab.verdicts import Rule

AT_ONCE: Final = 8
ARCHITECTURE: Final = "architecture"  # the setting of a step by which it is told on which platform it was


async def judge(lab: Lab) -> Checks:
    """Return the verdict on the platform that a run loads.

    Raises:
        CannotCheck: the books can't be read, or do not come up with the odds.
    """
    tolerance = Tolerance(odds_pct=_tolerance_pct(lab.run.settings, lab.run.steps[lab.first_step :]))
    if not lab.pushed:
        return await check(lab.dsn(), lab.history, tolerance)
    checks = await check(lab.dsn(), lab.history, tolerance, stream=await _versions(lab))
    lab.screen.doing("folding the facts anew")
    differs = await lab.platform.rebuilt()
    rebuilt = RuleCheck(Rule.REBUILD.value, 1, [] if differs is None else [differs])
    rules = [*checks.rules, judge_pushes(_prices(lab)), rebuilt]
    return Checks(rules=rules, ok=not any(rule.violations for rule in rules))


async def _versions(lab: Lab) -> dict[str, int]:
    """Return the newest version of each market, as anybody is told."""
    client = HttpClient(
        lab.platform.instance.address,
        connections_max=AT_ONCE,
        waiting_max=len(lab.markets),
        timeout_s=REQUEST_TIMEOUT_S,
    )
    try:
        found = {market_id: await look_up(client, market_id, lab.players[0]) for market_id in lab.markets}
    finally:
        await client.close()
    return {market_id: shown.odds_version for market_id, shown in found.items() if shown is not None}


def _prices(lab: Lab) -> Iterable[Second]:
    """Return what bettors saw of prices on this platform."""
    own = {step.name for step in lab.run.steps[lab.first_step :]}
    seconds = read_lines(lab.run_dir / SECONDS, Second)
    return (second for second in seconds if second.kind == PRICE and second.step in own)


def _tolerance_pct(settings: Mapping[str, str], steps: Iterable[Step]) -> Fraction:
    """Return by how much a price may have moved, at the most lenient of a platform's settings."""
    name = "odds_tolerance_pct"
    found = [settings.get(name, "0"), *(step.settings.get(name, "0") for step in steps)]
    return max(Fraction(text) for text in found)


def together(found: list[tuple[str, Checks]]) -> Checks:
    """Return the verdicts on several platforms as one; a violation names its platform where there are several."""
    if len(found) == 1:
        return found[0][1]
    checked: dict[str, int] = {}
    violations: dict[str, list[str]] = {}
    for platform, checks in found:
        for rule in checks.rules:
            checked[rule.name] = checked.get(rule.name, 0) + rule.checked
            violations.setdefault(rule.name, []).extend(f"{platform}: {text}" for text in rule.violations)
    rules = [RuleCheck(name, checked[name], told) for name, told in violations.items()]
    return Checks(rules=rules, ok=all(checks.ok for _, checks in found))
