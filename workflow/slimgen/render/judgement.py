"""Verdicts: a difference over seeds, and its interval.

With d_s of n seeds, the interval is mean(d) ± t_{0.975, n-1} sd(d) / sqrt(n). The claim that the
differences lie below a margin is held where the whole interval does, not held where it lies above,
undecided where it covers the margin or where there are fewer than three seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import t as student_t

from slimgen.render.number import Number

MIN_SEEDS = 3
HELD, NOT_HELD, UNDECIDED = "held", "not held", "undecided"


@dataclass(frozen=True)
class Judgement:
    """A verdict; the interval exists with three seeds or more."""

    verdict: str
    low: float | None = None
    high: float | None = None


def judge(differences: tuple[float, ...], margin: float = 0.0) -> Judgement:
    """Judge the claim that the differences lie below the margin."""
    n = len(differences)
    if n < MIN_SEEDS:
        return Judgement(f"{UNDECIDED} ({n} seed{'s' * (n > 1)})")
    number = Number(differences)
    half = float(student_t.ppf(0.975, n - 1)) * (number.sd or 0.0) / math.sqrt(n)
    low, high = number.mean - half, number.mean + half
    if high < margin:
        return Judgement(HELD, low, high)
    return Judgement(NOT_HELD if low > margin else UNDECIDED, low, high)


def judge_exact(differences: tuple[float, ...]) -> Judgement:
    """Judge the claim that differences of counts, no samples of anything, are at most 0."""
    if all(difference <= 0 for difference in differences):
        return Judgement(HELD)
    return Judgement(NOT_HELD if all(d > 0 for d in differences) else UNDECIDED)
