"""Counts are those of enumeration; samples are uniform."""

import itertools
import random
from collections import Counter

import pytest

from slimgen.search.counting import CostCounts

COSTS = [{(k,): cost * k * k for k in (1, 3, 5)} for cost in (4, 8, 4, 2)]
# A ResBlock's width and two kernels cost together: 3 x 9 choices, between two single convs.
TOGETHER = {
    (c, a, b): c * (a * a + b * b) + c for c in (8, 4, 2) for a in (1, 3, 5) for b in (1, 3, 5)
}


def total(vector, costs):
    return sum(choices[k,] for choices, k in zip(costs, vector, strict=True))


def test_counts_equal_enumeration():
    counts = CostCounts(COSTS)
    vectors = list(itertools.product((1, 3, 5), repeat=4))
    assert counts.count(0, 10**9) == len(vectors)
    for low, high in ((100, 200), (162, 162), (0, 17), (500, 400)):
        expected = sum(low <= total(v, COSTS) <= high for v in vectors)
        assert counts.count(low, high) == expected


def test_samples_are_uniform_over_the_range():
    counts, rng = CostCounts(COSTS), random.Random(0)
    low, high = 120, 260
    inside = {v for v in itertools.product((1, 3, 5), repeat=4) if low <= total(v, COSTS) <= high}
    draws = 400 * len(inside)
    seen = Counter(counts.sample(low, high, rng) for _ in range(draws))
    assert set(seen) == inside  # each of them, and no other
    chi2 = sum((n - 400) ** 2 / 400 for n in seen.values())
    freedom = len(inside) - 1
    assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5


def test_counts_of_a_whole_unet_are_exact():
    # 44 convs; all costs are multiples of one, so the tables stay small though 3^44 vectors exist
    costs = [{(k,): k * k * (i % 4 + 1) * 16384 for k in (1, 3, 5)} for i in range(44)]
    counts = CostCounts(costs)
    assert counts.count(0, float("inf")) == 3**44
    base = total((3,) * 44, costs)
    vector = counts.sample(0.99 * base, 1.01 * base, random.Random(0))
    assert abs(total(vector, costs) / base - 1) <= 0.01


def test_parts_of_several_choices_cost_together():
    counts = CostCounts([COSTS[0], TOGETHER, COSTS[1]])
    costs = {
        (first, *middle, last): COSTS[0][first,] + cost + COSTS[1][last,]
        for first in (1, 3, 5)
        for middle, cost in TOGETHER.items()
        for last in (1, 3, 5)
    }
    assert counts.count(0, 10**9) == len(costs) == 3 * 27 * 3
    inside = {vector for vector, cost in costs.items() if 150 <= cost <= 190}
    assert counts.count(150, 190) == len(inside)
    rng, draws = random.Random(0), 300 * len(inside)
    seen = Counter(counts.sample(150, 190, rng) for _ in range(draws))
    assert set(seen) == inside
    chi2, freedom = sum((n - 300) ** 2 / 300 for n in seen.values()), len(inside) - 1
    assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5


def test_nothing_in_range():
    with pytest.raises(ValueError, match="no architecture costs between"):
        CostCounts(COSTS).sample(0, 10, random.Random(0))
