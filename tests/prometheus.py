"""A Prometheus of the tests' own, from Debian's package, configured as deploy/prometheus is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from touchline.runtime.addresses import free_port

DEPLOY = Path(__file__).parents[1] / "deploy"
STOP_TIMEOUT_S = 30
_SELECTOR = re.compile(
    r"""(?<![\w:"])([a-zA-Z_:][\w:]*)(?![\w:])(\{(?:[^"}]|"(?:\\.|[^"\\])*")*\})?(?!\s*\()""", re.VERBOSE
)
_WORDS = {"and", "or", "unless", "by"}


def program(name: str) -> str:
    """Return the path of one of the package's programs, or skip the test that asks for it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; it comes with Debian's package prometheus")
    return found


@dataclass(frozen=True)
class Prometheus:
    """A server that runs; each question is asked over its HTTP API."""

    http: httpx.Client

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the `data` of an answer."""
        answer = self.http.get(f"/api/v1/{path}", params=parameters)
        told = answer.json()
        assert told["status"] == "success", told
        return told["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an expression just now."""
        result: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return result

    def value(self, expression: str) -> float | None:
        """Return the one value of an expression, or None where there is none."""
        samples = self.query(expression)
        assert len(samples) <= 1, samples
        return float(samples[0]["value"][1]) if samples else None


@contextmanager
def prometheus(folder: Path, scrape_interval_s: int = 1) -> Iterator[Prometheus]:
    """Run one in `folder` with the configuration of deploy/prometheus, but scraping more often."""
    config = folder / "deploy" / "prometheus"
    shutil.copytree(DEPLOY / "prometheus", config)
    text = (config / "prometheus.yml").read_text("utf-8")
    often = re.sub(r"_interval: 5s", f"_interval: {scrape_interval_s}s", text)
    assert often != text
    (config / "prometheus.yml").write_text(often, "utf-8")
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={config / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ],
        cwd=folder,
    )
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=10, trust_env=False) as http:
            while True:
                assert process.poll() is None, "Prometheus ended"
                try:
                    if http.get("/-/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    continue
            yield Prometheus(http)
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


@dataclass(frozen=True)
class Query:
    """One query of the dashboard; `row` is the title above its panel, `legend` names labels in {{}}."""

    row: str
    panel: str
    expression: str
    legend: str


def dashboard_queries() -> list[Query]:
    """Return every query of the dashboard, with a window in place of Grafana's."""
    text = (DEPLOY / "grafana" / "dashboards" / "touchline.json").read_text("utf-8")
    found, row = [], ""
    for panel in json.loads(text)["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "30s")
            found.append(Query(row, panel["title"], expression, target["legendFormat"]))
    return found


def selectors(expression: str) -> set[str]:
    """Return the selectors in an expression: names of metrics with their matchers."""
    bare = re.sub(r"\bby \([^)]*\)|\[[^]]*\]", " ", expression)
    return {name + (matchers or "") for name, matchers in _SELECTOR.findall(bare) if name not in _WORDS}


def grouped_by(expression: str) -> set[tuple[str, str]]:
    """Return each label that an expression groups by, with the selector it groups."""
    found = set()
    for labels, rest in re.findall(r"\bby \(([^)]*)\)\s*\((.*)", expression):
        first = re.sub(r"^(?:\w+\()*", "", rest)
        [selector] = _SELECTOR.findall(first)[:1]
        found |= {(label.strip(), "".join(selector)) for label in labels.split(",")}
    return found
