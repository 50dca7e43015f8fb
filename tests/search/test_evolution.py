"""Evolution keeps its limit and finds known optima."""

import itertools
import random

import pytest

from slimgen.search.evolution import Evolution, crossover, evolve, mutate

KERNELS = (1, 3, 5)


def cost(vector):
    return sum(k * k for k in vector)


def loss_with_redundancy(vector):
    """Positions 2, 5 and 7 may shrink freely; at any other each deviation from 3 costs 1."""
    return 1.0 + sum(k != 3 for i, k in enumerate(vector) if i not in (2, 5, 7))


def test_finds_planted_redundancy():
    best = evolve(
        Evolution(),
        (KERNELS,) * 12,
        start=(3,) * 12,
        cost=cost,
        loss=loss_with_redundancy,
        limit=1.0,
        rng=random.Random(0),
    )
    assert best == tuple(1 if i in (2, 5, 7) else 3 for i in range(12))


@pytest.mark.parametrize("seed", range(5))
def test_matches_enumeration_on_a_small_space(seed):
    rng = random.Random(seed)
    weights = [rng.uniform(0.2, 1.0) for _ in range(6)]

    def loss(vector):
        return sum(w / k for w, k in zip(weights, vector, strict=True))

    limit = 1.05 * loss((3,) * 6)
    best = evolve(
        Evolution(),
        (KERNELS,) * 6,
        start=(3,) * 6,
        cost=cost,
        loss=loss,
        limit=limit,
        rng=random.Random(seed),
    )
    assert loss(best) <= limit
    feasible = [v for v in itertools.product(KERNELS, repeat=6) if loss(v) <= limit]
    assert cost(best) == min(map(cost, feasible))


def test_same_generator_same_result():
    def run():
        return evolve(
            Evolution(population=8, generations=3, parents=4),
            (KERNELS,) * 20,
            start=(3,) * 20,
            cost=cost,
            loss=loss_with_redundancy,
            limit=2.0,
            rng=random.Random(7),
        )

    assert run() == run()


def test_start_beyond_the_limit_is_refused():
    with pytest.raises(ValueError, match="the start has a loss of 1"):
        evolve(
            Evolution(),
            (KERNELS,) * 12,
            start=(3,) * 12,
            cost=cost,
            loss=loss_with_redundancy,
            limit=0.5,
            rng=random.Random(0),
        )


def test_mutation_and_crossover():
    rng = random.Random(0)
    assert mutate((3,) * 50, (KERNELS,) * 50, 0.0, rng) == (3,) * 50
    changed = sum(k != 3 for _ in range(100) for k in mutate((3,) * 50, (KERNELS,) * 50, 0.3, rng))
    assert 800 < changed < 1200  # 5,000 draws, 0.3 x 2/3 of them differ
    child = crossover((1,) * 200, (5,) * 200, rng)
    assert set(child) == {1, 5}
    assert 70 < child.count(1) < 130


def test_each_choice_keeps_to_its_own_options():
    options, rng = ((16, 8), KERNELS, KERNELS, (32,)), random.Random(0)
    drawn = {mutate((16, 3, 3, 32), options, 0.8, rng) for _ in range(2000)}
    assert drawn == set(itertools.product(*options))


def test_the_random_draws_of_a_space_of_kernels_are_pinned():
    """Searches of finished runs draw as they did before there were other choices than kernels."""
    rng = random.Random(5)
    drawn = [mutate((3,) * 6, (KERNELS,) * 6, 0.5, rng) for _ in range(3)]
    assert drawn == [(3, 3, 3, 3, 3, 3), (3, 3, 1, 3, 3, 3), (1, 3, 1, 1, 3, 3)]
