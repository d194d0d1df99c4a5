"""Recordings and vectors beside the project, in ../shared/data: a test that needs an absent one skips aloud."""

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"


def shared_path(name: str) -> Path:
    """Return the path of a shared file, or skip the test that asks for it."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"../shared/data/{name} is not beside the project")
    return path


def shared_json(name: str) -> Any:
    """Return what a shared JSON file holds, or skip the test that asks for it."""
    return json.loads(shared_path(name).read_bytes())
