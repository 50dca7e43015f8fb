"""A search space of kernel sizes per block, an architecture as a value, and what it costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Choices = tuple[int, ...]  # one kernel size per conv of a block
ConvCosts = Mapping[str, Sequence[Mapping[int, int]]]  # block -> per conv: kernel size -> cost


@dataclass(frozen=True)
class Arch(Mapping[str, Choices]):
    """An architecture: block name -> kernel sizes. Immutable and hashable."""

    blocks: tuple[tuple[str, Choices], ...]

    @classmethod
    def of(cls, kernels: Mapping[str, Sequence[int]]) -> Arch:
        """Return the architecture of a mapping (of JSON, say)."""
        return cls(tuple((name, tuple(choices)) for name, choices in kernels.items()))

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
        """Return all kernel sizes one after another."""
        return tuple(itertools.chain.from_iterable(choices for _, choices in self.blocks))


@dataclass(frozen=True)
class SearchSpace:
    """Every conv of every block chooses one of `kernels`; `positions` counts a block's convs."""

    kernels: Choices
    positions: tuple[tuple[str, int], ...]

    @property
    def base(self) -> Arch:
        """Return the teacher's own architecture: size 3 everywhere."""
        return Arch(tuple((name, (3,) * count) for name, count in self.positions))

    @property
    def num_choices(self) -> int:
        """Return the number of convs that choose."""
        return sum(count for _, count in self.positions)

    def size(self, block: str) -> int:
        """Return the number of candidates of one block."""
        return len(self.kernels) ** dict(self.positions)[block]

    def arch(self, vector: Sequence[int]) -> Arch:
        """Return the architecture of a flat vector; the inverse of `Arch.vector`.

        Raises ValueError for a vector of another length.
        """
        if len(vector) != self.num_choices:
            raise ValueError(
                f"{len(vector)} kernel sizes, the space has {self.num_choices} choices"
            )
        rest = iter(vector)
        return Arch(tuple((n, tuple(itertools.islice(rest, count))) for n, count in self.positions))

    def check(self, arch: Mapping[str, Sequence[int]]) -> None:
        """Raise ValueError where `arch` is not of this space."""
        for name, count in self.positions:
            found = arch.get(name, ())
            if len(found) != count or any(kernel not in self.kernels for kernel in found):
                raise ValueError(
                    f"kernels of {name}: {list(found)}; {count} of {list(self.kernels)} are needed"
                )
        extra = set(arch) - {name for name, _ in self.positions}
        if extra:
            raise ValueError(f"kernels name {sorted(extra)}, blocks that the space does not have")


def block_cost(costs: ConvCosts, block: str, choices: Sequence[int]) -> int:
    """Return what the convs of one block cost."""
    return sum(conv[kernel] for conv, kernel in zip(costs[block], choices, strict=True))


def arch_cost(costs: ConvCosts, arch: Mapping[str, Sequence[int]]) -> int:
    """Return what all searchable convs cost."""
    return sum(block_cost(costs, block, choices) for block, choices in arch.items())


def text(choices: Sequence[int]) -> str:
    """Return (3, 1, 5, 3) as 3-1-5-3."""
    return "-".join(map(str, choices))
