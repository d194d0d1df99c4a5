"""A role in a process of its own: what it is refused for, and that nobody else is taken for it."""

import sys
from pathlib import Path

import msgspec
import pytest

from touchline.architectures.settings import Settings
from touchline.runtime.process import CannotStart
from touchline.runtime.roles import prepare


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose data directory is there."""
    tmp_path.joinpath("logs").mkdir()
    return msgspec.structs.replace(Settings(), data_dir=tmp_path)


async def test_a_refusal_without_a_word_is_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program(settings, "exit 2"))
    with pytest.raises(CannotStart) as refused:
        await prepare(settings)
    assert str(refused.value) == f"prepare refused and did not say why; see {settings.data_dir}/logs/prepare.log"


def program(settings: Settings, script: str) -> str:
    """Return a program to be run in Python's place."""
    file = settings.data_dir / "program"
    file.write_text(f"#!/bin/sh\n{script}\n", "ascii")
    file.chmod(0o755)
    return str(file)
