"""How the choices of a U-Net block are written down: one integer per choice.

A block chooses the kernel sizes of its convs, two per ResBlock, in order: k1 k2 k1 k2 ... Where
inner widths are chosen too, each stands before the kernels of its ResBlock: c k1 k2 c k1 k2 ...
The width is a number of channels. Networks and their files name the two kinds apart, `kernels` and
`widths`.
"""

from __future__ import annotations

from collections.abc import Sequence

Choices = tuple[int, ...]


def join_choices(kernels: Sequence[int], widths: Sequence[int] | None) -> Choices:
    """Return the choices of a block; `widths` None where none are chosen.

    Raises ValueError where there are not two kernels to a width.
    """
    if widths is None:
        return tuple(kernels)
    if len(kernels) != 2 * len(widths):
        raise ValueError(
            f"{len(widths)} widths and {len(kernels)} kernel sizes: each ResBlock has one and two"
        )
    pairs = zip(kernels[::2], kernels[1::2], strict=True)
    return tuple(x for c, (k1, k2) in zip(widths, pairs, strict=True) for x in (c, k1, k2))


def resblocks(choices: Sequence[int], *, with_widths: bool) -> list[Choices]:
    """Return the choices of each ResBlock of a block: (k1, k2) or (c, k1, k2)."""
    size = 3 if with_widths else 2
    return [tuple(choices[at : at + size]) for at in range(0, len(choices), size)]


def kernels_of(choices: Sequence[int], *, with_widths: bool) -> Choices:
    """Return the kernel sizes among a block's choices."""
    if not with_widths:
        return tuple(choices)
    return tuple(choice for place, choice in enumerate(choices) if place % 3)


def widths_of(choices: Sequence[int]) -> Choices:
    """Return the inner widths among the choices of a block that chooses widths."""
    return tuple(choices[::3])
