"""The version is one, wherever it is told."""

import tomllib
from pathlib import Path

from typer.testing import CliRunner

from touchline.cli import app

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_command_tells_the_version_of_the_package() -> None:
    version = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["version"]
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.stdout) == (0, f"touchline {version}\n")
