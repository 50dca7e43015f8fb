"""PSNR and SSIM: an independent implementation, closed forms, bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from slimgen.evaluation.paired import WINDOW, psnr, ssim


def pictures(seed: int, n: int = 3, c: int = 1, h: int = 16, w: int = 19) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, c, h, w), generator=rng, dtype=torch.uint8)


def ssim_of_planes(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. (2004) by weighted moments about the local means, window by window."""
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(line, line) / np.outer(line, line).sum()
    mean_x, mean_y = (convolve2d(a, window, mode="valid") for a in (x, y))
    values = np.empty_like(mean_x)
    for i, j in np.ndindex(*mean_x.shape):
        a = x[i : i + 11, j : j + 11] - mean_x[i, j]
        b = y[i : i + 11, j : j + 11] - mean_y[i, j]
        var_a, var_b, cov = ((window * p).sum() for p in (a * a, b * b, a * b))
        luminance = (2 * mean_x[i, j] * mean_y[i, j] + 2.55**2) / (
            mean_x[i, j] ** 2 + mean_y[i, j] ** 2 + 2.55**2
        )
        values[i, j] = luminance * (2 * cov + 7.65**2) / (var_a + var_b + 7.65**2)
    return float(values.mean())


def test_ssim_is_that_of_an_independent_implementation():
    x = pictures(0, c=3)
    y = (0.7 * x.float() + 0.3 * pictures(1, c=3).float()).byte()  # related, not equal
    for index in range(3):
        planes = [ssim_of_planes(*(a[index, c].double().numpy() for a in (x, y))) for c in range(3)]
        assert ssim(x, y)[index].item() == pytest.approx(np.mean(planes), rel=1e-9)
    assert 0.3 < ssim(x, y).min() < ssim(x, y).max() < 0.99


def test_ssim_is_symmetric_and_one_for_equal_images():
    x, y = pictures(0), pictures(1)
    torch.testing.assert_close(ssim(x, x), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(ssim(x, y), ssim(y, x))
    assert ssim(x, 255 - x).max() < 0


def test_ssim_of_even_images_is_its_luminance_term():
    x, y = torch.full((1, 1, 11, 11), 80).byte(), torch.full((1, 1, 11, 11), 120).byte()
    expected = (2 * 80 * 120 + 2.55**2) / (80**2 + 120**2 + 2.55**2)
    assert ssim(x, y).item() == pytest.approx(expected, rel=1e-9)


def test_images_smaller_than_the_window_are_refused():
    x = pictures(0, h=WINDOW - 1)
    with pytest.raises(ValueError, match="11 pixels at least, not 10 x 19"):
        ssim(x, x)


def test_psnr_of_known_errors():
    x = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    y = x.clone()
    y[0] += 3
    y[1, 0, :2] -= 8  # half of the pixels
    expected = [10 * math.log10(255**2 / mse) for mse in (9, 32)]
    assert psnr(x, y).tolist() == pytest.approx(expected)
    torch.testing.assert_close(psnr(x, y), psnr(y, x))


def test_psnr_of_equal_images_is_that_of_rounding_alone():
    x = pictures(0)
    assert psnr(x, x).tolist() == pytest.approx([10 * math.log10(12 * 255**2)] * 3)
    rounding = np.random.default_rng(0).uniform(-0.5, 0.5, 200_000)
    assert np.square(rounding).mean() == pytest.approx(1 / 12, rel=0.01)
