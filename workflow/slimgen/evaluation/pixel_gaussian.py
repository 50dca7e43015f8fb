"""A Gaussian fitted to pixels, what q = 1 stands for: right mean and covariance, no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from slimgen.evaluation.frechet import factor, fit_gaussian
from slimgen.training.seeding import make_rng

BLOCK = 256  # images per draw; each has a generator of its own
CHUNK = 2**27  # most numbers that are float64 at a time: 1 GiB


def sample_pixel_gaussian(
    images: torch.Tensor, *, num_images: int, seed: int
) -> Iterator[torch.Tensor]:
    """Yield batches of uint8 images (n, c, h, w) drawn from N(mean, covariance) of `images`.

    x = mean + H g with H H^T the unbiased covariance; rounded and clipped to 0..255. With no more
    images than pixels the centred images themselves are a factor: H = (x_i - mean) / sqrt(n - 1).
    """
    mean, size, spread = spread_of(images.flatten(1))
    for start in range(0, num_images, BLOCK):
        rng = make_rng(seed, start // BLOCK, "pixel gaussian")
        g = torch.randn(BLOCK, size, generator=rng, dtype=torch.float64)
        x = mean + spread(g[: num_images - start])
        yield x.round().clamp(0, 255).to(torch.uint8).reshape(-1, *images.shape[1:])


def spread_of(
    pixels: torch.Tensor,
) -> tuple[torch.Tensor, int, Callable[[torch.Tensor], torch.Tensor]]:
    """Return mean (d,), the number r of columns of H, and g (b, r) -> g H^T (b, d)."""
    n, d = pixels.shape
    if n > d:
        gaussian = fit_gaussian(pixels)
        H = factor(gaussian.cov)  # (d, r)
        return gaussian.mean, H.shape[1], lambda g: g @ H.T
    rows = max(1, CHUNK // d)
    chunks = [slice(at, at + rows) for at in range(0, n, rows)]
    total = torch.zeros(d, dtype=torch.float64)
    for chunk in chunks:
        total += pixels[chunk].double().sum(0)
    mean = total / n

    def spread(g: torch.Tensor) -> torch.Tensor:
        x = torch.zeros(len(g), d, dtype=torch.float64)
        for chunk in chunks:
            x += g[:, chunk] @ (pixels[chunk].double() - mean)
        return x / (n - 1) ** 0.5

    return mean, n, spread
