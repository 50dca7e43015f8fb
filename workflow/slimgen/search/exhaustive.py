"""Score every candidate of a block by a prefix tree; choose the cheapest that is good enough.

Naively, k^n candidates cost n k^n conv evaluations; candidates that share their first choices share
the computation, which leaves k + k^2 + ... + k^n = k^n k / (k - 1) (to first order). Depth first,
so at most n intermediate states live at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from slimgen.search.space import Choices

State = TypeVar("State")

MAX_CANDIDATES = 50_000  # of one block; beyond, evolution (a block of 9 convs has 19,683)


def score_all(
    options: Sequence[Choices],
    *,
    start: State,
    advance: Callable[[int, int, State], State],
    score: Callable[[State], float],
) -> dict[Choices, float]:
    """Return the score of every candidate, in lexicographic order of the options.

    Args:
        options: what can be chosen, position by position.
        start: the state before the first choice.
        advance: (position, choice, state) -> the state behind that choice; must not change `state`.
        score: final state -> score.
    """
    scores: dict[Choices, float] = {}

    def descend(prefix: Choices, state: State) -> None:
        if len(prefix) == len(options):
            scores[prefix] = score(state)
            return
        for choice in options[len(prefix)]:
            descend((*prefix, choice), advance(len(prefix), choice, state))

    descend((), start)
    return scores


def cheapest_within(
    losses: Mapping[Choices, float], cost: Callable[[Choices], int], limit: float
) -> Choices:
    """Return the cheapest candidate with loss <= limit, ties by loss, then by the choices.

    Raises ValueError where no candidate keeps the limit.
    """
    feasible = [choices for choices, loss in losses.items() if loss <= limit]
    if not feasible:
        raise ValueError(f"no candidate has a loss of at most {limit:g}")
    return min(feasible, key=lambda choices: (cost(choices), losses[choices], choices))
