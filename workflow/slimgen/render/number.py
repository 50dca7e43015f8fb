"""A measured quantity over seeds, and how numbers are written."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """One quantity, one value per seed (in the order of the run's seeds)."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return math.fsum(self.values) / len(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds; None with one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def scaled(self, factor: float) -> Number:
        """Return the quantity in another unit."""
        return Number(tuple(factor * value for value in self.values))

    def over(self, other: Number) -> Number:
        """Return the ratio to another quantity, seed by seed.

        Raises ValueError where the two have different numbers of seeds.
        """
        return Number(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))


def show(number: Number, spec: str) -> str:
    """Return `mean`, or `mean ± sd` with as many decimals; the sd is left out where it is 0.

    `spec` is a format such as ".3f", or "4s" for four significant digits of the mean.
    """
    if spec.endswith("s"):
        size = math.floor(math.log10(abs(number.mean))) if number.mean else 0
        spec = f",.{max(0, int(spec[:-1]) - 1 - size)}f"
    if not number.sd:
        return format(number.mean, spec)
    return f"{number.mean:{spec}} ± {number.sd:{spec.lstrip('+')}}"


def exact(value: float) -> str:
    """Return a number for a CSV file: ten significant digits, no trailing zeros."""
    return format(value, ".10g")
