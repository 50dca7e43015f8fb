"""Splits of pairs: the indices of inputs and targets that go to train, search, validation, report.

Aligned pairs are split as their targets would be alone. Where both sides show the same things
(`divided`), these are split so too, and then within each split and class every other one goes to
the inputs and the rest to the targets: no thing is on both sides. Unrelated sides are split each on
its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimgen.data.raw import RawPairs
from slimgen.data.split import split_indices


def divide_sides(indices: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 1st, 3rd, ... of each class and the 2nd, 4th, ..., in the order given."""
    rank = np.empty(len(indices), dtype=np.int64)
    for label in np.unique(labels[indices]):
        mine = labels[indices] == label
        rank[mine] = np.arange(int(mine.sum()))
    return indices[rank % 2 == 0], indices[rank % 2 == 1]


def split_pairs(
    raw: RawPairs, sizes: Mapping[str, int], *, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return split -> (indices of inputs, indices of targets).

    `sizes` are those of search, validation and report: of pairs, of things, or of each side.
    Raises DataError where a side has too few images.
    """
    targets = split_indices(raw.targets.labels, sizes, seed=seed, test=raw.targets.test)
    if raw.relation == "aligned":
        return {name: (indices, indices) for name, indices in targets.items()}
    if raw.relation == "divided":
        return {name: divide_sides(i, raw.targets.labels) for name, i in targets.items()}
    inputs = split_indices(raw.inputs.labels, sizes, seed=seed, test=raw.inputs.test)
    return {name: (inputs[name], targets[name]) for name in targets}
