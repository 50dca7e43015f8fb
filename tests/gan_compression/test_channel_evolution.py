"""Evolution over width vectors: budgets are kept, equal random numbers give equal runs."""

from __future__ import annotations

import random

import pytest

from slimgen.search.channel_evolution import (
    ChannelEvolution,
    different,
    draw_fitting,
    evolve,
    narrowed,
)
from slimgen.search.channel_space import ChannelSpace

SPACE = ChannelSpace(((16, 8, 4),) * 5)
SMALL = ChannelEvolution(population=12, generations=6)


def fits(widths) -> bool:
    return sum(widths) <= 40


def loss(widths) -> float:
    return -float(sum(width * (i + 1) for i, width in enumerate(widths)))


def run(seed: int, settings: ChannelEvolution = SMALL):
    drawn = []
    evolve(
        SPACE,
        settings,
        fits=fits,
        loss=loss,
        rng=random.Random(seed),
        visit=lambda generation, widths: drawn.append((generation, widths)),
    )
    return drawn


def test_everything_drawn_keeps_the_budget_and_is_counted() -> None:
    drawn = run(0)
    assert len(drawn) == SMALL.draws
    assert all(fits(widths) for _, widths in drawn)
    assert [generation for generation, _ in drawn] == [g for g in range(7) for _ in range(12)]


def test_equal_seeds_equal_runs() -> None:
    assert run(1) == run(1) != run(2)


def test_selection_beats_drawing_blindly() -> None:
    space = ChannelSpace(((16, 12, 8, 6, 4),) * 8)
    settings = ChannelEvolution(population=20, generations=10)
    found, blind = [], []
    for seed in range(3):
        drawn: list = []
        evolve(
            space,
            settings,
            fits=lambda widths: sum(widths) <= 70,
            loss=loss,
            rng=random.Random(seed),
            visit=lambda _generation, widths, drawn=drawn: drawn.append(widths),
        )
        found.append(min(map(loss, drawn)))
        rng = random.Random(seed)
        others = different(space, settings.draws, fits=lambda widths: sum(widths) <= 70, rng=rng)
        blind.append(min(map(loss, others)))
    assert max(found) < min(blind)


def test_a_vector_that_breaks_the_budget_is_narrowed_until_it_keeps_it() -> None:
    rng = random.Random(0)
    for _ in range(20):
        widths = SPACE.sample(rng)
        less = narrowed(SPACE, widths, fits, rng)
        SPACE.check(less)
        assert fits(less)
        assert all(a <= b for a, b in zip(less, widths, strict=True))
        assert (less == widths) == fits(widths)
    only = SPACE.smallest
    assert draw_fitting(SPACE, lambda: SPACE.largest, lambda w: w == only, rng) == only


def test_random_vectors_differ_and_end_where_the_budget_has_no_more() -> None:
    within = {widths for widths in SPACE if sum(widths) <= 24}
    found = list(different(SPACE, 10**6, fits=lambda w: w in within, rng=random.Random(0)))
    assert len(found) == len(set(found))
    assert set(found) == within
    assert len(list(different(SPACE, 3, fits=fits, rng=random.Random(0)))) == 3


def narrow_share(settings: ChannelEvolution, generation: int) -> float:
    """Return which share of the entries drawn in a generation is the narrowest of three."""
    drawn: list = []
    evolve(
        SPACE,
        settings,
        fits=lambda widths: True,
        loss=loss,
        rng=random.Random(0),
        visit=lambda number, widths: drawn.append((number, widths)),
    )
    entries = [width for number, widths in drawn if number == generation for width in widths]
    return entries.count(4) / len(entries)


@pytest.mark.parametrize(
    ("weighting", "share"), [("uniform", 1 / 3), ("arithmetic", 9 / 15), ("geometric", 81 / 91)]
)
def test_the_first_generation_alone_is_weighted(weighting, share) -> None:
    """Of three options weights of ratio 9 are 1, 5, 9 (times 1/4) or 1, 9, 81."""
    settings = ChannelEvolution(
        population=400,
        generations=1,
        mutation_ratio=1.0,
        mutate_probability=1.0,
        weighting=weighting,
        weighting_ratio=9.0,
    )
    assert narrow_share(settings, 0) == pytest.approx(share, abs=0.04)
    assert narrow_share(settings, 1) == pytest.approx(1 / 3, abs=0.04)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 1.0])
def test_the_mutation_ratio_is_the_share_of_mutants(ratio) -> None:
    """Crossed with itself a single parent gives itself; mutants of these are all new."""
    space = ChannelSpace((tuple(range(40, 0, -1)),) * 8)
    settings = ChannelEvolution(
        population=20,
        parent_ratio=0.01,
        mutation_ratio=ratio,
        mutate_probability=1.0,
        generations=1,
    )
    drawn: dict[int, list] = {0: [], 1: []}
    evolve(
        space,
        settings,
        fits=lambda widths: True,
        loss=loss,
        rng=random.Random(0),
        visit=lambda generation, widths: drawn[generation].append(widths),
    )
    parent = min(drawn[0], key=lambda widths: (loss(widths), widths))
    assert sum(widths != parent for widths in drawn[1]) == 20 * ratio


@pytest.mark.parametrize("ratio", [0.01, 1.0])
def test_there_is_always_a_parent(ratio) -> None:
    settings = ChannelEvolution(population=4, generations=2, parent_ratio=ratio)
    assert len(run(0, settings)) == 12
