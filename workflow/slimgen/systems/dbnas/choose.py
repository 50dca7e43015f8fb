"""The choice of an architecture, given the candidates' losses: per block, globally, at random."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from slimgen.config.dbnas import SearchSettings
from slimgen.networks.conv_costs import conv_shapes
from slimgen.networks.kernel_supernet import KernelSupernet
from slimgen.search.counting import CostCounts
from slimgen.search.evolution import Evolution, evolve
from slimgen.search.exhaustive import MAX_CANDIDATES, cheapest_within
from slimgen.search.space import Arch, Choices, ConvCosts, SearchSpace, arch_cost, block_cost
from slimgen.systems.dbnas.artefacts import space_of
from slimgen.systems.dbnas.scores import BlockScorer
from slimgen.training.job import StageError
from slimgen.training.seeding import derive_seed


@dataclass(frozen=True)
class Problem:
    """A space, what its convs cost in either currency, and the currency that is minimised."""

    space: SearchSpace
    params: ConvCosts
    macs: ConvCosts
    cost: str

    def enumerable(self, block: str) -> bool:
        """Return whether all candidates of a block are scored; otherwise it is evolved."""
        return self.space.size(block) <= MAX_CANDIDATES

    @property
    def costs(self) -> ConvCosts:
        """Return the costs that the search minimises."""
        return self.params if self.cost == "params" else self.macs


def make_problem(supernet: KernelSupernet, teacher: Any, cost: str) -> Problem:
    """Return the search problem of a supernet."""
    shapes = conv_shapes(teacher).items()
    kernels = supernet.kernels
    params = {name: [{k: s.params(k) for k in kernels} for s in block] for name, block in shapes}
    macs = {name: [{k: s.macs(k) for k in kernels} for s in block] for name, block in shapes}
    return Problem(space_of(supernet), params, macs, cost)


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
        problem.space.kernels,
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
        space.kernels,
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
    flat = [conv for name, _ in problem.space.positions for conv in problem.costs[name]]
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
