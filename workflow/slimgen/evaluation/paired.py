"""How near 8-bit images are to their targets: PSNR, and SSIM of Wang et al. (2004).

PSNR = 10 log10(255^2 / MSE). An image that is right in all 8 bits counts as one whose error is
rounding alone, MSE 1/12, so it has 58.9 dB and no infinite value.

SSIM(x, y) = (2 mu_x mu_y + C1)(2 sigma_xy + C2)
             / ((mu_x^2 + mu_y^2 + C1)(sigma_x^2 + sigma_y^2 + C2))             (13)

with C1 = (0.01 * 255)^2, C2 = (0.03 * 255)^2 and moments under a Gaussian window of 11 x 11 pixels,
sigma 1.5, of weights that sum to 1 (14)-(16). An image's value is the mean over the places where
the window lies within it (17), and over colours. Images larger than 256 are not made smaller first,
and images smaller than the window have no such index.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

LEVELS = 255.0
ROUNDING = 1 / 12  # variance of an error that is even over one level
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * LEVELS) ** 2, (0.03 * LEVELS) ** 2


def psnr(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the dB (n,), float64, of uint8 images (n, c, h, w) against targets of their shape."""
    mse = (images.double() - targets.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(LEVELS**2 / mse.clamp(min=ROUNDING))


def ssim(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the index (n,), float64, of uint8 images (n, c, h, w) against targets of their shape.

    Raises ValueError for images that the window does not fit in.
    """
    height, width = images.shape[-2:]
    if min(height, width) < WINDOW:
        raise ValueError(f"SSIM needs images of {WINDOW} pixels at least, not {height} x {width}")
    x, y = images.double(), targets.double()
    mu_x, mu_y = _blur(x), _blur(y)
    variance_x = _blur(x * x) - mu_x**2
    variance_y = _blur(y * y) - mu_y**2
    covariance = _blur(x * y) - mu_x * mu_y
    index = ((2 * mu_x * mu_y + C1) * (2 * covariance + C2)) / (
        (mu_x**2 + mu_y**2 + C1) * (variance_x + variance_y + C2)
    )
    return index.flatten(1).mean(1)


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Return the means (n, c, h - 10, w - 10) of x (n, c, h, w) under the window."""
    at = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.exp(-(at**2) / (2 * SIGMA**2))
    line = line / line.sum()
    flat = x.flatten(0, 1)[:, None]
    flat = F.conv2d(F.conv2d(flat, line.reshape(1, 1, -1, 1)), line.reshape(1, 1, 1, -1))
    return flat.unflatten(0, x.shape[:2])[:, :, 0]
