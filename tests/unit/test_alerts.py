"""The alert rules, by promtool; and that each is tested, and explained to whoever it wakes."""

import re
import subprocess
from pathlib import Path

from tests.prometheus import DEPLOY, dashboard_queries, program, selectors

RULES = DEPLOY / "prometheus" / "rules.yml"
ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES.read_text("utf-8"), re.M)
EXPRESSION = re.compile(r"^ +- alert: (\w+)\n +expr: (?:>-\n)?(.*?)\n +(?:for|labels):", re.M | re.S)


def promtool(*arguments: str | Path) -> None:
    ended = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_rules_and_configuration_are_valid() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    promtool("check", "config", RULES.with_name("prometheus.yml"))


def test_alerts_fire_beyond_their_thresholds_and_not_before() -> None:
    promtool("test", "rules", RULES.with_name("rules_test.yml"))


def test_every_alert_is_tested_to_fire() -> None:
    text = RULES.with_name("rules_test.yml").read_text("utf-8")
    fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", text))
    assert len(ALERTS) >= 9
    assert [alert for alert in ALERTS if alert not in fired] == []


def test_every_alert_says_where_to_read_on_and_there_it_is() -> None:
    pages = re.findall(r"runbook: docs/operations\.md#(\w+)", RULES.read_text("utf-8"))
    assert pages == [alert.lower() for alert in ALERTS]
    operations = DEPLOY.parent.joinpath("docs", "operations.md").read_text("utf-8")
    assert re.findall(r"^### (\w+)$", operations, re.M) == ALERTS


def test_what_an_alert_is_raised_by_is_on_the_dashboard() -> None:
    expressions = dict(EXPRESSION.findall(RULES.read_text("utf-8")))
    assert list(expressions) == ALERTS
    shown = set().union(*(names_in(query.expression) for query in dashboard_queries()))
    assert [alert for alert in ALERTS if not names_in(expressions[alert]) & shown] == []


def names_in(expression: str) -> set[str]:
    """The metrics that an expression is made of."""
    return {selector.partition("{")[0] for selector in selectors(expression)}
