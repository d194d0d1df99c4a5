"""Randomness that a seed repeats."""

from random import Random
from uuid import UUID


class SeededChance:
    """The `Chance` port: the same seed gives the same ids in the same order; they rise, as if by time."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._made = 0

    def uuid(self) -> UUID:
        """See `ports.Chance`."""
        self._made += 1
        high, low = self._random.getrandbits(12), self._random.getrandbits(62)
        return UUID(int=self._made << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)
