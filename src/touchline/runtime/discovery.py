"""Where a Prometheus finds the parts that have metrics: a file of the form that its `file_sd_configs` read.

Invariant: it names every such part that the platform has, whether it runs or not, so that one that is down is
missed; and it is replaced whole.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from touchline.runtime.addresses import LOCALHOST
from touchline.runtime.files import write_public
from touchline.runtime.roles import RolePart

FILE: Final = "prometheus.json"


class TargetGroup(msgspec.Struct, frozen=True):
    """Targets (host:port) that share labels."""

    targets: list[str]
    labels: dict[str, str]


def write_targets(data_dir: Path, architecture: str, parts: Iterable[RolePart]) -> None:
    """Replace the file where it says something else."""
    groups = [
        TargetGroup(
            [f"{LOCALHOST}:{part.port}"],
            {"part": part.name, "role": part.role, "architecture": architecture},
        )
        for part in parts
    ]
    file, content = data_dir / FILE, msgspec.json.format(msgspec.json.encode(groups))
    if not file.exists() or file.read_bytes() != content:
        write_public(file, content)
