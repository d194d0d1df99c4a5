"""SQL by name: statements live in `.sql` files beside the store that runs them.

A file holds blocks that open with `-- name: NAME` and one comment line of meaning.
"""

import re
from importlib import resources

from touchline.core.errors import Fault

_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


class Queries:
    """The statements of one file, by name: `queries["poll"]`."""

    def __init__(self, file: str) -> None:
        text = resources.files(__package__).joinpath(file).read_text("utf-8")
        parts = _NAME.split(text)
        self._file = file
        self._by_name = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))

    def __getitem__(self, name: str) -> str:
        """Return a statement.

        Raises:
            Fault: the file has none of that name.
        """
        if name not in self._by_name:
            raise Fault(f"{self._file} has no statement {name}")
        statement: str = self._by_name[name]
        return statement
