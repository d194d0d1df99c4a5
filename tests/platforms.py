"""A platform of the tests' own, started and stopped by the command line as an operator would."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from touchline.runtime.addresses import free_port
from touchline.runtime.instance import Instance, read_instance

COMMAND_TIMEOUT_S = 120


@dataclass
class OwnPlatform:
    """A platform in `data_dir`; `settings` go into its environment as TOUCHLINE_* variables."""

    data_dir: Path
    port: int = field(default_factory=free_port)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def instance(self) -> Instance:
        """The record of what runs."""
        found = read_instance(self.data_dir)
        assert found is not None
        return found

    def pid(self, part: str) -> int:
        """The process id of a part."""
        return next(record.pid for record in self.instance.parts if record.name == part)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `touchline`, and return how it ended and what it printed."""
        return subprocess.run(
            [sys.executable, "-m", "touchline.cli", *arguments, "--data-dir", str(self.data_dir)],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    @property
    def environ(self) -> dict[str, str]:
        """The environment that its commands run in."""
        ours = {f"TOUCHLINE_{name.upper()}": value for name, value in self.settings.items()}
        others = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHLINE_")}
        return {**others, **ours, "COLUMNS": "160"}

    def up(self, *options: str) -> None:
        """Start it, with two pods and no feed of its own unless `options` say otherwise."""
        ended = self.run("up", "--detach", "--pods", "2", "--feed", "none", "--port", str(self.port), *options)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def down(self) -> None:
        """Stop it."""
        ended = self.run("down")
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def remove(self) -> None:
        """Stop it, and leave nothing behind."""
        self.down()
        shutil.rmtree(self.data_dir)


async def log_in(http: httpx.AsyncClient, name: str) -> dict[str, str]:
    """Return the headers of somebody who is logged in."""
    answer = await http.post("/auth/login", json={"username": name, "password": "demo"})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}
