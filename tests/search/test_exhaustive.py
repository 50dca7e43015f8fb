"""The prefix tree visits what the naive loop visits, with less work."""

import itertools
import random

import pytest

from slimgen.search.exhaustive import cheapest_within, score_all


def test_tree_equals_naive_loop_and_shares_prefixes():
    rng = random.Random(0)
    table = {(i, k): rng.random() for i in range(4) for k in (1, 3, 5)}
    steps = []

    def advance(position, kernel, state):
        steps.append(position)
        return (state * 1.7 + table[position, kernel]) % 1.3

    def naive(choices):
        state = 0.25
        for position, kernel in enumerate(choices):
            state = (state * 1.7 + table[position, kernel]) % 1.3
        return state

    scores = score_all(((1, 3, 5),) * 4, start=0.25, advance=advance, score=lambda state: state)
    assert list(scores) == list(itertools.product((1, 3, 5), repeat=4))
    assert scores == {choices: naive(choices) for choices in scores}
    assert len(steps) == 3 + 9 + 27 + 81  # not 4 * 81


def test_every_position_has_options_of_its_own():
    options = ((16, 8), (1, 3, 5), (3, 1))
    scores = score_all(options, start=(), advance=lambda _, k, state: (*state, k), score=sum)
    assert scores == {choices: sum(choices) for choices in itertools.product(*options)}
    assert list(scores) == list(itertools.product(*options))


def test_empty_block_has_one_candidate():
    assert score_all((), start=2.0, advance=max, score=float) == {(): 2.0}


def test_cheapest_within_the_limit_ties_by_loss():
    losses = {(3,): 1.0, (1,): 1.2, (5,): 0.9, (7,): 1.1}
    cost = {(3,): 9, (1,): 1, (5,): 9, (7,): 49}.get
    assert cheapest_within(losses, cost, 1.2) == (1,)
    assert cheapest_within(losses, cost, 1.19) == (5,)  # as cheap as (3,), lower loss
    assert cheapest_within(losses, cost, 0.95) == (5,)
    with pytest.raises(ValueError, match="no candidate"):
        cheapest_within(losses, cost, 0.5)


def test_a_looser_limit_never_costs_more():
    rng = random.Random(1)
    candidates = list(itertools.product((1, 3, 5), repeat=4))
    losses = {c: rng.random() for c in candidates}

    def cost(choices):
        return sum(k * k for k in choices)

    limits = sorted(rng.uniform(min(losses.values()), 1) for _ in range(50))
    found = [cost(cheapest_within(losses, cost, limit)) for limit in limits]
    assert found == sorted(found, reverse=True)
