"""Axes: from a value to its place, and the round values at which an axis is labelled.

Invariant: a place is between 0 and 1, whatever the value; an axis has a width even where all its values are equal.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from touchline.lab.markup import number

TICKS_ABOUT: Final = 5
DECADES_WITH_HALVES: Final = 2.5  # a longer logarithmic axis is labelled at powers of ten alone


@dataclass(frozen=True)
class Axis:
    """A range of values, low < high, drawn from 0 to 1."""

    label: str
    low: float
    high: float
    log: bool = False
    unit: float = 1.0  # what is labelled: 60 where values are seconds and labels are round minutes
    text: Callable[[float], str] = number

    def at(self, value: float) -> float:
        """Return the place of `value`, clipped to the axis."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))

    def ticks(self) -> list[float]:
        """Return round values of the axis, ascending."""
        return self._log_ticks() if self.log else self._linear_ticks()

    def _linear_ticks(self) -> list[float]:
        step = self.unit * _round_step((self.high - self.low) / self.unit / TICKS_ABOUT)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 9) for index in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        decades = math.log10(self.high / self.low)
        factors = (1, 2, 5) if decades <= DECADES_WITH_HALVES else (1,)
        exponents = range(math.floor(math.log10(self.low)) - 1, math.ceil(math.log10(self.high)) + 1)
        values = [factor * 10.0**exponent for exponent in exponents for factor in factors]
        return [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]


def linear_axis(
    label: str, values: Iterable[float | None], *, text: Callable[[float], str] = number, zero: bool = True
) -> Axis:
    """Return an axis over `values` that ends at a round value, and begins at zero or at one."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    high = max(known, default=1.0)
    low = min([0.0, *known]) if zero or not known else min(known)
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = _round_step((high - low) / TICKS_ABOUT)
    return Axis(label, math.floor(low / step) * step, math.ceil(high / step - 1e-9) * step, text=text)


def log_axis(label: str, values: Iterable[float | None], *, text: Callable[[float], str] = number) -> Axis:
    """Return a logarithmic axis over the positive ones of `values`, from and to 1, 2 or 5 times a power of ten."""
    known = [value for value in values if value is not None and value > 0 and math.isfinite(value)]
    low, high = _round_down(min(known, default=1.0)), _round_up(max(known, default=10.0))
    return Axis(label, low, high if high > low else low * 10, log=True, text=text)


def _round_step(about: float) -> float:
    scale = 10.0 ** math.floor(math.log10(about))
    return next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= about * 0.999)


def _round_down(value: float) -> float:
    scale = 10.0 ** math.floor(math.log10(value))
    return max(factor * scale for factor in (1, 2, 5) if factor * scale <= value * 1.001)


def _round_up(value: float) -> float:
    scale = 10.0 ** math.floor(math.log10(value))
    return min(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= value * 0.999)
