"""A search space of kernel sizes and inner widths, an architecture as a value, what it costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from slimgen.networks.block_choices import Choices, join_choices, kernels_of, widths_of

# Block -> parts that cost independently: choices of the part -> cost. A part is one conv where
# kernels alone are chosen, else a ResBlock (one choice of its width, two of its kernels).
Costs = Mapping[str, Sequence[Mapping[Choices, int]]]


@dataclass(frozen=True)
class Arch(Mapping[str, Choices]):
    """An architecture: block name -> choices (see `block_choices`). Immutable and hashable."""

    blocks: tuple[tuple[str, Choices], ...]
    with_widths: bool = False

    @classmethod
    def of(
        cls,
        kernels: Mapping[str, Sequence[int]],
        widths: Mapping[str, Sequence[int]] | None = None,
    ) -> Arch:
        """Return the architecture of two mappings (of JSON, say), each of block names.

        Raises ValueError where they do not fit together.
        """
        if widths is not None and set(widths) != set(kernels):
            raise ValueError(
                f"widths name the blocks {sorted(widths)}, kernels the blocks {sorted(kernels)}"
            )
        blocks = (
            (name, join_choices(sizes, None if widths is None else widths[name]))
            for name, sizes in kernels.items()
        )
        return cls(tuple(blocks), widths is not None)

    def __getitem__(self, name: str) -> Choices:
        for block, choices in self.blocks:
            if block == name:
                return choices
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(name for name, _ in self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def vector(self) -> Choices:
        """Return all choices one after another."""
        return tuple(itertools.chain.from_iterable(choices for _, choices in self.blocks))

    @property
    def kernels(self) -> dict[str, Choices]:
        """Return block -> kernel sizes of its convs."""
        return {n: kernels_of(c, with_widths=self.with_widths) for n, c in self.blocks}

    @property
    def widths(self) -> dict[str, Choices] | None:
        """Return block -> inner widths of its ResBlocks, None where these are no choice."""
        return {n: widths_of(c) for n, c in self.blocks} if self.with_widths else None


@dataclass(frozen=True)
class SearchSpace:
    """Every conv of every block chooses one of `kernels`; `positions` counts a block's convs.

    `widths` holds, block by block, the inner widths that each ResBlock can have; without it they
    are no choice.
    """

    kernels: Choices
    positions: tuple[tuple[str, int], ...]
    widths: tuple[tuple[str, tuple[Choices, ...]], ...] = ()

    @property
    def base(self) -> Arch:
        """Return the teacher's own architecture: size 3 everywhere, the widest ResBlocks."""
        kernels = {name: (3,) * count for name, count in self.positions}
        widths = {name: tuple(map(max, options)) for name, options in self.widths}
        return Arch.of(kernels, widths if self.widths else None)

    @property
    def num_choices(self) -> int:
        """Return the number of choices of an architecture."""
        return sum(len(self.options(name)) for name, _ in self.positions)

    def options(self, block: str) -> tuple[Choices, ...]:
        """Return what each choice of a block can be, in the order of its choices."""
        count = dict(self.positions)[block]
        if not self.widths:
            return (self.kernels,) * count
        pairs = ((widths, self.kernels, self.kernels) for widths in dict(self.widths)[block])
        return tuple(itertools.chain.from_iterable(pairs))

    def size(self, block: str) -> int:
        """Return the number of candidates of one block."""
        return math.prod(map(len, self.options(block)))

    def arch(self, vector: Sequence[int]) -> Arch:
        """Return the architecture of a flat vector; the inverse of `Arch.vector`.

        Raises ValueError for a vector of another length.
        """
        if len(vector) != self.num_choices:
            raise ValueError(f"{len(vector)} choices, the space has {self.num_choices}")
        rest = iter(vector)
        counts = {name: len(self.options(name)) for name, _ in self.positions}
        blocks = ((n, tuple(itertools.islice(rest, count))) for n, count in counts.items())
        return Arch(tuple(blocks), bool(self.widths))

    def check(self, arch: Arch) -> None:
        """Raise ValueError where `arch` is not of this space."""
        if arch.with_widths != bool(self.widths):
            has = {True: "inner widths", False: "kernel sizes alone"}
            raise ValueError(
                f"it chooses {has[arch.with_widths]}, the space {has[not arch.with_widths]}"
            )
        kernels = arch.kernels
        for name, count in self.positions:
            found = kernels.get(name, ())
            if len(found) != count or any(kernel not in self.kernels for kernel in found):
                raise ValueError(
                    f"kernels of {name}: {list(found)}; {count} of {list(self.kernels)} are needed"
                )
        for name, options in self.widths:
            widths = widths_of(arch[name])
            if any(width not in ours for width, ours in zip(widths, options, strict=True)):
                raise ValueError(
                    f"widths of {name}: {list(widths)}; each is one of {list(map(list, options))}"
                )
        extra = set(arch) - {name for name, _ in self.positions}
        if extra:
            raise ValueError(f"kernels name {sorted(extra)}, blocks that the space does not have")


def block_cost(costs: Costs, block: str, choices: Sequence[int]) -> int:
    """Return what the choices of one block cost."""
    total = start = 0
    for part in costs[block]:
        end = start + len(next(iter(part)))
        total += part[tuple(choices[start:end])]
        start = end
    if start != len(choices):
        raise ValueError(f"{block}: {len(choices)} choices, its parts cost by {start}")
    return total


def arch_cost(costs: Costs, arch: Arch) -> int:
    """Return what all choices cost."""
    return sum(block_cost(costs, block, choices) for block, choices in arch.items())


def text(kernels: Sequence[int], widths: Sequence[int] = ()) -> str:
    """Return (3, 1, 5, 3) as 3-1-5-3, with widths as 3-1-5-3/16-32."""
    parts = (kernels, widths) if widths else (kernels,)
    return "/".join("-".join(map(str, part)) for part in parts)
