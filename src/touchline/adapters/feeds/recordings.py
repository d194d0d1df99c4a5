"""Recordings on disk, plain, bzip2 or gzip, read line by line.

Invariant: what a recording holds never stops its reading; what can't be used is counted and named, and no line,
list or buffer grows without end.
"""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Final

from touchline.core.errors import Code, Rejection

LINE_BYTES_MAX: Final = 64 * 1024 * 1024  # an image of a thousand full ladders is about 20 MB
MALFORMED_NAMED_MAX: Final = 100
REASON_LENGTH_MAX: Final = 200


@dataclass(slots=True)
class Malformed:
    """What could not be used: all counted, the first `MALFORMED_NAMED_MAX` named by place and reason."""

    count: int = 0
    named: list[str] = field(default_factory=list)

    def note(self, place: str, why: object) -> None:
        """Count one and name it where there is room."""
        self.count += 1
        if len(self.named) < MALFORMED_NAMED_MAX:
            reason = " ".join(str(why).split()) or type(why).__name__
            self.named.append(f"{place}: {reason[:REASON_LENGTH_MAX]}")

    def add(self, other: "Malformed", file: str) -> None:
        """Add what `other` found in `file`; an empty `file` goes without saying."""
        self.count += other.count
        room = MALFORMED_NAMED_MAX - len(self.named)
        self.named += [f"{file}: {line}" if file else line for line in other.named[:room]]


class Recording:
    """A file of lines, opened by what it begins with and not by its name; closed by `close` or `with`."""

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            Rejection: MALFORMED: there is no such file, or it can't be read.
        """
        self.path = path
        try:
            self._raw = path.open("rb")
            self.size_bytes = path.stat().st_size
            self._lines = _unpacked(self._raw)
        except OSError as wrong:
            raise Rejection(Code.MALFORMED, f"can't read {path}: {wrong.strerror or wrong}") from None

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._lines.close()
        self._raw.close()

    @property
    def bytes_read(self) -> int:
        """How much of `size_bytes` has been read, in bytes of the file as it lies on disk."""
        return 0 if self._raw.closed else self._raw.tell()

    def lines(self, malformed: Malformed) -> Iterator[tuple[int, bytes]]:
        """Yield each line with its number, from 1; empty ones are passed over, what can't be read is noted."""
        number = 0
        while True:
            number += 1
            try:
                line = self._lines.readline(LINE_BYTES_MAX + 1)
                if len(line) > LINE_BYTES_MAX:
                    malformed.note(f"line {number}", f"longer than {LINE_BYTES_MAX} bytes")
                    while line and not line.endswith(b"\n"):
                        line = self._lines.readline(LINE_BYTES_MAX)
                    continue
            except (EOFError, OSError, ValueError, zlib.error) as wrong:
                malformed.note(f"line {number}", f"the file can't be read further: {wrong}")
                return
            if not line:
                return
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield number, line


def _unpacked(raw: BufferedReader) -> BufferedReader | bz2.BZ2File | gzip.GzipFile:
    head = raw.peek(3)
    if head.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    return raw
