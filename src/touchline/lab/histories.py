"""What clients saw, read back from `bets.jsonl` player by player.

Invariant: about `HISTORY_BYTES_AT_ONCE` of a history is in memory at once, however long the run was, and all that
one player did comes together.
"""

import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Final

from touchline.lab.records import BetAttempt, LineWriter, Unreadable, read_lines

HISTORY_BYTES_AT_ONCE: Final = 16 * 2**20
PARTS_MAX: Final = 200  # files open at once


def read_players(history: Path) -> Iterator[list[BetAttempt]]:
    """Yield each player's attempts, in the order of the file; none where there is no file.

    Raises:
        Unreadable: a line is no attempt, or there is no room beside the file to sort it.
    """
    size = history.stat().st_size if history.exists() else 0
    parts = min(PARTS_MAX, 1 + size // HISTORY_BYTES_AT_ONCE)
    try:
        with tempfile.TemporaryDirectory(dir=history.parent, prefix=".checking-") as scratch:
            for part in _split(history, parts, Path(scratch)):
                attempts = sorted(read_lines(part, BetAttempt), key=lambda attempt: attempt.player_id)
                for _, of_player in groupby(attempts, key=lambda attempt: attempt.player_id):
                    yield list(of_player)
    except OSError as failed:
        raise Unreadable(f"{history.parent}: {failed.strerror}") from failed


def _split(history: Path, parts: int, scratch: Path) -> list[Path]:
    """Return files that hold the history's lines, each player's in one of them."""
    if parts == 1:
        return [history]
    paths = [scratch / f"{number}.jsonl" for number in range(parts)]
    with ExitStack() as stack:
        writers = [stack.enter_context(LineWriter(path)) for path in paths]
        for attempt in read_lines(history, BetAttempt):
            writers[zlib.crc32(attempt.player_id.encode()) % parts].append(attempt)
    return paths
