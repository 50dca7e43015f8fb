"""Four disjoint stratified splits, exact in size, the same on every machine for a seed.

Let class k have n_k of the N images and split s receive m_s. The table of the proportional shares
n_k m_s / N has whole row and column sums, and so has a table of whole numbers that differs from it
by less than one everywhere (controlled rounding, Cox 1987, J. Am. Stat. Assoc. 82, p. 520). Largest
remainders split by split would let the rest, the train split, drift by more.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimgen.data.errors import DataError

SPLITS = ("train", "search", "validation", "report")


def split_indices(
    labels: np.ndarray, sizes: Mapping[str, int], *, seed: int, test: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the indices of each split, int64, in a shuffled order.

    `labels` (n,) are the classes, `sizes` those of search, validation and report; train is the
    rest. Where a source has an official test set (`test` (n,), True for its images), report is
    drawn from it alone and the other splits from the train images; what report leaves of the test
    set belongs to no split.

    Raises DataError naming the numbers where no train split would be left.
    """
    order = shuffled(len(labels), seed)
    if test is None or not test.any():
        return divide(order, labels, sizes, rest="train", what="images")
    held_out = divide(
        order[test[order]],
        labels,
        {"report": sizes["report"]},
        rest=None,
        what="official test images",
    )
    others = {name: size for name, size in sizes.items() if name != "report"}
    parts = divide(order[~test[order]], labels, others, rest="train", what="official train images")
    return {name: (parts | held_out)[name] for name in SPLITS}


def shuffled(n: int, seed: int) -> np.ndarray:
    """Return a permutation of 0 .. n-1.

    It sorts the raw words of PCG64, whose stream numpy promises never to change (NEP 19), unlike
    that of `Generator.permutation`.
    """
    words = np.random.PCG64(seed).random_raw(n)
    return np.argsort(words, kind="stable").astype(np.int64)


def divide(
    order: np.ndarray, labels: np.ndarray, sizes: Mapping[str, int], *, rest: str | None, what: str
) -> dict[str, np.ndarray]:
    """Divide the images `order` into splits of the given sizes; `rest` names what remains.

    Raises DataError where the sizes ask for too many images, or leave none for `rest`.
    """
    remaining = len(order) - sum(sizes.values())
    if remaining < 0 or (rest is not None and remaining == 0):
        asked = " + ".join(f"{name} {size}" for name, size in sizes.items())
        left = "are too many" if rest is None else f"leave no {rest} split"
        raise DataError(
            f"{asked} = {sum(sizes.values())} {left}: the source has {len(order)} {what}"
        )
    columns = [*sizes.values(), remaining]
    classes, members = np.unique(labels[order], return_inverse=True)
    table = controlled_rounding(np.bincount(members, minlength=len(classes)).tolist(), columns)
    # The i-th image of its class goes to the split in whose range of that class's row i falls.
    rank = np.empty(len(order), dtype=np.int64)
    for k in range(len(classes)):
        mine = members == k
        rank[mine] = np.arange(int(mine.sum()))
    ends = np.cumsum(np.array(table, dtype=np.int64), axis=1)  # (classes, splits)
    where = (rank[:, None] >= ends[members]).sum(axis=1)
    names = [*sizes, rest]
    parts = {name: order[where == s] for s, name in enumerate(names) if name is not None}
    return {name: parts[name] for name in SPLITS if name in parts}


def controlled_rounding(rows: list[int], columns: list[int]) -> list[list[int]]:
    """Round the table rows[k] * columns[s] / sum, keeping all row and column sums.

    Every cell differs from its share by less than one.
    """
    total = sum(rows)
    table = [[n * m // total for m in columns] for n in rows]
    fraction = [[n * m % total for m in columns] for n in rows]  # in units of 1 / total
    # A row or column with one broken cell has another, so a walk that turns at each cell closes.
    while (cycle := find_cycle(fraction)) is not None:
        up, down = cycle[0::2], cycle[1::2]
        step = min([total - fraction[k][s] for k, s in up] + [fraction[k][s] for k, s in down])
        for k, s in up:
            fraction[k][s] += step
        for k, s in down:
            fraction[k][s] -= step
        for k, s in up:
            if fraction[k][s] == total:
                table[k][s], fraction[k][s] = table[k][s] + 1, 0
    return table


def find_cycle(fraction: list[list[int]]) -> list[tuple[int, int]] | None:
    """Return the cells with a fraction along a closed walk that turns at each, or None.

    Rows and columns are the nodes of a graph and these cells its edges.
    """
    broken = [(k, s) for k, row in enumerate(fraction) for s, part in enumerate(row) if part]
    if not broken:
        return None
    nodes, walk = [("row", broken[0][0])], list[tuple[int, int]]()
    while True:
        kind, line = nodes[-1]
        along = [cell for cell in broken if cell[0 if kind == "row" else 1] == line]
        walk.append(next(cell for cell in along if not walk or cell != walk[-1]))
        node = ("column", walk[-1][1]) if kind == "row" else ("row", walk[-1][0])
        if node in nodes:
            return walk[nodes.index(node) :]
        nodes.append(node)
