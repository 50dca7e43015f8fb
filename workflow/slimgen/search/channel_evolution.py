"""Evolution over width vectors under a hard budget (Li et al. 2020, GAN Compression).

A population of random vectors that keep the budget; each generation the best quarter are parents,
and as many children as the population was first large join them: half mutants (each entry drawn
anew with a probability), half crossovers. Only what keeps the budget is ever scored. The defaults
are those of the released code, which are OnceForAll's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from slimgen.search.channel_space import ChannelSpace, Weighting, Widths

ATTEMPTS = 1000  # drawn in vain before a vector is narrowed until it keeps the budget

Fits = Callable[[Widths], bool]
Loss = Callable[[Widths], float]
Visit = Callable[[int, Widths], None]  # generation, vector


@dataclass(frozen=True)
class ChannelEvolution:
    """How to evolve."""

    population: int = 100
    parent_ratio: float = 0.25
    mutation_ratio: float = 0.5
    mutate_probability: float = 0.2
    generations: int = 500
    weighting: Weighting = "uniform"  # of the first generation
    weighting_ratio: float = 2.0

    @property
    def draws(self) -> int:
        """Return how many vectors are drawn, equal ones counted."""
        return self.population * (1 + self.generations)


def narrowed(space: ChannelSpace, widths: Widths, fits: Fits, rng: random.Random) -> Widths:
    """Return `widths` with random entries narrowed, option by option, until they keep the budget.

    The narrowest vector is returned whether or not it does.
    """
    while not fits(widths) and widths != space.smallest:
        wide = [
            i for i, (w, least) in enumerate(zip(widths, space.smallest, strict=True)) if w > least
        ]
        entry = rng.choice(wide)
        choices = space.options[entry]
        step = choices[choices.index(widths[entry]) + 1]
        widths = (*widths[:entry], step, *widths[entry + 1 :])
    return widths


def draw_fitting(
    space: ChannelSpace, propose: Callable[[], Widths], fits: Fits, rng: random.Random
) -> Widths:
    """Return the first proposal that keeps the budget; after many in vain, one that is narrowed."""
    for _ in range(ATTEMPTS):
        widths = propose()
        if fits(widths):
            return widths
    return narrowed(space, widths, fits, rng)


def evolve(
    space: ChannelSpace,
    settings: ChannelEvolution,
    *,
    fits: Fits,
    loss: Loss,
    rng: random.Random,
    visit: Visit,
) -> None:
    """Run the evolution; `visit` hears of every vector drawn, before `loss` scores it.

    `space.smallest` must keep the budget. Equal random numbers and losses give an equal run, so one
    that is stopped goes on by being run again with the losses that are known.
    """

    def crossed(parents: list[Widths]) -> Widths:
        first, second = rng.choice(parents), rng.choice(parents)
        return tuple(rng.choice(pair) for pair in zip(first, second, strict=True))

    def first_sample() -> Widths:
        return space.sample(rng, weighting=settings.weighting, ratio=settings.weighting_ratio)

    def mutant(parents: list[Widths]) -> Widths:
        return space.mutate(rng.choice(parents), settings.mutate_probability, rng)

    def scored(generation: int, widths: Widths) -> tuple[float, Widths]:
        visit(generation, widths)
        return loss(widths), widths

    population = [
        scored(0, draw_fitting(space, first_sample, fits, rng)) for _ in range(settings.population)
    ]
    num_parents = max(1, math.ceil(settings.parent_ratio * settings.population))
    num_mutants = round(settings.mutation_ratio * settings.population)
    for generation in range(1, settings.generations + 1):
        best = sorted(population)[:num_parents]
        parents = [widths for _, widths in best]
        population = list(best)
        for number in range(settings.population):
            make = partial(mutant if number < num_mutants else crossed, parents)
            child = draw_fitting(space, make, fits, rng)
            population.append(scored(generation, child))


def different(
    space: ChannelSpace, count: int, *, fits: Fits, rng: random.Random
) -> Iterator[Widths]:
    """Yield at most `count` different random vectors that keep the budget; fewer where it ends."""
    found: set[Widths] = set()
    in_vain = 0
    while len(found) < count and in_vain < ATTEMPTS:
        widths = draw_fitting(space, lambda: space.sample(rng), fits, rng)
        if widths in found:
            in_vain += 1
            continue
        found.add(widths)
        in_vain = 0
        yield widths
