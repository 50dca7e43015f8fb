"""A Gaussian fitted to pixels, what q = 1 stands for: right mean and covariance, no more."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from slimgen.evaluation.frechet import factor, fit_gaussian
from slimgen.training.seeding import make_rng

BLOCK = 256  # images per draw; each has a generator of its own


def sample_pixel_gaussian(
    images: torch.Tensor, *, num_images: int, seed: int
) -> Iterator[torch.Tensor]:
    """Yield batches of uint8 images (n, c, h, w) drawn from N(mean, covariance) of `images`.

    x = mean + H g with H H^T the unbiased covariance; rounded and clipped to 0..255. With no more
    images than pixels the centred images themselves are a factor: H = (x_i - mean) / sqrt(n - 1).
    """
    pixels = images.flatten(1)
    n, d = pixels.shape
    if n > d:
        gaussian = fit_gaussian(pixels)
        mean, H = gaussian.mean, factor(gaussian.cov)  # (d,), (d, r)
    else:
        mean = pixels.double().mean(0)
        H = (pixels.double() - mean).T / (n - 1) ** 0.5  # (d, n)
    for start in range(0, num_images, BLOCK):
        rng = make_rng(seed, start // BLOCK, "pixel gaussian")
        g = torch.randn(BLOCK, H.shape[1], generator=rng, dtype=torch.float64)
        x = mean + g[: num_images - start] @ H.T
        yield x.round().clamp(0, 255).to(torch.uint8).reshape(-1, *images.shape[1:])
