"""Distributions of latencies: HdrHistogram over microseconds, from 1 µs to a minute, right to three digits.

Invariant: latencies go in and merge without loss; a percentile is at most 0.1 % above the true one.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Self

from hdrh.histogram import HdrHistogram

HIGHEST_US: Final = 60_000_000  # what took longer counts as this
DIGITS: Final = 3


class Latencies:
    """How long requests took."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, HIGHEST_US, DIGITS)

    def add(self, each_us: Iterable[int]) -> None:
        """Record latencies in µs."""
        record = self._histogram.record_value
        for value in each_us:
            record(min(max(value, 1), HIGHEST_US))

    def __len__(self) -> int:
        return int(self._histogram.get_total_count())

    def percentile_ms(self, percent: float) -> float | None:
        """Return what `percent` of the requests took at most, in ms; None without any."""
        return self._histogram.get_value_at_percentile(percent) / 1000 if len(self) else None

    def max_ms(self) -> float | None:
        """Return the longest, in ms; None without any."""
        return self._histogram.get_max_value() / 1000 if len(self) else None

    def encode(self) -> str:
        """Return it in HdrHistogram's V2 encoding, compressed, in base64."""
        encoded: bytes = self._histogram.encode()
        return encoded.decode("ascii")

    @classmethod
    def decode(cls, encoded: str) -> Self:
        """Return what `encode` wrote.

        Raises:
            ValueError: it is no such encoding.
        """
        read = cls()
        try:
            read._histogram.decode_and_add(encoded)
        except Exception as wrong:  # its decoder raises whatever the bytes lead it into
            raise ValueError("no histogram in HdrHistogram's V2 encoding") from wrong
        return read


def percentile_ms(sorted_us: Sequence[int], percent: float) -> float | None:
    """Return what `percent` of some latencies, sorted, in µs, took at most, in ms; None without any."""
    if not sorted_us:
        return None
    rank = max(1, -int(-percent * len(sorted_us) // 100))  # the nearest rank: rounded up
    return sorted_us[rank - 1] / 1000
