"""The Pareto front of points that have a cost and a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Point = TypeVar("Point")


def pareto_front(
    points: Iterable[Point], cost: Callable[[Point], float], loss: Callable[[Point], float]
) -> list[Point]:
    """Return the points that no other beats in both cost and loss, cheapest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (cost(point), loss(point))):
        if not best or loss(point) < loss(best[-1]):
            best.append(point)
    return best
