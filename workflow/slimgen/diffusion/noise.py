"""Noise of generated images: image i of a seed gets the same noise in every batch.

Noise is drawn in fixed blocks of images, each block from a generator of its own, and cut to the
images asked for; so (seed, i) alone decides the noise of image i, whatever the batch size.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from slimgen.training.seeding import make_rng

BLOCK = 32  # images per generator


def noise_stream(
    seed: int,
    start: int,
    count: int,
    shape: tuple[int, ...],
    *,
    stream: str,
    device: torch.device | str = "cpu",
) -> Iterator[torch.Tensor]:
    """Yield standard normal noise (count, *shape) of images start .. start + count - 1, no end."""
    first, last = start // BLOCK, (start + count - 1) // BLOCK
    rngs = [make_rng(seed, block, f"noise/{stream}", device) for block in range(first, last + 1)]
    offset = start - first * BLOCK
    while True:
        blocks = [torch.randn((BLOCK, *shape), generator=rng, device=device) for rng in rngs]
        yield torch.cat(blocks)[offset : offset + count]


def initial_noise(seed: int, start: int, count: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the starting noise of images start .. start + count - 1, (count, *shape) on the CPU.

    It is drawn on the CPU on every machine, so that grids of different models and devices show
    images from the same noise.
    """
    return next(noise_stream(seed, start, count, shape, stream="initial"))
