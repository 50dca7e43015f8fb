"""AutoGAN's search space: any number of cells, its size, its stages, published members, arch.json.

A cell chooses conv (2), normalisation (3), upsampling (3), shortcut (2) and one skip or none from
each earlier cell: 36 * 2^s choices for cell s, 36 * 72 * 144 = 373,248 generators of three cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimgen.config.autogan import DerivedSettings
from slimgen.config.autogan_code import token_sizes
from slimgen.data.files import read_json
from slimgen.networks.autogan_arch import Arch
from slimgen.training.job import StageError

# A is in the release's own scripts; B and C were encoded from its stand-alone networks; E2GAN is
# Tian et al. 2020, found in the same space.
PUBLISHED: dict[str, Arch] = {
    name: Arch.from_code([int(value) for value in code.split()])
    for name, code in {
        "A": "1 0 1 1 1 0 0 1 1 1 0 1 0 3",
        "B": "1 0 1 1 1 0 1 1 1 1 0 1 1 3",
        "C": "1 1 1 1 1 0 0 1 1 1 0 1 0 3",
        "E2GAN": "0 1 0 1 0 1 2 1 0 0 1 0 1 2",
    }.items()
}


@dataclass(frozen=True)
class Space:
    """Generators of `cells` cells that start from `bottom_width` pixels."""

    cells: int
    bottom_width: int

    @property
    def size(self) -> int:
        """Return the number of architectures."""
        return math.prod(math.prod(token_sizes(cell)) for cell in range(self.cells))

    @property
    def resolution(self) -> int:
        """Return the width of the images of a whole generator."""
        return self.bottom_width * 2**self.cells

    def tokens(self, cells: range) -> tuple[int, ...]:
        """Return how many values each integer of these cells can take."""
        return tuple(size for cell in cells for size in token_sizes(cell))

    def stages(self, *, mlas: bool) -> tuple[range, ...]:
        """Return the cells that each stage of a search decides: one after another, or all."""
        if not mlas:
            return (range(self.cells),)
        return tuple(range(cell, cell + 1) for cell in range(self.cells))

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise StageError where the space does not make images of (channels, height, width)."""
        if shape[1:] != (self.resolution, self.resolution):
            raise StageError(
                f"{self.cells} cells from bottom_width {self.bottom_width} make images of "
                f"{self.resolution} x {self.resolution}; those of the data set are "
                f"{shape[1]} x {shape[2]}"
            )


@dataclass(frozen=True)
class Found:
    """An architecture of arch.json, with its Inception score under shared weights if known."""

    arch: Arch
    score: float | None = None


def bottom_width(arch: Arch, shape: tuple[int, int, int]) -> int:
    """Return the width that `arch` starts from on images of (channels, height, width).

    Raises StageError where its cells do not make such images.
    """
    _, height, width = shape
    factor = 2 ** len(arch)
    if height != width or width % factor or width < 2 * factor:
        raise StageError(
            f"a generator of {len(arch)} cells makes squares of {2 * factor}, {3 * factor}, ... "
            f"pixels; the images are {height} x {width}"
        )
    return width // factor


def named(settings: DerivedSettings) -> Arch | None:
    """Return the architecture that the settings name, or None."""
    if isinstance(settings.arch, str):
        return PUBLISHED[settings.arch]
    return None if settings.arch is None else Arch.from_code(settings.arch)


def arch_record(found: Sequence[Found]) -> list[dict[str, Any]]:
    """Return what arch.json says about architectures, the best first."""
    return [
        {
            "code": list(item.arch.code),
            "inception_score": item.score,
            "cells": [cell.record() for cell in item.arch.cells],
        }
        for item in found
    ]


def read_archs(path: Path, *, skip_source: str) -> list[Found]:
    """Return the architectures of an arch.json (given itself or by its folder), the best first.

    Raises StageError where it is missing, holds none, or was searched with another `skip_source`.
    """
    file = path / "arch.json" if path.is_dir() else path
    if not file.is_file():
        raise StageError(f"{file} does not exist")
    try:
        record = read_json(file)
        found = [
            Found(Arch.from_code(item["code"]), item["inception_score"]) for item in record["archs"]
        ]
        searched_with = record["skip_source"]
    except (ValueError, KeyError, TypeError) as error:
        raise StageError(f"{file}: it holds no architecture ({error})") from None
    if not found:
        raise StageError(f"{file}: it holds no architecture")
    if searched_with != skip_source:
        raise StageError(
            f"{file}: searched with skip_source {searched_with!r}; it is {skip_source!r} here"
        )
    return found
