"""The checker's own SQL by name, so that it shares nothing with the stores whose work it judges.

Invariant: a file holds blocks that open with `-- name: NAME` and one comment line of meaning.
"""

import re
from importlib import resources
from typing import Final

_NAME: Final = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


def read_statements(file: str) -> dict[str, str]:
    """Return the statements of a file beside this module, by name."""
    parts = _NAME.split(resources.files(__package__).joinpath(file).read_text("utf-8"))
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
