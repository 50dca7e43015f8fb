"""An architecture of AutoGAN's generator: an immutable value with named choices (Gong et al. 2019).

The release writes it as integers, cell after cell: conv, norm, up, shortcut, and from the second
cell on one integer whose bits are the skips, the earliest cell in the highest bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from typing import Any, Literal, get_args

from slimgen.config.autogan_code import check_code, token_sizes

Conv = Literal["post", "pre"]
Norm = Literal["none", "bn", "in"]
Up = Literal["bilinear", "nearest", "deconv"]
CONVS: tuple[Conv, ...] = get_args(Conv)
NORMS: tuple[Norm, ...] = get_args(Norm)
UPS: tuple[Up, ...] = get_args(Up)


@dataclass(frozen=True)
class Cell:
    """One cell: activation after or before the conv, normalisation, upsampling, connections.

    `skips[i]` tells whether it receives the features of cell i.
    """

    conv: Conv
    norm: Norm
    up: Up
    shortcut: bool
    skips: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("conv", self.conv, CONVS),
            ("norm", self.norm, NORMS),
            ("up", self.up, UPS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} {value!r}: it can be {', '.join(allowed)}")

    @cached_property
    def code(self) -> tuple[int, ...]:
        """Return the cell's integers."""
        head = (
            CONVS.index(self.conv),
            NORMS.index(self.norm),
            UPS.index(self.up),
            int(self.shortcut),
        )
        if not self.skips:
            return head
        return (*head, int("".join(str(int(skip)) for skip in self.skips), 2))

    def record(self) -> dict[str, Any]:
        """Return the choices as JSON values."""
        return {
            "conv": self.conv,
            "norm": self.norm,
            "up": self.up,
            "shortcut": self.shortcut,
            "skips": [i for i, skip in enumerate(self.skips) if skip],
        }


@cache
def read_cell(index: int, code: tuple[int, ...]) -> Cell:
    """Return cell number `index` of its integers, which are in range."""
    conv, norm, up, shortcut, *skips = code
    bits = f"{skips[0]:0{index}b}" if skips else ""
    connections = tuple(bit == "1" for bit in bits)
    return Cell(CONVS[conv], NORMS[norm], UPS[up], bool(shortcut), connections)


@dataclass(frozen=True)
class Arch:
    """A generator's cells, first to last; fewer than a space has is a partial architecture."""

    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        for index, cell in enumerate(self.cells):
            if len(cell.skips) != index:
                raise ValueError(
                    f"cell {index} has {len(cell.skips)} skips; there are {index} cells before it"
                )

    @classmethod
    def from_code(cls, code: Sequence[int]) -> Arch:
        """Return the architecture of 5 n - 1 integers; the inverse of `code`.

        Raises ValueError for another length, or an integer out of range.
        """
        count, values = check_code(code), iter(code)
        pieces = (tuple(islice(values, len(token_sizes(index)))) for index in range(count))
        return cls(tuple(read_cell(index, piece) for index, piece in enumerate(pieces)))

    @property
    def code(self) -> tuple[int, ...]:
        """Return the integers of all cells."""
        return tuple(value for cell in self.cells for value in cell.code)

    @property
    def text(self) -> str:
        """Return the integers as the release prints them, without brackets."""
        return " ".join(map(str, self.code))

    def __len__(self) -> int:
        return len(self.cells)
