"""The choice of an architecture, given the candidates' losses: per block, globally, at random."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

from slimgen.config.dbnas import SearchSettings
from slimgen.networks.conv_costs import conv_shapes, resblock_shapes
from slimgen.networks.kernel_supernet import KernelSupernet
from slimgen.search.counting import CostCounts
from slimgen.search.evolution import Evolution, evolve
from slimgen.search.exhaustive import MAX_CANDIDATES, cheapest_within
from slimgen.search.space import Arch, Choices, Costs, SearchSpace, arch_cost, block_cost
from slimgen.systems.dbnas.artefacts import space_of
from slimgen.systems.dbnas.scores import BlockScorer
from slimgen.training.job import StageError
from slimgen.training.seeding import derive_seed


@dataclass(frozen=True)
class Problem:
    """A space, what its choices cost in either currency, and the currency that is minimised."""

    space: SearchSpace
    params: Costs
    macs: Costs
    cost: str

    def enumerable(self, block: str) -> bool:
        """Return whether all candidates of a block are scored; otherwise it is evolved."""
        return self.space.size(block) <= MAX_CANDIDATES

    @property
    def costs(self) -> Costs:
        """Return the costs that the search minimises."""
        return self.params if self.cost == "params" else self.macs


def make_problem(supernet: KernelSupernet, teacher: Any, cost: str) -> Problem:
    """Return the search problem of a supernet."""
    space = space_of(supernet)
    params, macs = resblock_costs(space, teacher) if space.widths else conv_costs(space, teacher)
    return Problem(space, params, macs, cost)


def conv_costs(space: SearchSpace, teacher: Any) -> tuple[Costs, Costs]:
    """Return parameters and multiply-adds of every kernel size of every conv."""
    shapes, kernels = conv_shapes(teacher).items(), space.kernels
    params: Costs = {
        n: [{(k,): s.params(k) for k in kernels} for s in convs] for n, convs in shapes
    }
    macs: Costs = {n: [{(k,): s.macs(k) for k in kernels} for s in convs] for n, convs in shapes}
    return params, macs


def resblock_costs(space: SearchSpace, teacher: Any) -> tuple[Costs, Costs]:
    """Return parameters and multiply-adds of every width and both kernels of every ResBlock."""
    shapes = resblock_shapes(teacher)
    params: dict[str, list[dict[Choices, int]]] = {}
    macs: dict[str, list[dict[Choices, int]]] = {}
    for name, options in space.widths:
        every = [list(itertools.product(own, space.kernels, space.kernels)) for own in options]
        pairs = list(zip(shapes[name], every, strict=True))
        params[name] = [{c: shape.params(c) for c in choices} for shape, choices in pairs]
        macs[name] = [{c: shape.macs(c) for c in choices} for shape, choices in pairs]
    return params, macs


def search_block(
    problem: Problem, scorer: BlockScorer, name: str, settings: SearchSettings, seed: int
) -> Choices:
    """Return the cheapest candidate of one block within r of the base's loss."""
    base = problem.space.base[name]
    limit = settings.r * scorer.loss(base)

    def cost(choices: Choices) -> int:
        return block_cost(problem.costs, name, choices)

    if problem.enumerable(name):
        return cheapest_within(scorer.losses, cost, limit)
    return evolve(
        evolution(settings),
        problem.space.options(name),
        start=base,
        cost=cost,
        loss=scorer.loss,
        limit=limit,
        rng=random.Random(derive_seed(seed, 0, f"evolution/{name}")),
    )


def search_globally(
    problem: Problem, scorers: dict[str, BlockScorer], settings: SearchSettings, seed: int
) -> Arch:
    """Return the cheapest architecture found whose losses add up to at most r times the base's."""
    space = problem.space

    def loss(vector: Choices) -> float:
        return sum(scorers[name].loss(choices) for name, choices in space.arch(vector).items())

    best = evolve(
        evolution(settings),
        [options for name, _ in space.positions for options in space.options(name)],
        start=space.base.vector,
        cost=lambda vector: arch_cost(problem.costs, space.arch(vector)),
        loss=loss,
        limit=settings.r * loss(space.base.vector),
        rng=random.Random(derive_seed(seed, 0, "evolution")),
    )
    return space.arch(best)


def evolution(settings: SearchSettings) -> Evolution:
    """Return the settings of the evolution."""
    return Evolution(settings.population, settings.generations, settings.parents, settings.mutation)


def draw_like(problem: Problem, like: Arch, tolerance: float, seed: int) -> Arch:
    """Return an architecture of nearly the cost of `like`, uniform among all but it and the base.

    Raises StageError where there is none.
    """
    cost = arch_cost(problem.costs, like)
    low, high = (1 - tolerance) * cost, (1 + tolerance) * cost
    flat = [part for name, _ in problem.space.positions for part in problem.costs[name]]
    counts = CostCounts(flat)
    barred = {like, problem.space.base}
    inside = sum(low <= arch_cost(problem.costs, arch) <= high for arch in barred)
    if counts.count(low, high) <= inside:
        raise StageError(
            f"dbnas.search: no other architecture costs within {tolerance:.1%} of {cost:,} "
            f"{problem.cost}; raise `tolerance`"
        )
    rng = random.Random(derive_seed(seed, 0, "random"))
    while True:
        arch = problem.space.arch(counts.sample(low, high, rng))
        if arch not in barred:
            return arch
