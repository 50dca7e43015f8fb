"""Spaces of channel widths (GAN Compression, Li et al. 2020): one integer per entry, own options.

A width vector is a tuple of integers, written 16_16_32_16_32_32_16_16. The named sets are those of
the released code; the published vectors are those of its released models.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Widths = tuple[int, ...]
Named = TypeVar("Named")
Weighting = Literal["uniform", "arithmetic", "geometric"]


@dataclass(frozen=True)
class ChannelSpace:
    """Every entry of a width vector chooses one of its options, listed from wide to narrow."""

    options: tuple[Widths, ...]

    def __post_init__(self) -> None:
        for index, choices in enumerate(self.options):
            if not choices or min(choices) < 1 or len(set(choices)) < len(choices):
                raise ValueError(
                    f"options {list(choices)} of entry {index}: different positive integers are "
                    "needed"
                )
            if list(choices) != sorted(choices, reverse=True):
                raise ValueError(f"options {list(choices)} of entry {index}: list wide ones first")

    @property
    def size(self) -> int:
        """Return the number of width vectors."""
        return math.prod(map(len, self.options))

    @property
    def largest(self) -> Widths:
        """Return the widest vector."""
        return tuple(choices[0] for choices in self.options)

    @property
    def smallest(self) -> Widths:
        """Return the narrowest vector."""
        return tuple(choices[-1] for choices in self.options)

    def __iter__(self) -> Iterator[Widths]:
        return itertools.product(*self.options)

    def check(self, widths: Sequence[int]) -> None:
        """Raise ValueError naming the entry of `widths` that is not of this space."""
        if len(widths) != len(self.options):
            raise ValueError(
                f"{format_widths(widths)}: {len(widths)} widths, the space has {len(self.options)}"
            )
        for index, (width, choices) in enumerate(zip(widths, self.options, strict=True)):
            if width not in choices:
                raise ValueError(
                    f"{format_widths(widths)}: entry {index} is {width}, not one of {list(choices)}"
                )

    def sample(
        self, rng: random.Random, *, weighting: Weighting = "uniform", ratio: float = 2.0
    ) -> Widths:
        """Return a random vector, every entry independent.

        With a weighting, entry's options weigh more the narrower they are (first generations of the
        released evolution): of n options the i-th widest weighs (n - 1) / (ratio - 1) + i
        (arithmetic: the narrowest weighs `ratio` times the widest) or ratio^i (geometric).
        Raises ValueError for a ratio that makes no such weights.
        """
        if weighting != "uniform" and ratio <= 1:
            raise ValueError(f"ratio {ratio}: narrower options must weigh more, use more than 1")
        return tuple(
            rng.choices(choices, weights(len(choices), weighting, ratio))[0]
            for choices in self.options
        )

    def mutate(self, widths: Widths, probability: float, rng: random.Random) -> Widths:
        """Return `widths` with each entry drawn anew with the given probability."""
        return tuple(
            rng.choice(choices) if rng.random() < probability else width
            for width, choices in zip(widths, self.options, strict=True)
        )


def weights(count: int, weighting: Weighting, ratio: float) -> list[float]:
    """Return the weights of `count` options from wide to narrow; see `ChannelSpace.sample`."""
    if weighting == "geometric":
        return [ratio**i for i in range(count)]
    if weighting == "arithmetic" and count > 1:
        return [(count - 1) / (ratio - 1) + i for i in range(count)]
    return [1.0] * count


def parse_widths(text: str) -> Widths:
    """Return the vector of 16_16_32_...; raises ValueError for any other text."""
    parts = text.strip().split("_")
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} is no width vector: positive integers joined by _ are needed")
    return tuple(map(int, parts))


def format_widths(widths: Sequence[int]) -> str:
    """Return 16_16_32_... of a vector; the inverse of `parse_widths`."""
    return "_".join(map(str, widths))


def _space(*runs: tuple[int, Widths]) -> ChannelSpace:
    return ChannelSpace(tuple(choices for count, choices in runs for _ in range(count)))


CONFIG_SETS: dict[str, dict[str, ChannelSpace]] = {
    "resnet": {
        "channels-48": _space((2, (48, 32)), (4, (48, 40, 32)), (2, (48, 32, 24, 16))),
        "channels-32": _space((8, (32, 24, 16))),
        "channels-64-cycleGAN": _space((8, (64, 48, 32, 24, 16))),
        "channels-64-pix2pix": _space((8, (64, 56, 48, 40, 32, 24, 16))),
        "test": _space((1, (8,)), (2, (8, 6)), (5, (8,))),
    },
    "spade": {
        "channels-48": _space((5, (48, 40, 32)), (3, (48, 40, 32, 24))),
        "channels-64": _space((5, (64, 48, 40, 32)), (3, (64, 48, 40, 32, 24))),
        "channels-64-coco": _space((8, (64, 48, 40, 32, 24))),
    },
}

# The vectors in the released scripts; "gan-compression" is the original pipeline, "fast" the
# journal's, "legacy" the CVPR paper's (six integers: see `resnet_generator.widths_of`).
PUBLISHED: dict[str, dict[str, Widths]] = {
    "resnet": {
        name: parse_widths(text)
        for name, text in {
            "horse2zebra/gan-compression": "16_16_32_16_32_32_16_16",
            "horse2zebra/fast": "16_16_24_16_32_64_16_24",
            "horse2zebra/legacy": "24_24_24_32_20_16",
            "edges2shoes/gan-compression": "32_32_48_32_48_48_16_16",
            "edges2shoes/fast": "24_24_40_56_24_56_16_40",
            "edges2shoes/legacy": "32_32_40_48_16_32",
            "cityscapes/gan-compression": "32_32_48_32_32_48_24_24",
            "cityscapes/fast": "16_24_48_56_40_48_24_16",
            "cityscapes/fast-readme": "32_32_48_32_64_40_16_32",
            "cityscapes/legacy": "48_32_40_40_24_32",
            "map2sat/gan-compression": "32_32_48_32_48_32_16_16",
            "map2sat/fast": "16_16_40_40_40_64_24_16",
            "map2sat/fast-readme": "32_32_48_40_32_32_16_16",
        }.items()
    },
    "spade": {
        name: parse_widths(text)
        for name, text in {
            "cityscapes/gan-compression": "32_40_40_32_40_24_32_24",
            "cityscapes/fast": "32_32_32_48_32_24_24_32",
            "cityscapes/legacy": "32_32_48_32_32_32_32_24",
            "coco/fast": "40_32_32_40_32_40_24_24",
        }.items()
    },
}


def config_set(generator: str, name: str) -> ChannelSpace:
    """Return a named set; raises ValueError listing the names."""
    return _named(CONFIG_SETS, generator, name, "config set")


def published_widths(generator: str, name: str) -> Widths:
    """Return the widths of a released model; raises ValueError listing the names."""
    return _named(PUBLISHED, generator, name, "published vector")


def _named(
    tables: Mapping[str, Mapping[str, Named]], generator: str, name: str, what: str
) -> Named:
    if generator not in tables:
        raise ValueError(f"{what} of {generator!r}: use {', '.join(tables)}")
    if name not in tables[generator]:
        raise ValueError(f"{what} {name!r} of {generator}: use {', '.join(tables[generator])}")
    return tables[generator][name]
