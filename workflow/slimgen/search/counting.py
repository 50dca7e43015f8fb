"""Uniform sampling among all architectures whose cost lies in a range, by dynamic programming.

N_i(c) is the number of ways in which the parts i, i + 1, ... add up to c:
N_n(0) = 1, N_i(c) = sum over choices k of part i of N_{i+1}(c - cost_i(k)).
Counts are exact integers (a U-Net has 10^21 architectures). A sample draws its rank among all
architectures in range and is unranked through the tables, so each of them is equally likely.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property

from slimgen.search.space import Choices


class CostCounts:
    """How many vectors of choices have which cost; `costs[i]` maps choices -> cost of part i."""

    def __init__(self, costs: Sequence[Mapping[Choices, int]]) -> None:
        self.costs = [dict(sorted(choices.items())) for choices in costs]

    @cached_property
    def tables(self) -> list[dict[int, int]]:
        """Return N_i for i = 0 .. n."""
        tables: list[dict[int, int]] = [{0: 1}]
        for choices in reversed(self.costs):
            table: dict[int, int] = {}
            for rest, count in tables[0].items():
                for cost in choices.values():
                    table[rest + cost] = table.get(rest + cost, 0) + count
            tables.insert(0, table)
        return tables

    def count(self, low: float, high: float) -> int:
        """Return the number of vectors with low <= cost <= high."""
        return sum(n for cost, n in self.tables[0].items() if low <= cost <= high)

    def sample(self, low: float, high: float, rng: random.Random) -> Choices:
        """Return one of the vectors with low <= cost <= high, each with the same probability.

        Raises ValueError where there is none.
        """
        inside = {c: n for c, n in sorted(self.tables[0].items()) if low <= c <= high}
        if not inside:
            raise ValueError(f"no architecture costs between {low:g} and {high:g}")
        rank = rng.randrange(sum(inside.values()))
        for left, n in inside.items():
            if rank < n:
                return self._unrank(left, rank)
            rank -= n
        raise AssertionError("the rank is below the sum of the counts")

    def _unrank(self, left: int, rank: int) -> Choices:
        vector: list[int] = []
        for part, choices in enumerate(self.costs):
            for chosen, cost in choices.items():
                n = self.tables[part + 1].get(left - cost, 0)
                if rank < n:
                    vector.extend(chosen)
                    left -= cost
                    break
                rank -= n
        return tuple(vector)
