"""Evolution over vectors of choices: the cheapest one whose loss keeps a limit.

The ablation of Tang et al. 2023 searches all blocks at once this way: population 50, 30
generations, 20 parents, half of the children by mutation (p = 0.1 per choice), half by crossover.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slimgen.search.space import Choices


@dataclass(frozen=True)
class Evolution:
    """How to evolve."""

    population: int = 50
    generations: int = 30
    parents: int = 20
    mutation: float = 0.1


def mutate(
    vector: Choices, options: Sequence[Choices], probability: float, rng: random.Random
) -> Choices:
    """Return `vector` with each choice drawn anew from its options with the given probability."""
    return tuple(
        rng.choice(others) if rng.random() < probability else choice
        for choice, others in zip(vector, options, strict=True)
    )


def crossover(first: Choices, second: Choices, rng: random.Random) -> Choices:
    """Return a child that takes each choice from either parent."""
    return tuple(rng.choice(pair) for pair in zip(first, second, strict=True))


def evolve(
    settings: Evolution,
    options: Sequence[Choices],
    *,
    start: Choices,
    cost: Callable[[Choices], int],
    loss: Callable[[Choices], float],
    limit: float,
    rng: random.Random,
) -> Choices:
    """Return the cheapest vector found with loss <= limit, ties by loss.

    `options` lists what each choice of a vector can be.
    `start` must keep the limit; so the result always does. Vectors that keep the limit rank before
    all others, by cost; the others by how far they exceed it, so that the first generations find
    their way. Raises ValueError where `start` exceeds the limit.
    """
    if loss(start) > limit:
        raise ValueError(f"the start has a loss of {loss(start):g}, more than {limit:g}")

    def rank(vector: Choices) -> tuple[float, ...]:
        value = loss(vector)
        violation = max(0.0, value - limit)
        return (violation, 0.0 if violation else cost(vector), value, *vector)

    population = {start}
    attempts = 0
    while len(population) < settings.population and attempts < 100 * settings.population:
        attempts += 1
        # Half of the others are near the start, since few random vectors keep a tight limit.
        near = len(population) % 2 == 1
        population.add(mutate(start, options, settings.mutation if near else 1.0, rng))
    parents = sorted(population, key=rank)[: settings.parents]
    for _ in range(settings.generations):
        children = set(parents)
        for _attempt in range(10 * settings.population):
            if len(children) >= len(parents) + settings.population:
                break
            if len(children) % 2:
                children.add(mutate(rng.choice(parents), options, settings.mutation, rng))
            else:
                children.add(crossover(rng.choice(parents), rng.choice(parents), rng))
        parents = sorted(children, key=rank)[: settings.parents]
    return parents[0]
