"""The integers by which AutoGAN's release writes an architecture: 5 n - 1 of them for n cells.

Cell after cell: conv, norm, up, shortcut and, from the second cell on, one integer for all skips.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache


def token_sizes(cell: int) -> tuple[int, ...]:
    """Return how many values each integer of cell `cell` (from 0) can take."""
    return (2, 3, 3, 2) if cell == 0 else (2, 3, 3, 2, 2**cell)


@cache
def code_sizes(cells: int) -> tuple[int, ...]:
    """Return how many values each integer of an architecture of `cells` cells can take."""
    return tuple(size for cell in range(cells) for size in token_sizes(cell))


def check_code(code: Sequence[int]) -> int:
    """Return the number of cells of an architecture's integers.

    Raises ValueError naming the length, or the integer that is out of range.
    """
    cells, rest = divmod(len(code) + 1, 5)
    if rest or cells < 1:
        raise ValueError(
            f"an architecture of {len(code)} integers: n cells have 5 n - 1 of them "
            "(4, 9, 14 for 1, 2, 3 cells)"
        )
    for position, (value, size) in enumerate(zip(code, code_sizes(cells), strict=True)):
        if not 0 <= value < size:
            raise ValueError(
                f"an architecture's integer {position + 1} is {value}; it can be 0 to {size - 1}"
            )
    return cells
